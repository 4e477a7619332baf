"""The scorer `vlmevalkit`: the rules by which VLMEvalKit reads a choice before it asks a model."""

from __future__ import annotations

import re
from collections.abc import Mapping

from p2r_bench.judges.match import Match
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of

_WORD = re.compile(r"[^\s.()\[\],:;!*#{}]+")
_NEAR_END = 4
_ARTICLE_WORDS = 3


class VLMEvalKit:
    """Multiple choice by `kit_option`. An answer for which VLMEvalKit would ask a model or draw a letter is wrong."""

    scorer = "vlmevalkit"
    version = "1"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "choice" and bool(sample.options)

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        if sample.answer not in sample.options:
            reason = f"the right answer {sample.answer!r} is no option; options: {', '.join(sample.options)}"
            return undecided(self, sample, "bad_reference", reason)
        match = kit_option(prediction.answer, sample.options) if prediction.answer else None
        option = None if match is None else _named(match.value, sample.options)
        return decided(self, sample, match, correct=option == sample.answer)


def kit_option(text: str, options: Mapping[str, str]) -> Match | None:
    """Return the option letter, or the option text, that the rules read in an answer, with its place.

    The rules of `can_infer` in recent versions of VLMEvalKit, with its rule about the article A always on:

    1. Words are separated by spaces and `.()[],:;!*#{}`. If exactly one option letter stands as a word, and stands among
       the last four words where it occurs first, it counts. In an answer of more than three words, A is taken for
       the article, and nothing counts by this rule.
    2. Otherwise, if exactly one option's text occurs in the answer, in any case, it counts. In an answer longer than
    twice all option texts together nothing counts.
    """
    words = list(_WORD.finditer(text))
    spoken = [word.group() for word in words]
    letters = [letter for letter in options if letter in spoken]
    if len(letters) == 1:
        (letter,) = letters
        place = spoken.index(letter)
        article = letter == "A" and len(words) > _ARTICLE_WORDS
        if not article and place >= len(words) - _NEAR_END:
            return Match(letter, words[place].span())
    if len(text) > 2 * sum(len(option) for option in options.values()):
        return None
    found = [re.search(re.escape(o), text, re.IGNORECASE) for o in options.values() if o]
    named = [match for match in found if match is not None]
    return Match(named[0].group(), named[0].span()) if len(named) == 1 else None


def _named(found: str, options: Mapping[str, str]) -> str | None:
    """Return the letter for a letter or an option text."""
    if found in options:
        return found
    return next((k for k, option in options.items() if option.lower() == found.lower()), None)
