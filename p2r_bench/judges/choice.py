"""Extraction of the scorer `strict`: the option that a reply names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from p2r_bench.judges import declarations as table
from p2r_bench.judges.explanations import Wording, explained, marks
from p2r_bench.judges.match import Match
from p2r_bench.judges.plain import blank_thoughts, plain_characters, undressed
from p2r_bench.judges.refusals import CONDITION, CONSEQUENCE, NEGATED, REFUSED
from p2r_bench.judges.tokens import LETTER_OR_DIGIT as _L
from p2r_bench.judges.tokens import tokenise, words_of
from p2r_bench.judges.yes_no import yes_or_no

LONGEST_REPLY = 20_000
"""Characters read of a longer reply: half from its start, half from its end."""
_LATEST_DECLARATIONS = 50
_LETTER = re.compile(rf"(?<!{_L})(?<!{_L}[-'/&.])[A-Za-z](?!{_L}|')")
_GAP = re.compile(r"[\s).\]:,(=|–—-]{0,12}")
_MARK = re.compile(r"[^\S\n]{0,4}([.):-]?)")
_LINE_START = re.compile(r"(?:\A|\n)[^\w\n]{0,20}\Z")
_LINE_END = re.compile(r"[^\w\n]{0,20}(?:\n|\Z)")
_WORD = re.compile(r"[^\W\d_]+")
_IF = re.compile(rf",?\s(?:only\s)?(?={CONDITION.pattern})", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?。！？\n]+\s*")
_SENTENCE = re.compile(r"\s*[^.!?。\n]{0,200}")


@dataclass(frozen=True)
class _Named:
    """An option named in the reply.

    Attributes:
        key: Key of the option; None when several options are named, or a letter that is no option or has another's text.
        span: Place of the letter, or of the text where there is no letter.
        end: Where the letter and its text end.
        by_letter: Named by its letter, which stands before any text.
        whole_text: An option's full text follows the letter.
    """

    key: str | None
    span: tuple[int, int]
    end: int
    by_letter: bool = False
    whole_text: bool = False


def strict_letter(text: str, options: Mapping[str, str]) -> Match | None:
    r"""Return the one option that a reply names, or None for "no answer".

    The first of these rules that applies decides (`docs/scoring.md` has them as a table):

    1. The whole reply is a letter, an option's text, or both.
    2. The last declaration ("the answer is", `\boxed{`, "B is correct", …) names one option.
    3. The reply begins with a letter before its option's text, or before punctuation and no more than an
       explanation (`explanations.explained`), and lists no other.
    4. The reply begins with "It is" and an option.
    5. The last of several lines is a letter, alone or before its option's text, and no other line begins with one.
    6. The options are yes and no, and the reply begins with one of them, as `yes_or_no` reads it.

    Args:
        text: The answer, already taken out of its tags.
        options: Option letter to option text. A key that is not one letter is matched by its text only.

    Returns:
        The key of the option, with the place of the letter or text that named it.
    """
    half, skipped = LONGEST_REPLY // 2, max(0, len(text) - LONGEST_REPLY - 1)
    text = blank_thoughts(text)
    if skipped:
        text = f"{text[:half]}\n{text[-half:]}"
    plain = plain_characters(text)
    reply = _Reply(undressed(plain.text), options)
    named = (
        reply.exact()
        or reply.whole()
        or reply.declared()
        or reply.opening()
        or reply.it_is()
        or reply.last_line()
        or reply.yes_or_no()
    )
    if named is None or named.key is None:
        return None
    start, end = plain.span(*named.span)
    return Match(named.key, (start + skipped * (start > half), end + skipped * (end > half)))


class _Reply:
    """A reply without mark-up, read for options."""

    def __init__(self, text: str, options: Mapping[str, str]) -> None:
        self.text = text
        self.letters = {
            k.upper(): k for k in options if len(k) == 1 and k.isascii() and k.isalpha()
        }
        self.options = {key: _option_text(key, option) for key, option in options.items()}
        self.patterns = {key: _pattern(text) for key, text in self.options.items() if text}

    def exact(self) -> _Named | None:
        """Match a whole reply that is one option's text: to the character, without case, or by its words."""
        reply = " ".join(self.text.split())
        if not reply or len(reply) > 2 * max(map(len, self.options.values()), default=0) + 10:
            return None
        words = words_of(reply)
        if reply.endswith("?") and reply not in self.options.values():
            return None
        if len(words) == 1 and words[0].upper() in self.letters:
            return None
        folds: tuple[Callable[[str], object], ...] = (str, str.casefold, words_of)
        for fold in folds[: 3 if words else 2]:
            same = [k for k, option in self.options.items() if fold(option) == fold(reply)]
            if len(same) == 1:
                end = len(self.text.rstrip())
                start = len(self.text) - len(self.text.lstrip())
                if (
                    fold is words_of and words
                ):  # blanked thoughts may stand between punctuation and words
                    tokens = tokenise(self.text)
                    start, end = tokens[0].start, tokens[-1].end
                return _Named(same[0], (start, end), end)
        return None

    def whole(self) -> _Named | None:
        """Match a whole reply that is a letter, a letter and its text, or a text after an article."""
        named = self._first()
        return named if named and table.NOTHING.match(self.text, named.end) else None

    def declared(self) -> _Named | None:
        """Match the last declaration that is about options, even if it does not name exactly one option."""
        found = [*table.ANNOUNCED.finditer(self.text), *table.CONFIRMED.finditer(self.text)]
        found.sort(key=re.Match.start, reverse=True)
        for match in found[:_LATEST_DECLARATIONS]:
            at = match.end()
            if match[0].endswith("{"):
                if NEGATED.search(self.text, max(0, match.start() - 40), match.start()):
                    continue
                if table.JOINED.search(self.text, max(0, match.start() - 16), match.start()):
                    return _Named(None, (at, at), at)
            elif not self._begins_clause(match.start()) or self._conditional(match):
                continue
            if match.re is table.CONFIRMED:
                if table.LETTER_ENDS.match(self.text, at):
                    return _Named(self.letters.get(match[1]), match.span(1), at)
            elif named := self._after(at):
                return replace(named, key=None) if self._corrected(named) else named
            elif table.LOOKS_NAMED.search(self.text, at, _skip(_SENTENCE, self.text, at)):
                return _Named(None, (at, at), at)
        return None

    def opening(self) -> _Named | None:
        """Match a label that begins the reply, if no other option is listed after it in the same way."""
        named = self._first()
        if named is None or self._lists_others(named) or self._corrected(named):
            return None
        if not named.by_letter:
            return named if self._contrasted(named.key, named.end) else None
        letter, after = self.text[slice(*named.span)], named.span[1]
        if named.end == after:
            follows = self.text[after : after + 1]
            doubtful = (letter.islower() and follows not in (*".):",)) or letter + follows == "I,"
            if doubtful or not table.LABEL_ENDS.match(self.text, after):
                return None
        return named if named.whole_text or self._explained(named.key, after) else None

    def it_is(self) -> _Named | None:
        """Match "It is" and an option at the start of the reply."""
        opened = table.IT_IS.match(self.text, _skip(table.OPENING, self.text, 0))
        named = self._after(opened.end(), lower=False) if opened else None
        if named is None or table.CLEFT.match(self.text, named.end):
            return None
        return named if self._explained(named.key, named.end) else None

    def last_line(self) -> _Named | None:
        """Match a letter, alone or before its text, on a line of its own at the end of a reply of sentences."""
        *before, last = self.text.rstrip().split("\n")
        stated = [line.rstrip() for line in before if line.strip()]
        if not stated or not (before[-1].strip() == "" or stated[-1][-1] in ".!?:;。！？"):
            return None
        if any(self._labelled(line) for line in stated):
            return None
        named = self._first(len(self.text.rstrip()) - len(last))
        if named is None or not named.by_letter or self.text[named.span[0]].islower():
            return None
        return named if table.NOTHING.match(self.text, named.end) else None

    def yes_or_no(self) -> _Named | None:
        """Match yes or no at the start of a reply, if the options are yes and no."""
        keys = {text.casefold(): key for key, text in self.options.items()}
        said = yes_or_no(self.text) if keys.keys() == {"yes", "no"} else None
        return _Named(keys[said.value], said.span, said.span[1]) if said else None

    def _labelled(self, line: str) -> bool:
        """Return whether a line is an option's letter, or begins with one and punctuation."""
        letter = _LETTER.match(line, _skip(table.OPENING, line, 0))
        if letter is None or letter[0] not in self.letters:
            return False
        return bool(_mark(line, letter.end()) or _LINE_END.match(line, letter.end()))

    def _corrected(self, named: _Named) -> bool:
        """Return whether the reply retracts the option later and names another: "A. No wait, it's B"."""
        back = table.CORRECTION.search(self.text, named.end)
        if back is None:
            return False
        letters = (self.letters.get(m[0]) for m in _LETTER.finditer(self.text, back.end()))
        texts = (k for k, p in self.patterns.items() if p.search(self.text, back.end()))
        return any(key not in (None, named.key) for key in (*letters, *texts))

    def _begins_clause(self, at: int) -> bool:
        before = self.text[max(0, at - 120) : at]
        start = max((m.end() for m in table.CLAUSE.finditer(before)), default=0)
        return table.LEADS.fullmatch(before, start) is not None

    def _conditional(self, declaration: re.Match[str]) -> bool:
        """Return whether a declaration depends on a condition before it, in its sentence or in the one before that.

        "If it were blue, the answer is B" and "Suppose it were blue. Then the answer would be B".
        """
        before = self.text[max(0, declaration.start() - 300) : declaration.start()]
        *_, last, own = ["", *_SENTENCE_END.split(before)]
        consequence = CONSEQUENCE.search(f"{own}{declaration[0]}") is not None
        return any(CONDITION.search(text) for text in ((last, own) if consequence else (own,)))

    def _lists_others(self, named: _Named) -> bool:
        """Return True if another label with the same mark begins a later line or stands before its own text."""
        mark = _mark(self.text, named.span[1])
        reason_ends = _skip(table.EXPLAINS, self.text, named.end)
        for letter in _LETTER.finditer(self.text, named.end):
            key = self.letters.get(letter[0].upper())
            if key in (None, named.key) or _mark(self.text, letter.end()) != mark:
                continue
            line = _LINE_START.search(self.text, max(0, letter.start() - 21), letter.start())
            if not line and letter.end() <= reason_ends:
                continue
            own = self.patterns.get(key or "")
            listed = own and own.match(self.text, self._after_label(letter.end()))
            alone = _LINE_END.match(self.text, letter.end())
            if mark == ":" or (line and (mark or listed or alone)) or (mark and listed):
                return True
        return False

    def _explained(self, key: str | None, at: int) -> bool:
        """Return True if the rest of the sentence explains the label's option, or refuses another option."""
        if key is None or self._contrasted(key, at):
            return key is not None
        own = frozenset(words_of(self.options[key]))
        others = frozenset(w for k, o in self.options.items() if k != key for w in words_of(o))
        option = self.options[key]
        negative = any(NEGATED.search(option, 0, t.start) for t in tokenise(option))
        return explained(self.text, at, Wording(own - others, others - own, negative))

    def _contrasted(self, key: str | None, at: int) -> bool:
        """Return True if the text at this place refuses another option: "not A", "rather than the others"."""
        contrast = table.CONTRAST.match(self.text, at + len(marks(self.text, at)))
        if contrast is None or contrast[1]:
            return contrast is not None
        other = self._named(contrast.end(), lower=False)
        return other is not None and other.key != key

    def _first(self, start: int = 0) -> _Named | None:
        at = _skip(table.OPENING, self.text, start)
        return self._one(_skip(table.CHOSEN, self.text, at)) or self._one(at)

    def _after(self, at: int, *, lower: bool = True) -> _Named | None:
        """Return the option that follows a declaration, with a few filling words between."""
        for _ in range(8):
            at = _skip(table.OPENING, self.text, at)
            if named := self._one(at, lower=lower):
                return named
            if (filler := table.FILLERS.match(self.text, at)) is None:
                break
            at = filler.end()
        return None

    def _one(self, at: int, *, lower: bool = True) -> _Named | None:
        """Return the option named at this place; its key is None if the reply offers another beside it."""
        named = self._named(at, lower=lower)
        if named is None:
            return None
        other = self._named(_skip(table.LISTED, self.text, named.end), lower=False)
        taken_back = table.OFFERED.match(self.text, named.end) or REFUSED.match(
            self.text, named.end
        )
        conditional = _IF.match(self.text, named.end)
        if taken_back or conditional or (other and other.key != named.key):
            return replace(named, key=None)
        return named

    def _named(self, at: int, *, lower: bool) -> _Named | None:
        """Return the option whose text, or letter with or without its text, stands at this place."""
        by_text, letter = self._text(at), _LETTER.match(self.text, at)
        if letter is None or (by_text and by_text.end > letter.end()):
            return by_text
        key = self.letters.get(letter[0].upper())
        if letter[0].islower() and (key is None or not lower):
            return by_text
        gap = self._after_label(letter.end())
        if key is not None and (text := self._text(gap)):
            own = self.patterns[key].match(self.text, gap) if key in self.patterns else None
            agrees = own is not None and own.end() == text.end
            end = text.end
            return _Named(
                key if agrees else None, letter.span(), end, by_letter=True, whole_text=True
            )
        if key is None and by_text:
            return by_text
        if key is not None and _mark(self.text, letter.end()) and (own := self._own_word(key, gap)):
            return _Named(key, letter.span(), own.end(), by_letter=True)
        ends = table.LETTER_ENDS.match(self.text, letter.end())
        if ends and table.LABEL_BEFORE_TEXT.match(self.text, letter.end()):
            ends = ends if self._explained(key, letter.end()) else None
        return _Named(key, letter.span(), letter.end(), by_letter=True) if ends else None

    def _after_label(self, at: int) -> int:
        """Return where an option's text may begin after a label; the text may begin with punctuation, as "-5" does."""
        end = _skip(_GAP, self.text, at)
        patterns = self.patterns.values()
        return next(
            (i for i in range(at, end) if any(p.match(self.text, i) for p in patterns)), end
        )

    def _text(self, at: int) -> _Named | None:
        """Return the option with the longest text at this place; its key is None if several options have that text."""
        found = [(k, m) for k, p in self.patterns.items() if (m := p.match(self.text, at))]
        lettered = [(k, m) for k, m in found if self._own_letter(k, m.end())]
        found = lettered or [(k, m) for k, m in found if table.TEXT_ENDS.match(self.text, m.end())]
        found = [(k, m) for k, m in found if not self._bound(m)]
        if not found:
            return None
        end = max(m.end() for _, m in found)
        longest = [(k, m) for k, m in found if m.end() == end]
        if lettered:
            end = _skip(table.OWN_LETTER, self.text, end)
        return _Named(longest[0][0] if len(longest) == 1 else None, longest[0][1].span(1), end)

    def _own_word(self, key: str, at: int) -> re.Match[str] | None:
        """Return the word at this place, if only this option's text has it."""
        word = _WORD.match(self.text, at)
        if word is None:
            return None
        having = [k for k, option in self.options.items() if word[0].casefold() in words_of(option)]
        return word if having == [key] else None

    def _own_letter(self, key: str, at: int) -> bool:
        """Return whether the letter of this option follows its text: "blue (B)"."""
        letter = table.OWN_LETTER.match(self.text, at)
        return letter is not None and letter[1].upper() == key.upper()

    def _bound(self, text: re.Match[str]) -> bool:
        """Return whether the text is a number after a sign of comparison."""
        number = text[1].lstrip("-")[:1].isdecimal()
        before = self.text[max(0, text.start() - 3) : text.start()]
        return number and table.COMPARED.search(before) is not None


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _mark(text: str, at: int) -> str:
    match = _MARK.match(text, at)
    return match[1] if match else ""


@lru_cache(4096)
def _option_text(key: str, option: str) -> str:
    """The text in plain characters, without its own label, which some datasets repeat in it."""
    plain = " ".join(undressed(plain_characters(option).text).split())
    return re.sub(rf"^[(\[]?{re.escape(key)}[)\].:]+\s*(?=\S)", "", plain) if key else plain


@lru_cache(4096)
def _pattern(option: str) -> re.Pattern[str]:
    words = [re.escape(word) for word in option.rstrip(".!。").split()] or [re.escape(option)]
    text = r"\s{1,6}".join(words)
    return re.compile(rf"(?:(?:the|an?)\s{{1,6}})?({text})", re.IGNORECASE)
