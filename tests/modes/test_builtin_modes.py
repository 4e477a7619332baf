"""The built-in modes against scripted replies: their requests, evidence and predictions."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from p2r_bench.adapter import TwoStage, load_profile
from p2r_bench.errors import EngineError, ImageError
from p2r_bench.modes.default import Default
from p2r_bench.modes.oracle import Oracle
from p2r_bench.modes.p2r import P2R
from p2r_bench.modes.thinking import Thinking
from p2r_bench.types import Box, Completion, ImageRef, Mode, Prediction, Request, Sample

PROFILE = load_profile("p2r")
TWO = TwoStage(PROFILE)
SAMPLE = Sample(
    id="row-1",
    task="Synth-HR",
    image=ImageRef(data=b"", digest="d" * 64, size=(3840, 2160)),
    question="What colour is the kite?",
    options={"A": "red", "B": "blue"},
    answer="B",
    boxes=(Box((100, 100, 200, 200), "kite"), Box((600, 600, 700, 700), "string")),
)
LOOK = '[{"bbox_2d": [400, 400, 500, 500], "label": "kite"}]'
THOUGHT = "<think>It is blue.</think><answer>B</answer>"
MODES: list[Mode] = [Default(), Thinking(), P2R(), Oracle()]


class Script:
    """An `ask` that answers by role and keeps the requests. A reply that is an error is raised."""

    def __init__(self, **replies: str | BaseException) -> None:
        self.replies = replies
        self.requests: list[Request] = []
        self.completions: list[Completion] = []

    async def __call__(self, request: Request) -> Completion:
        self.requests.append(request)
        await asyncio.sleep(0)
        reply = self.replies[request.role]
        if isinstance(reply, BaseException):
            raise reply
        completion = Completion(reply, output_tokens=len(reply))
        self.completions.append(completion)
        return completion


def solve(mode: Mode, ask: Script, sample: Sample = SAMPLE) -> Prediction:
    return asyncio.run(mode.solve(sample, ask, PROFILE))


def test_default_asks_once_for_the_bare_answer() -> None:
    ask = Script(answer=" B \n")
    prediction = solve(Default(), ask)
    assert ask.requests == [TWO.single_request(SAMPLE, "answer")]
    assert prediction == Prediction("row-1", answer="B", completions=tuple(ask.completions))


def test_thinking_asks_once_and_reads_the_tags() -> None:
    ask = Script(think=THOUGHT)
    prediction = solve(Thinking(), ask)
    assert ask.requests == [TWO.single_request(SAMPLE, "think")]
    assert prediction == Prediction("row-1", answer="B", completions=tuple(ask.completions))


def test_p2r_perceives_then_reasons_on_what_was_perceived() -> None:
    ask = Script(perceive=LOOK, reason=THOUGHT)
    prediction = solve(P2R(), ask)
    evidence = TWO.evidence(SAMPLE, LOOK)
    assert ask.requests == [TWO.perceive_request(SAMPLE), TWO.reason_request(SAMPLE, evidence)]
    assert len(ask.requests[1].recipes) == 2
    assert prediction == Prediction(
        "row-1", answer="B", evidence=evidence, completions=tuple(ask.completions)
    )


@pytest.mark.parametrize(
    ("text", "status"),
    [("[]", "empty"), ("nothing", "unparsed"), ('{"bbox_2d": [NaN]}', "invalid")],
)
def test_p2r_without_a_usable_box_reasons_on_the_whole_image(text: str, status: str) -> None:
    ask = Script(perceive=text, reason=THOUGHT)
    prediction = solve(P2R(), ask)
    assert ask.requests[1].recipes == (TWO.whole(SAMPLE),)
    assert prediction.evidence is not None
    assert prediction.evidence.parse_status == status
    assert (prediction.status, prediction.answer) == ("ok", "B")


def test_oracle_reasons_on_the_ground_truth_without_perceiving() -> None:
    ask = Script(reason=THOUGHT)
    prediction = solve(Oracle(), ask)
    assert SAMPLE.boxes is not None
    evidence = TWO.evidence_from_boxes(SAMPLE, SAMPLE.boxes)
    assert ask.requests == [TWO.reason_request(SAMPLE, evidence)]
    assert len(ask.requests[0].recipes) == 3
    assert prediction == Prediction(
        "row-1", answer="B", evidence=evidence, completions=tuple(ask.completions)
    )


@pytest.mark.parametrize("boxes", [None, ()])
def test_oracle_without_boxes_is_not_applicable_and_asks_nothing(
    boxes: tuple[Box, ...] | None,
) -> None:
    ask = Script()
    prediction = solve(Oracle(), ask, replace(SAMPLE, boxes=boxes))
    assert prediction == Prediction("row-1", status="not_applicable")
    assert ask.requests == []


def test_oracle_and_p2r_ask_the_same_of_the_reasoner_when_the_boxes_agree() -> None:
    perceived, known = Script(perceive=LOOK, reason=THOUGHT), Script(reason=THOUGHT)
    solve(P2R(), perceived)
    solve(Oracle(), known, replace(SAMPLE, boxes=TWO.evidence(SAMPLE, LOOK).boxes))
    assert perceived.requests[1] == known.requests[0]
    assert perceived.requests[1].digest == known.requests[0].digest


@pytest.mark.parametrize("mode", MODES, ids=lambda m: type(m).__name__)
def test_no_answer_is_an_ok_prediction_without_an_answer(mode: Mode) -> None:
    ask = Script(answer=" ", think="<think>hm", perceive=LOOK, reason="I cannot tell")
    prediction = solve(mode, ask)
    assert (prediction.status, prediction.answer, prediction.error) == ("ok", None, None)


@pytest.mark.parametrize(
    ("mode", "role"),
    [
        (Default(), "answer"),
        (Thinking(), "think"),
        (P2R(), "perceive"),
        (P2R(), "reason"),
        (Oracle(), "reason"),
    ],
)
@pytest.mark.parametrize("error", [EngineError("gone", kind="timeout"), asyncio.CancelledError()])
def test_a_failed_or_cancelled_call_passes_through_and_nothing_more_is_asked(
    mode: Mode, role: str, error: BaseException
) -> None:
    replies: dict[str, str | BaseException] = {"perceive": LOOK, "reason": THOUGHT, role: error}
    ask = Script(**replies)
    with pytest.raises(type(error)) as raised:
        solve(mode, ask)
    assert isinstance(raised.value, asyncio.CancelledError) or raised.value is error
    assert ask.requests[-1].role == role


@pytest.mark.parametrize("mode", MODES, ids=lambda m: type(m).__name__)
def test_an_image_that_the_family_refuses_is_an_error_before_any_call(mode: Mode) -> None:
    ask = Script()
    thin = replace(SAMPLE, image=replace(SAMPLE.image, size=(9000, 40)))
    with pytest.raises(ImageError, match="aspect ratio over 200"):
        solve(mode, ask, thin)
    assert ask.requests == []


@pytest.mark.parametrize("mode", MODES, ids=lambda m: type(m).__name__)
def test_a_mode_names_exactly_the_roles_that_it_calls(mode: Mode) -> None:
    ask = Script(answer="B", think=THOUGHT, perceive=LOOK, reason=THOUGHT)
    solve(mode, ask)
    assert tuple(request.role for request in ask.requests) == mode.roles  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES, ids=lambda m: type(m).__name__)
def test_built_in_modes_are_modes(mode: Mode) -> None:
    assert isinstance(mode, Mode)
