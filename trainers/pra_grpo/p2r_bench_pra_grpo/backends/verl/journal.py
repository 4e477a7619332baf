"""Journals of rollouts by reward workers: one file of JSON lines per process, read by the backend."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.atomic import replacing
from p2r_bench.types import Box, Evidence, Prediction, Sample, Verdict
from p2r_bench_pra_grpo.metrics import rollout_row
from p2r_bench_pra_grpo.stage import Reward, Stage

DOWN = "service_down.txt"
"""File in the journals' folder with the reason why a service was given up. The backend ends verl when it appears."""

KEPT_PROMPTS = 2
"""Mean number of prompts of a step whose rollouts are stored whole."""


@dataclass(frozen=True)
class Place:
    """Place of a rollout: `group` is verl's id of the prompt in this step, `rollout` the index in the group."""

    step: int
    group: str
    rollout: int
    index: int


class Journal:
    """Journal of one process. The line of a rollout that is stored whole holds its row of rollouts.parquet.

    Args:
        keep: Share of prompts whose rollouts are stored whole.
    """

    def __init__(self, folder: Path, stage: Stage, keep: float) -> None:
        self._folder = folder
        self._stage = stage
        self._keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{socket.gethostname()}-{os.getpid()}.jsonl"

    def rewarded(self, place: Place, sample: Sample, reward: Reward) -> None:
        """Record a rollout with its reward."""
        evidence = reward.prediction.evidence
        kept = self._kept(place)
        self._write(
            place,
            {
                "sample": sample.id,
                "value": reward.value,
                "terms": dict(reward.terms),
                "correct": reward.verdict.correct,
                "boxes": [box.xyxy for box in evidence.boxes] if evidence else [],
                "row": rollout_row(
                    self._stage, place.step, place.rollout, sample, reward, place.index
                )
                if kept
                else None,
            },
        )

    def failed(self, place: Place, sample: Sample, kind: str, message: str) -> None:
        """Record a rollout without a reward, and the cause."""
        self._write(place, {"sample": sample.id, "failed": kind, "message": message})

    def service_down(self, message: str) -> None:
        """Record for the backend that a frozen model or the verifier was given up."""
        path = self._folder / DOWN
        if not path.exists():  # the first one says why
            with replacing(path) as beside:
                beside.write_text(message, encoding="utf-8")

    def _write(self, place: Place, values: Mapping[str, Any]) -> None:
        line = json.dumps({**vars(place), **values}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _kept(self, place: Place) -> bool:
        digest = hashlib.sha256(f"{self._stage.seed}:{place.step}:{place.index}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < self._keep * 2**32


def reward_from(line: Mapping[str, Any]) -> Reward | None:
    """Return the reward of a line, with the fields that metrics need; None for a rollout that failed."""
    if "failed" in line:
        return None
    boxes = tuple(Box(tuple(corners)) for corners in line["boxes"])
    sample = line["sample"]
    return Reward(
        line["value"],
        line["terms"],
        Prediction(sample, evidence=Evidence(boxes=boxes)),
        Verdict(sample, "", "", "", correct=line["correct"]),
    )
