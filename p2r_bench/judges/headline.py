"""The headline scorer: the one whose verdict on a sample is reported first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from p2r_bench.types import AnswerForm, Judge, Sample

DEFAULT_SCORER = "strict"
HEADLINES: Mapping[AnswerForm, str] = {
    "choice": DEFAULT_SCORER,
    "number": "numeric",
    "yes_no": "yes-no",
    "word": "word",
    "free": "verifier",
    "caption": "verifier",
}
"""Default headline scorer of each answer form."""


def headline_scorer(sample: Sample, chosen: str, judges: Sequence[Judge] = ()) -> str:
    """Return the headline scorer of a sample.

    It is the chosen one if it applies, else the default of the answer form (HEADLINES). Without `judges` the chosen one
    applies to choice questions only.
    """
    applies = any(judge.scorer == chosen and judge.applies(sample) for judge in judges)
    if applies or (not judges and sample.answer_form == "choice"):
        return chosen
    return HEADLINES[sample.answer_form]


def headline_scorers(
    samples: Iterable[Sample], chosen: str, judges: Sequence[Judge] = ()
) -> dict[str, str]:
    """Return the headline scorer of each answer form; the first sample of the form decides."""
    first: dict[AnswerForm, Sample] = {}
    for sample in samples:
        first.setdefault(sample.answer_form, sample)
    return {form: headline_scorer(sample, chosen, judges) for form, sample in first.items()}
