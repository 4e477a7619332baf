"""Steps of a running stage as rows of metrics.parquet: verl's own figures and those of the rewards."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench.types import Sample
from p2r_bench_pra_grpo.backends.verl.journal import reward_from
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.metrics import step_facts
from p2r_bench_pra_grpo.stage import Reward, Stage

VERL_KEYS: Mapping[str, str] = {
    "kl": "actor/kl_loss",
    "entropy": "actor/entropy",
    "clip_share": "actor/pg_clipfrac",
    "loss": "actor/loss",
    "grad_norm": "actor/grad_norm",
    "learning_rate": "actor/lr",
    "response_tokens_mean": "response_length/mean",
    "failed_share": "training/failed_share",
    "groups_skipped": "training/groups_skipped",
    "tokens": "perf/total_num_tokens",
    "seconds": "timing_s/step",
    "rollout_seconds": "timing_s/gen",
    "update_seconds": "timing_s/update_actor",
}
"""Column to the name of verl's own metric."""

_WHOLE = ("groups_skipped", "tokens")

Group = tuple[Sample, Sequence[Reward | None]]


class Progress:
    """Reader of one attempt's new lines since the last call."""

    def __init__(self, stage: Stage, samples: Sequence[Sample], paths: StagePaths) -> None:
        self._stage = stage
        self._samples = {sample.id: sample for sample in samples}
        self._paths = paths
        self._read: dict[Path, int] = defaultdict(int)
        self._lines: dict[int, list[dict[str, Any]]] = defaultdict(list)

    def new_steps(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Return rows of metrics.parquet, each with the rows of rollouts.parquet of its step."""
        logged = list(self._new_lines(self._paths.log))
        for path in sorted(self._paths.journals.glob("*.jsonl")):
            for line in self._new_lines(path):
                self._lines[line["step"]].append(line)
        for entry in logged:
            lines = self._lines.pop(entry["step"], [])
            kept = [line["row"] for line in lines if line.get("row")]
            kept.sort(key=lambda row: (row["index"], row["repeat"]))
            yield self._row(entry["step"], entry["data"], lines), kept

    def _row(
        self, step: int, figures: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        facts = step_facts(self._stage.role, self._groups(lines))
        for column, key in VERL_KEYS.items():
            value = figures.get(key)
            if value is not None:
                facts[column] = int(value) if column in _WHOLE else float(value)
        return {"step": step, "round": self._stage.round, "role": self._stage.role, **facts}

    def _groups(self, lines: Sequence[Mapping[str, Any]]) -> list[Group]:
        groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in lines:
            groups[line["group"]].append(line)
        return [
            (self._samples[group[0]["sample"]], [reward_from(line) for line in group])
            for group in groups.values()
        ]

    def _new_lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """Return the lines completed since the last call."""
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(self._read[path])
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read[path] += len(line)
                yield json.loads(line)
