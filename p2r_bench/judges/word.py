"""The scorer `word`: a single word equal to the right one."""

from __future__ import annotations

import re

from p2r_bench.judges.match import Match
from p2r_bench.judges.plain import read_text
from p2r_bench.judges.tokens import tokenise
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of

_LEAD = re.compile(
    r"[\W_]*(?:(?:the|my)\s+)?(?:(?:final|correct|best)\s+)?(?:answer|答案|正解|答え|정답)"
    r"\W*?(?:\sis(?![^\W_])|[:=是为為は은])(?=[\W_]*\w)",
    re.IGNORECASE,
)
ARTICLES = frozenset({"a", "an", "the"})


def normal_word(text: str) -> Match | None:
    """Return the answer without case, punctuation, mark-up and a leading article: "The Dog." is "dog".

    A leading "Answer:" or "The answer is" is dropped. "C++" and "C#" are not "C". Full-width characters count as plain
    ones, and decomposed as composed. Several words stay several, joined by single spaces, so a sentence around the
    right word does not match it. A text without a letter or digit is no answer.

    Args:
        text: The answer, already taken out of its tags.
    """
    plain = read_text(text)
    lead = _LEAD.match(plain.text)
    start = lead.end() if lead else 0
    tokens = [token for token in tokenise(plain.text) if token.start >= start]
    if len(tokens) > 1 and tokens[0].folded in ARTICLES:
        tokens = tokens[1:]
    if not tokens:
        return None
    return Match(" ".join(t.folded for t in tokens), plain.span(tokens[0].start, tokens[-1].end))


class Word:
    """Single-word answers: right when equal to the reference after `normal_word`."""

    scorer = "word"
    version = "2"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "word"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        reference = normal_word(sample.answer)
        if reference is None:
            reason = f"the right answer {sample.answer!r} holds no word"
            return undecided(self, sample, "bad_reference", reason)
        match = normal_word(prediction.answer or "")
        correct = match is not None and match.value == reference.value
        return decided(self, sample, match, correct=correct)
