"""Guessing has a value too, and it follows from the rows."""

from __future__ import annotations

from typing import Any

import pytest

from p2r_bench.stats.chance import CellFacts, cell_facts, chance_level
from p2r_bench.types import ImageRef, Metric, Sample

OVERALL = (None, None)
QUESTIONS = Metric("accuracy_all_rotations", per="question")


def sample(number: int, options: int = 4, **changes: Any) -> Sample:
    letters = "ABCDEFGH"[:options]
    fields: dict[str, Any] = {"options": dict.fromkeys(letters, "text"), "answer": "A", **changes}
    return Sample(f"s{number}", "task", ImageRef(data=b""), "Which?", **fields)


def test_chance_is_the_mean_over_rows_and_not_one_over_the_mean() -> None:
    rows = [sample(n, 2) for n in range(84)] + [sample(n, 4) for n in range(84, 191)]
    assert chance_level(rows) == pytest.approx((84 / 2 + 107 / 4) / 191)
    assert f"{100 * (chance_level(rows) or 0):.1f}" == "36.0"


def test_only_choice_rows_have_a_chance_level() -> None:
    free = sample(1, 0, answer_form="free")
    assert chance_level([free]) is None
    assert chance_level([sample(0, 5), free]) == 0.2
    facts = cell_facts([sample(0, 5), free], {"s0": [OVERALL], "s1": [OVERALL]}, [Metric()], {})
    assert facts["accuracy", OVERALL] == CellFacts(0.2, 1)


def test_each_cell_has_its_own_level() -> None:
    cells = {"s0": [OVERALL, (None, "a")], "s1": [OVERALL, (None, "b")]}
    facts = cell_facts([sample(0, 2), sample(1, 4)], cells, [Metric()], {})
    levels = {cell: found.chance for (_, cell), found in facts.items()}
    assert levels == {OVERALL: 0.375, (None, "a"): 0.5, (None, "b"): 0.25}


def test_all_rows_of_a_question_are_guessed_one_by_one() -> None:
    rows = [sample(n, 4, question_id="q") for n in range(4)]
    cells = {key: [OVERALL] for key in ("s0", "s1", "s2", "s3")}
    facts = cell_facts(rows, cells, [Metric(), QUESTIONS], {})
    assert facts["accuracy", OVERALL] == CellFacts(0.25, 4, question_rows=4)
    assert facts[QUESTIONS.name, OVERALL] == CellFacts(0.25**4, 4, question_rows=4)
