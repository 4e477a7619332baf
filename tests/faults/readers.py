"""Everything that reads a model's reply, and texts that are hard to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from p2r_bench.adapter import builtin_profiles, crop_rect, extract_answer, load_profile, read_boxes
from p2r_bench.adapter.profile import Profile
from p2r_bench.judges.verifier import parse_verdict
from p2r_bench.plugins import registry
from p2r_bench.terminal import printable
from p2r_bench.testing.samples import tiny_samples
from p2r_bench.types import Judge, Prediction, Sample

SIZE = (1003, 797)
"""Width and height of the image whose boxes are read."""

Reader = Callable[[str], object]


def readers() -> Mapping[str, Reader]:
    """Name to each function of the product that reads a reply: boxes, answers, verdicts, terminal."""
    return dict(_readers())


def _readers() -> Iterator[tuple[str, Reader]]:
    by_rule: dict[Any, Profile] = {}
    for name in builtin_profiles():
        profile = load_profile(name)
        by_rule.setdefault((profile.boxes, profile.thoughts, profile.answers), profile)
    for profile in by_rule.values():
        yield f"boxes, {profile.name}", _box_reader(profile)
        for role in ("reason", "answer"):
            yield f"{role}, {profile.name}", _answer_reader(profile, role)
    for family in registry().names("family"):
        yield f"boxes, {family}", _box_reader(load_profile("p2r").with_family(family))
    for scorer in registry().names("judge"):
        if scorer == "verifier":  # asks a server; what is read is the reply
            continue
        judge = registry().get("judge", scorer)()
        for sample in filter(judge.applies, tiny_samples()):
            yield f"{scorer}, {sample.answer_form}", _scorer(judge, sample)
    yield "verifier's reply", parse_verdict
    yield "terminal", printable


def _box_reader(profile: Profile) -> Reader:
    def read(text: str) -> None:
        for box in read_boxes(text, profile, SIZE).boxes:
            rect = crop_rect(box, SIZE, profile)
            if rect is not None:
                left, top, right, bottom = rect
                assert 0 <= left < right <= SIZE[0] and 0 <= top < bottom <= SIZE[1], box

    return read


def _answer_reader(profile: Profile, role: str) -> Reader:
    def read(text: str) -> None:
        answer = extract_answer(text, role, profile)
        assert answer is None or (answer and answer == answer.strip())

    return read


def _scorer(judge: Judge, sample: Sample) -> Reader:
    def read(text: str) -> None:
        try:
            # Without an event loop, which would take most of the time: these judges wait for nothing.
            judge.judge(sample, Prediction(sample.id, answer=text)).send(None)
            raise AssertionError(f"{judge.scorer} waits")
        except StopIteration as ended:
            verdict = ended.value
        assert verdict.status == "ok" and verdict.correct in (True, False), verdict

    return read


def _repeated(unit: str) -> Callable[[int], str]:
    return lambda size: unit * (size // len(unit))


def _numbered(start: str, end: str) -> Callable[[int], str]:
    def text(size: int) -> str:
        count = size // (len(start) + len(end) + 6)
        return "".join(f"{start}{number:06}{end}" for number in range(count))

    return text


FRAGMENTS: Sequence[str] = (
    *"[]{}()<>\"'`\\a7.,:;!?-_*#$%^| \n\t",
    *("é", "的", "\u0301", "\u200b", "½", "Ⓑ", "𝔅", "한"),
    *("[[", "[{", '{"', '{"a":', '{"bbox_2d":[', '[{"bbox_2d": [1,2,3,4]},', "{}", "[]"),
    *("<think>", "</think>", "<answer>", "</answer>", "<answer>B</answer>", "[THINK]"),
    *("<box>", "</box>", "<box>[[1,2,3,4]]</box>", "<ref>a</ref>", "<|begin_of_box|>"),
    *("<a>", "</", "<|", "|>", "```", "```json\n", "\\boxed{", "\\frac{", "\\(", "${"),
    *("A ", "B.", "(B) ", "A, ", "B or ", "not B ", "if B, ", "is B? ", "**B** ", "B\n"),
    *("1,000,", "1.", "-1 ", "1/", "1e9", "one hundred ", "twenty-", "3 x 10^", "½½"),
    *("the answer is B. ", "Answer: ", "answer: B\n", "yes ", "no, ", "not ", "never "),
    *("verdict: ", "CORRECT ", "INCORRECT\n", "a'", "isn't ", "wrong ", "option B is "),
    *("wwww ", "a b c d e f g h ", "red green blue black ", "x\u0301", "\ud800"),
)
"""Pieces of replies that mean something to one of the readers, or are hard to read."""

SHAPES: Mapping[str, Callable[[int], str]] = {
    **{f"{fragment!r} repeated": _repeated(fragment) for fragment in FRAGMENTS},
    "distinct closing tags": _numbered("</t", ">"),
    "distinct tags": _numbered("<t", ">"),
    "distinct keys": _numbered('{"k', '": ['),
    "distinct words": _numbered("w", " "),
    "deep lists": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "deep objects": lambda size: '{"a":' * (size // 6) + "}" * (size // 6),
    "one long number in a box": lambda size: '[{"bbox_2d": [1, 2, 3, ' + "9" * size + "]}]",
    "one long label": lambda size: '[{"bbox_2d": [1, 2, 3, 4], "label": "' + "x" * size + '"}]',
    "one long answer": lambda size: "<answer>" + "x" * size + "</answer>",
    "white space in an answer": lambda size: "<answer>" + " " * size + "</answer>",
    "one long thought": lambda size: "<think>" + "A " * (size // 2) + "</think>B",
}
"""Name to a function of a number of characters."""
