"""A stored run by one scorer, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.reader import RunReader
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.types import Cell

ACCURACY = "accuracy"
Key = tuple[str, int]
_SAMPLE = ("sample_id", "repeat", "status", "answer_form", "group", "subset", "category", "cells")
_VERDICT = ("sample_id", "repeat", "scorer", "version", "params_hash", "status", "correct", "score")


@dataclass(frozen=True)
class Place:
    """Cluster of a sample, and the figures in which it counts."""

    cluster: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ScoredRun:
    """A run by one scorer.

    Attributes:
        scorer: Name of the scorer, or of several by answer form joined by +.
        protocol: Versions and parameter hashes of the scorers, by name.
        scores: Sample and repeat to the credit from 0 to 1; samples without a score are left out.
        unscored: Samples without a score, each with the reason: error, not_applicable, or unjudged.
        places: Every sample and repeat to its cluster and figures.
    """

    reader: RunReader
    scorer: str
    protocol: Mapping[str, tuple[tuple[str, str], ...]]
    scores: Mapping[Key, float]
    unscored: Mapping[Key, str]
    places: Mapping[Key, Place]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.reader.run_id

    @property
    def identity(self) -> Mapping[str, Any]:
        """The run's identity, as its manifest has it."""
        found: Mapping[str, Any] = self.reader.manifest.content["identity"]
        return found

    @property
    def labels(self) -> Mapping[str, Any]:
        """Names of models and profile, and the profile's fields, as the manifest has them."""
        found: Mapping[str, Any] = self.reader.manifest.content["labels"]
        return found

    @cached_property
    def model(self) -> str:
        """Names of the models, joined by +."""
        return "+".join(dict.fromkeys(self.labels["models"].values()))

    @property
    def mode(self) -> str:
        """Name of the mode."""
        return str(self.identity["mode"])


def read_scored(
    reader: RunReader, scorer: str | None = None, *, metric: str = ACCURACY
) -> ScoredRun:
    """Read a run's verdicts by its headline scorer, or by another one.

    Args:
        metric: "accuracy" credits right answers; another name takes the scores of the scorers that grade by it.

    Raises:
        UserError: The run has no verdict by this scorer or metric, or its files are damaged.
    """
    samples = reader.columns(SAMPLES, _SAMPLE).to_pydict()
    keys: list[Key] = list(zip(samples["sample_id"], samples["repeat"], strict=True))
    chosen = scorer or _headline(reader)
    form_of = dict(zip(keys, samples["answer_form"], strict=True))
    places = {
        key: Place(
            key[0] if group is None else group,
            tuple((c["subset"], c["category"]) for c in cells or ()),
        )
        for key, group, cells in zip(keys, samples["group"], samples["cells"], strict=True)
    }
    columns = (*_VERDICT, "metric") if metric != ACCURACY else _VERDICT
    verdicts = reader.columns(VERDICTS, columns).to_pydict()
    scores: dict[Key, float] = {}
    protocol: dict[str, set[tuple[str, str]]] = {}
    unscored = {
        key: "unjudged" if status == "ok" else status
        for key, status in zip(keys, samples["status"], strict=True)
    }
    for row in zip(*verdicts.values(), strict=True):
        sample_id, repeat, name, version, params, status, correct, score, *grading = row
        key = (sample_id, repeat)
        wanted = chosen if isinstance(chosen, str) else chosen.get(form_of.get(key, ""))
        if name != wanted or (grading and grading[0] != metric) or unscored.get(key) == "error":
            continue
        protocol.setdefault(name, set()).add((version, params))
        if status != "ok":
            unscored[key] = "error"
        elif key in unscored:
            credit = correct if metric == ACCURACY else score
            if credit is not None:
                scores[key] = float(credit)
                del unscored[key]
    if not protocol:
        there = ", ".join(dict.fromkeys(verdicts["scorer"])) or "none"
        by = chosen if isinstance(chosen, str) else "+".join(dict.fromkeys(chosen.values()))
        wanted = by if metric == ACCURACY else f"{metric} by {by}"
        raise UserError(
            f"{reader.run_id}: has no verdict {wanted!r}; its scorers: {there}. "
            f"`p2r-bench score {reader.run_id}` adds what is missing."
        )
    return ScoredRun(
        reader=reader,
        scorer="+".join(sorted(protocol)),
        protocol={name: tuple(sorted(found)) for name, found in protocol.items()},
        scores=scores,
        unscored=unscored,
        places=places,
    )


def _headline(reader: RunReader) -> str | Mapping[str, str]:
    """Return the run's headline scorer, or one for each answer form."""
    finished = reader.manifest.finished
    if finished is None:
        raise UserError(
            f"{reader.run_id}: was never finished, so it has no headline scorer; run the same command again, "
            "or name one with --scorer"
        )
    found: str | Mapping[str, str] = finished["scorer"]
    return found
