"""Metrics count what happened: failures apart from rewards, flat and skipped groups, boxes and their overlap."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2r_bench_pra_grpo.metrics import METRICS, ROLLOUTS, StepFile, rollout_row, step_facts
from p2r_bench_pra_grpo.stage import Reward, Stage

from p2r_bench import Completion, Evidence, Prediction, Verdict
from p2r_bench.testing import tiny_sample
from p2r_bench.types import Box

SAMPLE = tiny_sample()
STAGE = Stage(1, "perceiver", Path("start"), Path("start"), Path("stage"), 0)


def reward(value: float, *boxes: Box) -> Reward:
    completion = Completion("text")
    prediction = Prediction(
        SAMPLE.id, answer="B", evidence=Evidence(boxes=boxes), completions=(completion,)
    )
    verdict = Verdict(SAMPLE.id, "strict", "1", "", extracted="B", correct=value > 0)
    terms = {"answer": float(value > 0), "overlap": 0.0, "label": 0.0}
    return Reward(value, terms, prediction, verdict)


def test_a_failed_rollout_counts_as_failed_and_not_as_zero() -> None:
    facts = step_facts("perceiver", [(SAMPLE, [reward(1.0), None, reward(1.0), None])])
    assert facts["reward_mean"] == 1.0 and facts["failed_share"] == 0.5


def test_groups_with_one_reward_are_skipped_and_those_without_difference_flat() -> None:
    groups = [
        (SAMPLE, [reward(1.0), None]),
        (SAMPLE, [reward(1.0), reward(1.0)]),
        (SAMPLE, [reward(1.0), reward(0.0)]),
        (SAMPLE, [None, None]),
    ]
    facts = step_facts("perceiver", groups)
    assert (facts["groups_skipped"], facts["groups_flat"]) == (2, 1)
    assert facts["reward_std"] == 0.25


def test_a_step_in_which_all_failed_has_no_mean() -> None:
    facts = step_facts("reasoner", [(SAMPLE, [None, None])])
    assert facts["reward_mean"] is None and facts["failed_share"] == 1.0


def test_boxes_are_compared_with_the_ground_truth_where_there_is_one() -> None:
    assert SAMPLE.boxes is not None
    (truth,) = SAMPLE.boxes
    facts = step_facts("perceiver", [(SAMPLE, [reward(1.0, truth), reward(0.0)])])
    assert facts["iou_mean"] == pytest.approx(0.5) and facts["box_count_mean"] == 0.5


rewards = st.none() | st.sampled_from([0.0, 0.5, 1.0]).map(reward)


@given(st.lists(st.lists(rewards, min_size=1, max_size=4), min_size=1, max_size=5))
def test_every_group_is_learned_from_flat_or_skipped(groups: list[list[Reward | None]]) -> None:
    facts = step_facts("perceiver", [(SAMPLE, group) for group in groups])
    left = sum(r is not None for group in groups for r in group)
    assert facts["failed_share"] == pytest.approx(1 - left / sum(map(len, groups)))
    assert facts["groups_skipped"] + facts["groups_flat"] <= len(groups)


def test_rows_after_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    file = StepFile(tmp_path / "metrics.parquet")
    for step in (1, 2, 3):
        file.append({"step": step, "round": 1, "role": "perceiver", "reward_mean": 0.1 * step})
    StepFile(tmp_path / "metrics.parquet").keep(1)
    again = StepFile(tmp_path / "metrics.parquet")
    assert [row["step"] for row in again.rows] == [1]
    again.append({"step": 2})
    assert [row["step"] for row in StepFile(tmp_path / "metrics.parquet").rows] == [1, 2]


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column reward"):
        StepFile(tmp_path / "metrics.parquet").append({"step": 1, "reward": 0.5})


def test_a_rollout_is_a_sample_row_with_its_reward(tmp_path: Path) -> None:
    file = StepFile(tmp_path / "rollouts.parquet", ROLLOUTS)
    file.append(rollout_row(STAGE, 4, 2, SAMPLE, reward(0.5)))
    (row,) = StepFile(tmp_path / "rollouts.parquet", ROLLOUTS).rows
    assert (row["step"], row["repeat"], row["reward"]) == (4, 2, 0.5)
    assert row["sample_id"] == SAMPLE.id and row["extracted_answer"] == "B"
    assert {c.name for c in METRICS.columns} >= {"kl", "entropy", "clip_share", "iou_mean"}
