"""The mode keeps the contract, and talks with the model as the Qwen family's tool models expect."""

from __future__ import annotations

import json
from typing import Any

import p2r_bench_zoom
import pytest
from p2r_bench_zoom.mode import ZoomTools
from p2r_bench_zoom.tool import NAME

from p2r_bench import Prediction, Recipe, Request, Sample, TwoStage, UserError, load_profile
from p2r_bench.testing import ModeContract, Script, solve, tiny_sample
from p2r_bench.testing.script import Replies

BOX = (250, 500, 500, 833)
ANSWER = "<think>I see it.</think><answer>B</answer>"


def call(*box: float, name: str = NAME) -> str:
    arguments = {"bbox_2d": list(box or BOX), "label": "square"}
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def asked(*replies: str, profile: str = "p2r", **params: Any) -> tuple[Prediction, list[Request]]:
    script = Script(list(replies))
    return solve(ZoomTools(**params), tiny_sample(), script, profile), script.requests


def text_of(request: Request, message: int) -> str:
    return "".join(part for part in request.messages[message].content if isinstance(part, str))


class TestZoomTools(ModeContract):
    plugin = p2r_bench_zoom
    mode = "zoom-tools"

    def replies(self, sample: Sample) -> Replies:
        return [call(), call(0, 0, 500, 500), f"<answer>{sample.answer}</answer>"]


class TestZoomToolsOfTwoTurnsWithTheTinyProfile(ModeContract):
    plugin = p2r_bench_zoom
    mode = "zoom-tools"
    params = {"max_turns": 2}  # noqa: RUF012
    profile = "tiny"

    def replies(self, sample: Sample) -> Replies:
        return [call(), "<tool_call>?", f"<answer>{sample.answer}</answer>"]


def test_the_tool_is_told_as_a_json_signature_between_tools_tags() -> None:
    _, (request,) = asked(ANSWER)
    system = text_of(request, 0)
    signature = json.loads(system.partition("<tools>")[2].partition("</tools>")[0])
    assert signature["type"] == "function"
    assert signature["function"]["name"] == NAME
    assert set(signature["function"]["parameters"]["properties"]) == {"bbox_2d", "label"}
    assert system.startswith(load_profile("p2r").pack.system)


def test_the_question_comes_with_its_options_and_the_profile_s_ending() -> None:
    _, (request,) = asked(ANSWER)
    pack, sample = load_profile("p2r").pack, tiny_sample()
    user = text_of(request, 1)
    assert user.startswith(pack.question(sample, "block"))
    assert user.endswith(pack.endings["choice"])


def test_the_crop_of_a_call_comes_back_as_the_user_in_a_tool_response() -> None:
    prediction, (first, second) = asked(call(), ANSWER)
    assert [m.role for m in second.messages] == ["system", "user", "assistant", "user"]
    assert second.messages[:2] == first.messages
    assert second.messages[2].content == (call(),)
    before, crop, *after = second.messages[3].content
    assert before == "<tool_response>\n"
    assert "".join(str(part) for part in after).startswith("\n</tool_response>\n")
    assert isinstance(crop, Recipe) and crop.crop is not None
    assert prediction.answer == "B"


def test_the_crop_is_the_one_that_p2r_would_cut_out() -> None:
    prediction, (_, second) = asked(call(), ANSWER)
    two = TwoStage(load_profile("p2r"))
    assert prediction.evidence is not None
    (box,) = prediction.evidence.boxes
    assert box.xyxy == BOX and box.label == "square"
    assert second.recipes == (two.whole(tiny_sample()), two.crop(tiny_sample(), box))
    assert prediction.evidence.crops == second.recipes[1:]


def test_it_answers_at_once_when_nothing_needs_zooming() -> None:
    prediction, requests = asked(ANSWER)
    assert len(requests) == 1 and prediction.answer == "B"
    assert prediction.evidence is not None and prediction.evidence.parse_status == "empty"
    assert prediction.usage == {"tool_calls": 0, "tool_errors": 0}


def test_earlier_crops_stay_in_sight() -> None:
    _, requests = asked(call(), call(0, 0, 300, 300), call(0, 0, 100, 100), ANSWER)
    assert [len(r.recipes) for r in requests] == [1, 2, 3, 4]


def test_the_model_is_told_how_many_calls_are_left() -> None:
    _, requests = asked(call(), call(), call(), ANSWER, max_turns=3)
    assert "2 calls are left" in text_of(requests[1], 3)
    assert "One call is left" in text_of(requests[2], 5)
    assert "No call is left: answer now" in text_of(requests[3], 7)


def test_a_call_when_none_is_left_is_no_answer() -> None:
    prediction, requests = asked(call(), call(), call(), max_turns=2)
    assert len(requests) == 3
    assert (prediction.status, prediction.answer) == ("ok", None)
    assert prediction.usage == {"tool_calls": 3, "tool_errors": 1}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("<tool_call>zoom!</tool_call>", "not valid JSON"),
        (call(name="crop"), f"called {NAME}"),
        (call(500, 500, 400, 600), "x1 < x2"),
        (call(2000, 2000, 3000, 3000), "nothing of this region lies in the image"),
    ],
)
def test_a_malformed_call_is_told_to_the_model_and_counted(bad: str, said: str) -> None:
    prediction, (_, second) = asked(bad, ANSWER)
    response = text_of(second, 3)
    assert response.startswith("<tool_response>\nError: ") and said in response
    assert len(second.recipes) == 1
    assert prediction.answer == "B"
    assert prediction.usage == {"tool_calls": 1, "tool_errors": 1}
    assert prediction.evidence is not None and not prediction.evidence.crops


def test_only_the_first_call_of_a_turn_is_run() -> None:
    prediction, (_, second) = asked(call() + call(0, 0, 100, 100), ANSWER)
    assert len(second.recipes) == 2
    assert "Only the first call of a turn is run" in text_of(second, 3)
    assert prediction.usage == {"tool_calls": 2, "tool_errors": 1}


def test_it_is_sampled_and_read_like_reason() -> None:
    profile = load_profile("original-eval")
    prediction, (request,) = asked(
        "<answer>A</answer> or <answer>C</answer>", profile="original-eval"
    )
    assert request.sampling == profile.sampling.reason
    assert prediction.answer == "A"


def test_newlines_follow_images_where_the_profile_says_so() -> None:
    _, (_, second) = asked(call(), ANSWER, profile="original-train-rollout")
    for message in (second.messages[1], second.messages[3]):
        image = next(i for i, part in enumerate(message.content) if isinstance(part, Recipe))
        assert message.content[image + 1] == "\n"


def test_it_says_how_many_images_a_request_can_hold() -> None:
    assert ZoomTools(max_turns=6).max_images(load_profile("p2r")) == 7


@pytest.mark.parametrize("turns", [0, -1, 2.5, "many", True])
def test_turns_that_are_no_count_are_refused(turns: Any) -> None:
    with pytest.raises(UserError, match="max_turns"):
        ZoomTools(max_turns=turns)
