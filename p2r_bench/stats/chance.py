"""Chance level: the value expected of guessing, computed from a benchmark's rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from p2r_bench.types import Cell, Metric, Sample


@dataclass(frozen=True)
class CellFacts:
    """Facts about a figure that do not depend on a run.

    Attributes:
        chance: Expected value of guessing, 0–1; None without choice questions.
        n_chance: Number of choice questions (rows) behind `chance`; other rows have no chance level.
        reason: Why the figure cannot be computed, or None.
        question_rows: Largest number of rows of a question of the cell.
    """

    chance: float | None = None
    n_chance: int = 0
    reason: str | None = None
    question_rows: int = 1


def chance_level(samples: Iterable[Sample]) -> float | None:
    """Return the mean over choice samples of 1 / number of options, or None without choice samples."""
    return _mean([1 / len(sample.options) for sample in samples if _is_choice(sample)])


def cell_facts(
    samples: Iterable[Sample],
    cells: Mapping[str, Iterable[Cell]],
    metrics: Sequence[Metric],
    unavailable: Mapping[str, Mapping[Cell, str]],
) -> dict[tuple[str, Cell], CellFacts]:
    """Return the facts about each figure, by metric name and cell.

    The chance level of a metric per question is the chance that all rows of a question are guessed, each
    independently of the others.

    Args:
        samples: All samples of the task.
        cells: The cells in which a sample counts, by sample id.
        unavailable: See `DataFacts`.
    """
    members: dict[Cell, list[Sample]] = defaultdict(list)
    for sample in samples:
        for cell in cells[sample.id]:
            members[cell].append(sample)
    facts = {}
    for metric in metrics:
        reasons = unavailable.get(metric.name, {})
        for cell, inside in members.items():
            choices = [sample for sample in inside if _is_choice(sample)]
            level = chance_level(choices) if metric.per == "sample" else _all_rows(choices)
            rows = max(Counter(sample.question_id or sample.id for sample in inside).values())
            facts[metric.name, cell] = CellFacts(level, len(choices), reasons.get(cell), rows)
    return facts


def _all_rows(choices: Iterable[Sample]) -> float | None:
    questions: dict[str, list[float]] = defaultdict(list)
    for sample in choices:
        questions[sample.question_id or sample.id].append(1 / len(sample.options))
    return _mean([prod(shares) for shares in questions.values()])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _is_choice(sample: Sample) -> bool:
    return sample.answer_form == "choice" and bool(sample.options)
