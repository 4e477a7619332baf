"""Which option an answer names: the extraction of the scorer `strict`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2r_bench.judges.letters import Reading, label_of, reading
from p2r_bench.judges.match import Match
from p2r_bench.judges.tokens import Token, plain, tokenise

NEGATIONS = frozenset(
    {"not", "no", "never", "neither", "nor", "none", "cannot", "except", "wrong", "incorrect"}
    | {"instead", "rather", "unlike", "不", "没", "非"}
)
"""Words, besides those in "n't", that turn a mention round or take it back."""
_LONE_LETTER = re.compile(r"[\W_]*([A-Za-z])[\W_]*")


@dataclass(frozen=True)
class _Found:
    """An option text in the answer: tokens first to last (exclusive) and the options that have it."""

    first: int
    last: int
    options: frozenset[str]


def strict_letter(text: str, options: Mapping[str, str]) -> Match | None:
    """The one option that an answer names beyond doubt, or None for "no answer".

    1. An answer that is one option letter, in either case, with nothing around it but punctuation,
       brackets and mark-up, names that option.
    2. Otherwise every option text (whole tokens, any case; one inside a longer option text that is
       also there does not count) and every upper-case option letter outside those texts is a
       mention. Whether an upper-case letter is a mention, a doubt or a plain word such as the
       article "A" is decided by `letters.reading`.
    3. The option is the one that all mentions agree on. No mention, mentions of different options, a
       doubt about another option, or a negation outside the option texts is no answer.

    An option text that is itself an option letter counts only as the whole text after a label
    ("A. B"); elsewhere "B" is the letter.

    Args:
        text: The answer, already taken out of its tags.
        options: Option letter to option text. A key that is not one letter is matched by its text only.

    Returns:
        The key of the option, with the place of the letter or text that named it.
    """
    answer = plain(text)
    letters = {k.upper(): k for k in options if len(k) == 1 and k.isascii() and k.isalpha()}
    if (lone := _LONE_LETTER.fullmatch(answer)) and (key := letters.get(lone[1].upper())):
        return Match(key, lone.span(1))
    if (key := _same_symbols(answer, options)) is not None:
        return Match(key, _trimmed(answer))

    tokens = tokenise(answer)
    found = _option_texts(answer, tokens, options, letters)
    covered = {i for f in found for i in range(f.first, f.last)}
    outside = [(i, t) for i, t in enumerate(tokens) if i not in covered]
    if any(t.folded in NEGATIONS or t.folded.endswith("n't") for _, t in outside):
        return None

    mentions: list[tuple[frozenset[str], tuple[int, int]]] = []
    doubts: set[str] = set()
    for i, token in outside:
        if (letter := token.text.upper()) not in letters:
            continue
        match reading(answer, tokens, i, letters.keys()):
            case Reading.MENTION:
                mentions.append((frozenset({letters[letter]}), (token.start, token.end)))
            case Reading.DOUBT:
                doubts.add(letters[letter])
            case Reading.NONE:
                pass
    mentions += [(f.options, (tokens[f.first].start, tokens[f.last - 1].end)) for f in found]
    if not mentions:
        return None
    agreed = frozenset.intersection(*(named for named, _ in mentions))
    if len(agreed) != 1 or doubts - agreed:
        return None
    return Match(next(iter(agreed)), mentions[0][1])


def _option_texts(
    answer: str, tokens: Sequence[Token], options: Mapping[str, str], letters: Mapping[str, str]
) -> list[_Found]:
    """Option texts in the answer, without those inside a longer one."""
    owners: dict[tuple[str, ...], set[str]] = {}
    single: dict[tuple[str, ...], set[str]] = {}
    for key, option in options.items():
        if named := _words(key, option):
            words = tuple(t.folded for t in named)
            owners.setdefault(words, set()).add(key)
            if len(words) == 1 and len(named[0].text) == 1:
                single.setdefault(words, set()).add(named[0].text)

    def is_text(i: int, words: tuple[str, ...]) -> bool:
        """One letter in a longer answer has to have the text's case and not be an option letter."""
        text = tokens[i].text
        return (
            len(tokens) == 1
            or words not in single
            or (text in single[words] and text.upper() not in letters)
        )

    folded = [t.folded for t in tokens]
    found = [
        _Found(i, i + len(words), frozenset(keys))
        for words, keys in owners.items()
        for i in _starts(folded, words)
        if is_text(i, words)
    ]
    if label_of(answer, tokens) in letters and (keys := owners.get(tuple(folded[1:]))):
        found.append(_Found(1, len(tokens), frozenset(keys)))
    return _longest(found)


def _longest(found: list[_Found]) -> list[_Found]:
    """Those that are not inside a longer one, from first to last."""
    kept: list[_Found] = []
    reach = 0
    for one in sorted(found, key=lambda f: (f.first, -f.last)):
        same = bool(kept) and (kept[-1].first, kept[-1].last) == (one.first, one.last)
        if same or one.last > reach:
            kept.append(one)
            reach = one.last
    return kept


def _starts(tokens: Sequence[str], words: tuple[str, ...]) -> list[int]:
    last = len(tokens) - len(words) + 1
    return [i for i in range(last) if tuple(tokens[i : i + len(words)]) == words]


def _words(key: str, option: str) -> list[Token]:
    """Tokens of an option text without its own label, which some datasets repeat in the text."""
    own_label = rf"^\s*[(\[]?{re.escape(key)}[)\].:]+\s*(?=\S)"
    return tokenise(re.sub(own_label, "", plain(option)))


def _same_symbols(answer: str, options: Mapping[str, str]) -> str | None:
    """The option whose text, made of symbols only, is the whole answer."""
    if tokenise(answer) or not (symbols := "".join(answer.split())):
        return None
    same = [k for k, option in options.items() if "".join(plain(option).split()) == symbols]
    return same[0] if len(same) == 1 else None


def _trimmed(text: str) -> tuple[int, int]:
    return len(text) - len(text.lstrip()), len(text.rstrip())
