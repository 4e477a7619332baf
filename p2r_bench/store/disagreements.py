"""Samples of a stored run on which scorers disagree, with the text that each scorer read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from p2r_bench.store.reader import RunReader
from p2r_bench.store.schema import SAMPLES, VERDICTS

_AROUND = 24
_SAMPLE = ("sample_id", "repeat", "answer", "extracted_answer")
_VERDICT = (
    *("sample_id", "repeat", "scorer", "status", "correct"),
    *("extracted", "span_start", "span_end"),
)


@dataclass(frozen=True)
class Reading:
    """One scorer's verdict on an answer.

    Attributes:
        extracted: Value compared with the right answer; None for no answer.
        span: Place of the value in the answer, if the answer contains it.
    """

    scorer: str
    correct: bool
    extracted: str | None
    span: tuple[int, int] | None


@dataclass(frozen=True)
class Disagreement:
    """A sample that some scorers call right and others wrong."""

    sample_id: str
    repeat: int
    right: str
    answer: str | None
    readings: tuple[Reading, ...]

    def shown(self, reading: Reading) -> str:
        """Return part of the answer around a reading's span, on one line, with the span between « and »."""
        answer = self.answer or ""
        if reading.span is None:
            return "no answer found" if reading.extracted is None else f"«{reading.extracted}»"
        start, end = reading.span
        before, after = answer[max(0, start - _AROUND) : start], answer[end : end + _AROUND]
        text = f"{before}«{answer[start:end]}»{after}"
        left = "…" if start > _AROUND else ""
        right = "…" if end + _AROUND < len(answer) else ""
        return " ".join(f"{left}{text}{right}".split())

    def record(self) -> dict[str, Any]:
        """Return the disagreement as a JSON object."""
        return {**vars(self), "readings": [vars(reading) for reading in self.readings]}


def disagreements(run: RunReader) -> Iterator[Disagreement]:
    """Yield the samples, in the dataset's order, on which two scorers with a verdict differ in right and wrong."""
    readings: dict[tuple[str, int], list[Reading]] = {}
    verdicts = run.columns(VERDICTS, _VERDICT).to_pydict()
    for sample_id, repeat, scorer, status, correct, extracted, start, end in zip(
        *(verdicts[name] for name in _VERDICT), strict=True
    ):
        if status == "ok" and correct is not None:
            span = None if start is None else (start, end)
            reading = Reading(scorer, correct, extracted, span)
            readings.setdefault((sample_id, repeat), []).append(reading)
    samples = run.columns(SAMPLES, _SAMPLE).to_pydict()
    for sample_id, repeat, right, answer in zip(*(samples[name] for name in _SAMPLE), strict=True):
        found = readings.get((sample_id, repeat), [])
        if len({reading.correct for reading in found}) > 1:
            yield Disagreement(sample_id, repeat, right, answer, tuple(found))
