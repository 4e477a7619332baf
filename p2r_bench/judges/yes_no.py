"""The scorer `yes-no`: yes or no equal to the right answer."""

from __future__ import annotations

import re

from p2r_bench.judges.match import Match
from p2r_bench.judges.plain import read_text
from p2r_bench.judges.refusals import DENIED
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of

_SAID = re.compile(
    r"(?:\A[\W_]*|\banswer(?:\s+is)?[\W_]+)(?P<word>yes|no)(?![^\W_])"
    r"(?!(?:[^\w.!;\n]|\b(?:and|or)\b){1,9}(?!(?P=word))(?:yes|no)(?![^\W_]))"
    r"(?![\W_]{1,9}(?!(?P=word))(?:yes|no)[\W_]*\Z)",
    re.IGNORECASE,
)


_TAKES_BACK = (DENIED, re.compile(r"\s*\?"))
_VERDICT = re.compile(
    r"(?:(?P<not>(?<![^\W_])(?:not|never)|n't)\s)?(?<![^\W_])(?P<word>yes|no)(?![^\W_])"
    r"(?=\s*(?:[^\w\s]|\n|\Z))",
    re.IGNORECASE,
)


def yes_or_no(text: str) -> Match | None:
    """Return "yes" or "no", as the answer says it in any case, or None for "no answer".

    The word counts at the start of the answer, or directly after "answer" or "answer is". Repeating or
    explaining it changes nothing ("No, no dog is visible"). Saying the other word in the same breath
    ("yes and no", "yes/no"), at the end of a clause ("yes, but no") or where it counts too is no answer. So is
    "there is no dog" alone, and a word that is negated, denied or questioned ("not no", "yes is wrong", "yes?").

    Args:
        text: The answer, already taken out of its tags.
    """
    plain = read_text(text)
    said = list(_SAID.finditer(plain.text))
    if len({match["word"].lower() for match in said}) != 1:
        return None
    if any(after.match(plain.text, m.end("word")) for m in said for after in _TAKES_BACK):
        return None
    word = said[0]["word"].lower()
    if any((m["word"].lower() == word) is bool(m["not"]) for m in _VERDICT.finditer(plain.text)):
        return None
    return Match(word, plain.span(*said[0].span("word")))


class YesNo:
    """Yes-or-no questions by `yes_or_no`; no answer counts as wrong."""

    scorer = "yes-no"
    version = "2"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "yes_no"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        reference = yes_or_no(sample.answer)
        if reference is None:
            reason = f"the right answer {sample.answer!r} is neither yes nor no"
            return undecided(self, sample, "bad_reference", reason)
        match = yes_or_no(prediction.answer or "")
        correct = match is not None and match.value == reference.value
        return decided(self, sample, match, correct=correct)
