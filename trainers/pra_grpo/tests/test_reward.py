"""A reward is what evaluation would say of the rollout, and a failure has none."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2r_bench_pra_grpo.config import LabelTerm, OverlapTerm, RewardTerms
from p2r_bench_pra_grpo.reward import TERMS, Rewarder, iou, overlapping, placeholders
from p2r_bench_pra_grpo.stage import NoReward, Reward

from p2r_bench import Completion, EngineError, Request, Sample, Verdict, load_profile
from p2r_bench.judges.select import make_judge
from p2r_bench.modes.p2r import P2R
from p2r_bench.testing import tiny_sample
from p2r_bench.types import Box, ErrorInfo

PROFILE = load_profile("tiny")
SAMPLE = tiny_sample("choice")
RIGHT = "<think>Green.</think><answer>B</answer>"
WRONG = "<think>Red.</think><answer>A</answer>"
GOOD = [{"bbox_2d": [200, 400, 500, 800], "label": "the square"}]


def rewarder(terms: RewardTerms | None = None) -> Rewarder:
    return Rewarder(PROFILE, [make_judge("strict", {})], terms)


def boxes(value: object) -> Completion:
    return Completion(value if isinstance(value, str) else json.dumps(value))


def perceived(text: object, answer: str = RIGHT, terms: RewardTerms | None = None) -> Reward:
    async def ask(request: Request) -> Completion:
        assert request.role == "reason"
        return Completion(answer)

    return asyncio.run(rewarder(terms).perceiver(SAMPLE, boxes(text), ask))


def test_boxes_earn_what_the_frozen_reasoner_makes_of_them() -> None:
    assert perceived(GOOD, RIGHT).value == 1.0
    assert perceived(GOOD, WRONG).value == 0.0


def test_an_answer_outside_its_tags_is_no_answer_and_earns_nothing() -> None:
    assert perceived(GOOD, "It is B.").value == 0.0


def test_the_reasoner_is_asked_exactly_what_evaluation_asks() -> None:
    asked: list[Request] = []

    async def ask(request: Request) -> Completion:
        asked.append(request)
        return Completion(json.dumps(GOOD) if request.role == "perceive" else RIGHT)

    asyncio.run(P2R().solve(SAMPLE, ask, PROFILE))
    evaluation = asked.pop()
    asyncio.run(rewarder().perceiver(SAMPLE, boxes(GOOD), ask))
    assert asked[-1] == evaluation


def test_answers_are_rewarded_from_the_stored_boxes() -> None:
    reward = asyncio.run(rewarder().reasoner(SAMPLE, boxes(GOOD), Completion(RIGHT)))
    assert reward.value == 1.0 and len(reward.prediction.evidence.crops) == 1
    reward = asyncio.run(rewarder().reasoner(SAMPLE, boxes(GOOD), Completion(WRONG)))
    assert reward.value == 0.0


def test_the_baseline_is_rewarded_for_a_single_call() -> None:
    reward = asyncio.run(rewarder().baseline(SAMPLE, Completion(RIGHT)))
    assert reward.value == 1.0 and reward.prediction.evidence is None


TWICE = [GOOD[0], {"bbox_2d": [210, 400, 500, 800], "label": "again"}]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        (TWICE, "overlap"),
        ([{"bbox_2d": [200, 400, 500, 800]}], "label"),
        ([{"bbox_2d": [200, 400, 500, 800], "label": " "}], "label"),
        ([{"bbox_2d": [200, 400, 500, 800], "label": "What it shows"}], "label"),
    ],
)
def test_the_published_rule_vetoes_overlaps_and_missing_labels(text: object, term: str) -> None:
    reward = perceived(text)
    assert reward.value == 0.0 and reward.terms[term] == 1.0 and reward.terms["answer"] == 1.0


def test_terms_can_be_penalties_or_only_be_logged() -> None:
    penalty = RewardTerms(overlap=OverlapTerm(rule="penalty", weight=0.25))
    assert perceived(TWICE, terms=penalty).value == 0.75
    logged = perceived(TWICE, terms=RewardTerms(overlap=OverlapTerm(rule="log")))
    assert logged.value == 1.0 and logged.terms["overlap"] == 1.0


def test_own_placeholders_are_forbidden_too() -> None:
    terms = RewardTerms(label=LabelTerm(placeholders=("Description",)))
    text = [{"bbox_2d": [200, 400, 500, 800], "label": "description"}]
    assert perceived(text).value == 1.0
    assert perceived(text, terms=terms).value == 0.0


@pytest.mark.parametrize("family", ["qwen3-vl", "internvl", "gemma"])
def test_the_prompts_own_example_label_is_known(family: str) -> None:
    assert placeholders(load_profile("p2r").with_family(family)) == {"what it shows"}


def test_an_empty_list_asks_for_the_whole_image_and_is_no_offence() -> None:
    reward = perceived([])
    assert reward.value == 1.0 and reward.terms["label"] == 0.0


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "null", '"a"', "1e999"])
def test_boxes_that_are_no_numbers_are_ignored_as_in_evaluation(bad: str) -> None:
    text = f'[{{"bbox_2d": [0, {bad}, 500, 800], "label": "x"}}]'
    reward = perceived(text)
    assert math.isfinite(reward.value) and reward.prediction.evidence.boxes == ()


def test_a_failed_call_has_no_reward() -> None:
    async def ask(request: Request) -> Completion:
        raise EngineError("gone", kind="connection")

    with pytest.raises(EngineError, match="gone"):
        asyncio.run(rewarder().perceiver(SAMPLE, boxes(GOOD), ask))


class Broken:
    scorer, version, params_hash = "strict", "1", ""

    def __init__(self, raises: bool) -> None:
        self.raises = raises

    def applies(self, sample: Sample) -> bool:
        return True

    async def judge(self, sample: Sample, prediction: object) -> Verdict:
        if self.raises:
            raise ConnectionError("no verifier")
        error = ErrorInfo("unreachable", "no verifier")
        return Verdict(sample.id, "strict", "1", "", status="error", error=error)


@pytest.mark.parametrize("raises", [True, False])
def test_a_failed_judge_gives_no_reward(raises: bool) -> None:
    failing = Rewarder(PROFILE, [Broken(raises)])
    with pytest.raises(NoReward, match="no verifier"):
        asyncio.run(failing.baseline(SAMPLE, Completion(RIGHT)))


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["bbox_2d", "label", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
corner = st.floats() | st.integers(-(10**320), 10**320)
box_lists = st.lists(
    st.fixed_dictionaries(
        {"bbox_2d": st.lists(corner, min_size=3, max_size=5)}, optional={"label": anything}
    ),
    max_size=5,
)


@given(
    st.text(max_size=40) | anything.map(json.dumps) | box_lists.map(json.dumps),
    st.text(max_size=30),
)
def test_whatever_is_written_earns_a_finite_reward_with_the_same_terms(
    text: str, answer: str
) -> None:
    reward = perceived(text, answer)
    assert math.isfinite(reward.value) and tuple(reward.terms) == TERMS["perceiver"]
    assert all(value in (0.0, 1.0) for value in reward.terms.values())


@given(st.data())
def test_never_a_reward_from_a_failure(data: st.DataObject) -> None:
    """Whatever fails, and whatever the rollout says: either every call and the judge succeeded, or nothing is earned."""
    call_fails, judge_fails = data.draw(st.booleans()), data.draw(st.booleans())
    text = data.draw(st.text(max_size=20) | box_lists.map(json.dumps))

    async def ask(request: Request) -> Completion:
        if call_fails:
            raise EngineError("gone", kind=data.draw(st.sampled_from(["timeout", "http_500"])))
        return Completion(data.draw(st.sampled_from([RIGHT, WRONG, "", "garbage"])))

    judge = Broken(data.draw(st.booleans())) if judge_fails else make_judge("strict", {})
    try:
        reward = asyncio.run(Rewarder(PROFILE, [judge]).perceiver(SAMPLE, Completion(text), ask))
    except (EngineError, NoReward):
        assert call_fails or judge_fails
    else:
        assert not call_fails and not judge_fails and reward.verdict.status == "ok"


finite = st.floats(-1e300, 1e300)
a_box = (
    st.tuples(finite, finite, finite, finite).filter(lambda c: c[0] < c[2] and c[1] < c[3]).map(Box)
)


@given(a_box, a_box)
def test_overlap_is_a_share_and_symmetric(a: Box, b: Box) -> None:
    assert 0.0 <= iou(a, b) <= 1.0 + 1e-9
    assert iou(a, b) == pytest.approx(iou(b, a), abs=1e-12)


@pytest.mark.parametrize("corners", [(0.0, 0.0, 10.0, 10.0), (-5e299, -1e300, 5e299, 1e300)])
def test_a_box_overlaps_itself_wholly(corners: tuple[float, float, float, float]) -> None:
    assert iou(Box(corners), Box(corners)) == pytest.approx(1.0)
    assert overlapping([Box(corners), Box(corners)], 0.5)
