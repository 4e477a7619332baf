"""Metrics of a stage's steps, and its stored rollouts, as parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from p2r_bench.store.rows import Row, sample_row
from p2r_bench.store.tables import SAMPLES, Table, columns, read_rows, write_table
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.reward import TERMS, iou
from p2r_bench_pra_grpo.stage import Reward, Stage, StageRole

METRICS = Table(
    "training metrics",
    "one step of a stage",
    ("step",),
    columns("""
step                  int64   Counted from 1 in each stage.
round                 int64   Counted from 1.
role                  text    "perceiver", "reasoner" or "baseline".
reward_mean           float   Mean reward of the step's rollouts that have one.
reward_std            float   Mean over groups of the standard deviation of their rewards.
reward_answer         float   Share of rollouts whose answer is right.
reward_overlap        float   Share of rollouts with two boxes that overlap too much.
reward_label          float   Share of rollouts with a box without a label of its own.
kl                    float   k3 estimate of the KL divergence to the reference, per token.
entropy               float   Of the policy's distribution, in nats per token.
response_tokens_mean  float   Tokens per rollout.
clip_share            float   Share of tokens whose ratio is clipped.
failed_share          float   Share of rollouts without a reward, because a call failed.
groups_skipped        int64   Groups with fewer than two rewards left; nothing is learned from them.
groups_flat           int64   Groups whose rewards are all equal; their advantages are 0.
box_count_mean        float   Boxes per rollout.
iou_mean              float   Best overlap of each ground-truth box with a box, mean; of samples that have any.
loss                  float   Of the policy, KL included.
grad_norm             float   Before clipping.
learning_rate         float   Of this step.
tokens                int64   Prompt and response tokens of the step's rollouts.
seconds               float~  Of the whole step.
rollout_seconds       float~  Generation and rewards.
update_seconds        float~  Forward and backward passes.
"""),
)

ROLLOUTS = Table(
    "rollouts",
    "one rollout that was kept",
    ("step", "sample_id", "repeat"),
    (
        *columns("""
step     int64   Step of the stage.
round    int64   Round of the training.
role     text    Role that was trained.
reward   float   Reward before GRPO normalises it.
terms    text    JSON object of the reward's terms before weighting.
correct  bool    True when the answer is right.
"""),
        *SAMPLES.columns,
    ),
)
"""The columns of samples.parquet, so that pages of samples can show rollouts; `repeat` is the index in the group."""


class StepFile:
    """Parquet file with rows of steps, always whole on disk.

    Call `keep` when a stage is resumed: it drops the rows after the checkpoint.
    """

    def __init__(self, path: Path, table: Table = METRICS) -> None:
        self._path = path
        self._table = table
        self._rows: list[Row] | None = None

    @property
    def rows(self) -> list[Row]:
        """All rows, in order."""
        if self._rows is None:
            self._rows = list(read_rows(self._path, self._table)) if self._path.is_file() else []
        return self._rows

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; a column that a row lacks is null, an unknown one is refused."""
        for row in rows:
            unknown = set(row) - set(self._table.names)
            if unknown:
                raise ValueError(f"{self._table.name}: no column {', '.join(sorted(unknown))}")
        self._write([*self.rows, *(dict(row) for row in rows)])

    def keep(self, steps: int) -> None:
        """Drop the rows of steps after this one."""
        kept = [row for row in self.rows if row["step"] <= steps]
        if len(kept) != len(self.rows):
            self._write(kept)

    def _write(self, rows: list[Row]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_table(self._path, self._table, rows)
        self._rows = rows


def rollout_row(
    stage: Stage, step: int, place: int, sample: Sample, reward: Reward, index: int = 0
) -> Row:
    """Return a rollout as a row of `ROLLOUTS`.

    Args:
        place: Index of the rollout in its group, from 0.
        index: Index of the sample in the data.
    """
    return {
        "step": step,
        "round": stage.round,
        "role": stage.role,
        "reward": reward.value,
        "terms": json.dumps(dict(reward.terms)),
        "correct": reward.verdict.correct,
        **sample_row(sample, reward.prediction, index=index, repeat=place, cells=((None, None),)),
    }


def step_facts(
    role: StageRole, groups: Sequence[tuple[Sample, Sequence[Reward | None]]]
) -> dict[str, Any]:
    """Return the columns of a step that follow from its rewards; None stands for a rollout without one."""
    rewards = [r for _, group in groups for r in group if r is not None]
    rollouts = sum(len(group) for _, group in groups)
    left = [[r.value for r in group if r is not None] for _, group in groups]
    learned = [values for values in left if len(values) > 1]
    facts: dict[str, Any] = {
        "reward_mean": _mean(r.value for r in rewards),
        "reward_std": _mean(pstdev(values) for values in learned),
        "failed_share": 1 - len(rewards) / rollouts if rollouts else None,
        "groups_skipped": len(left) - len(learned),
        "groups_flat": sum(len(set(values)) == 1 for values in learned),
    }
    facts |= {f"reward_{name}": _mean(r.terms[name] for r in rewards) for name in TERMS[role]}
    if role == "perceiver":
        seen = [(s, r) for s, group in groups for r in group if r is not None]
        facts["box_count_mean"] = _mean(float(len(boxes_of(r))) for _, r in seen)
        facts["iou_mean"] = _mean(x for s, r in seen if (x := found_share(s, r)) is not None)
    return facts


def boxes_of(reward: Reward) -> tuple[Any, ...]:
    """Return the boxes of a rollout's prediction."""
    evidence = reward.prediction.evidence
    return evidence.boxes if evidence else ()


def found_share(sample: Sample, reward: Reward) -> float | None:
    """Return the mean, over ground-truth boxes, of the best IoU with a predicted box, 0 to 1; None without ground
    truth.
    """
    if not sample.boxes:
        return None
    boxes = boxes_of(reward)
    return fmean(max((iou(truth, box) for box in boxes), default=0.0) for truth in sample.boxes)


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    mean = fmean(numbers) if numbers else math.nan
    return mean if math.isfinite(mean) else None
