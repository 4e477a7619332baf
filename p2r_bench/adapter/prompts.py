"""Prompt packs: all wording of the prompts, in TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args

from p2r_bench.errors import UserError
from p2r_bench.families import BoxNotation
from p2r_bench.families.notation import Form, Scale
from p2r_bench.types import AnswerForm, Sample, Size

OptionStyle = Literal["block", "published"]

_PLACEHOLDERS = {
    "perceive": {"question", "regions"},
    "reason": {"question", "ending"},
    "reason_whole": {"question", "ending"},
    "think": {"question", "ending"},
    "answer": {"question", "bare_ending"},
}

_TABLES: dict[str, tuple[str, ...]] = {
    "endings": get_args(AnswerForm),
    "bare_endings": get_args(AnswerForm),
    "regions": get_args(Form),
    "scales": get_args(Scale),
}
"""Keys of each table of a pack."""


@dataclass(frozen=True)
class PromptPack:
    """The wording of a profile.

    Attributes:
        system: System message of every request.
        perceive, reason, reason_whole, think, answer: Templates of the user's text. `{question}` is the
            question with its options; `{ending}` and `{bare_ending}` depend on the answer form. `reason_whole`
            is stage 2 without regions.
        endings, bare_endings: Sentence that asks for the answer, with and without tags, by answer form.
        regions: Sentences that ask for boxes, with `{example}` and `{scale}`, by the form of a family's boxes. They
            fill `{regions}` in `perceive`; a pack for one family may omit it.
        scales: Sentence that explains the scale of boxes, with `{width}` and `{height}` of the image in pixels, by
            scale.
        option_header, option_line: Lines with the options under the question; `{letter}` and `{text}`.
    """

    name: str
    system: str
    perceive: str
    reason: str
    reason_whole: str
    think: str
    answer: str
    endings: Mapping[str, str]
    bare_endings: Mapping[str, str]
    option_header: str
    option_line: str
    regions: Mapping[str, str]
    scales: Mapping[str, str]

    def question(self, sample: Sample, style: OptionStyle) -> str:
        """Return the question of a sample with its options, as the model sees it.

        Style "block" writes the options under `option_header`, one `option_line` each. Style "published" uses the
        published evaluation's text, if the task knows it.
        """
        if style == "published" and sample.published_question is not None:
            return sample.published_question
        if not sample.options:
            return sample.question
        lines = [
            self.option_line.format(letter=letter, text=text)
            for letter, text in sample.options.items()
        ]
        return "\n".join([sample.question, self.option_header, *lines])

    def regions_text(self, notation: BoxNotation, size: Size) -> str:
        """Return the sentences that ask for boxes in a notation, on an image of this width and height in pixels."""
        if not self.regions:
            return ""
        scale = self.scales[notation.scale].format(width=size[0], height=size[1])
        return self.regions[notation.form].format(example=notation.example, scale=scale)

    def text(self, template: str, sample: Sample, style: OptionStyle, regions: str = "") -> str:
        """Return the user's text of a request; `template` names a template field, such as "reason_whole"."""
        values = {
            "regions": regions,
            "question": self.question(sample, style),
            "ending": self.endings[sample.answer_form],
            "bare_ending": self.bare_endings[sample.answer_form],
        }
        wanted: str = getattr(self, template)
        return wanted.format(**values)


def builtin_packs() -> tuple[str, ...]:
    """Return the names of the built-in prompt packs."""
    folder = resources.files("p2r_bench.adapter") / "packs"
    return tuple(
        sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    )


def load_pack(name_or_path: str | Path) -> PromptPack:
    """Load a built-in prompt pack by name, or one from a TOML file, which is read on every call.

    Raises:
        UserError: An unknown pack, or a template that is missing, unknown or lacks its placeholders.
    """
    if str(name_or_path) in builtin_packs():
        return _builtin(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(
            f"there is no prompt pack {str(name_or_path)!r}: built in are {', '.join(builtin_packs())}; "
            "a file of your own is given by its path, ending in .toml"
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    return parse_pack(text, str(path), path.stem)


@cache
def _builtin(name: str) -> PromptPack:
    file = resources.files("p2r_bench.adapter") / "packs" / f"{name}.toml"
    return parse_pack(file.read_text("utf-8"), str(file), name)


def parse_pack(text: str, origin: str, name: str) -> PromptPack:
    """Parse a prompt pack in TOML; `origin` is named in errors."""
    try:
        values = {"name": name, **tomllib.loads(text)}
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from error
    known = [spec.name for spec in fields(PromptPack)]
    for key in values:
        if key not in known:
            raise UserError(f"{origin}: {key}: no such field; known are {', '.join(known)}")
    values = {"regions": {}, "scales": {}, **values}
    for key in known:
        tables = key in _TABLES
        if not isinstance(values.get(key), dict if tables else str):
            raise UserError(
                f"{origin}: {key}: missing, or not {'a table' if tables else 'a string'}"
            )
        if tables:
            _check_table(values, key, origin)
    for key, allowed in (*_PLACEHOLDERS.items(), ("option_line", {"letter", "text"})):
        _check_placeholders(values[key], allowed, f"{origin}: {key}")
    for key, allowed in (("regions", {"example", "scale"}), ("scales", {"width", "height"})):
        for name, text in values[key].items():
            _check_placeholders(text, allowed, f"{origin}: {key}.{name}", needed=False)
    return PromptPack(**values)


def _check_table(values: Mapping[str, Any], key: str, origin: str) -> None:
    """Check that a table has no unknown or missing keys. A pack without `{regions}` needs no sentences for boxes."""
    table, names = values[key], _TABLES[key]
    if key in ("regions", "scales") and not table and "{regions}" not in values["perceive"]:
        return
    for name in (*names, *table):
        if name not in names:
            raise UserError(f"{origin}: {key}.{name}: no such key; known are {', '.join(names)}")
        if not isinstance(table.get(name), str):
            raise UserError(f"{origin}: {key}.{name}: missing, or not a string")


def _check_placeholders(
    template: str, allowed: set[str], where: str, *, needed: bool = True
) -> None:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"{where}: {error}; write a literal brace as {{{{ or }}}}") from error
    found = {
        name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        for _, name, spec, conversion in parsed
        if name is not None
    }
    if found - allowed:
        raise UserError(
            f"{where}: {{{sorted(found - allowed)[0]}}} is not a placeholder here; allowed are "
            f"{', '.join(sorted(allowed))}; write a literal brace as {{{{ or }}}}"
        )
    missing = ({"question"} & allowed or allowed) - found if needed else set()
    if missing:
        raise UserError(f"{where}: the placeholder {{{sorted(missing)[0]}}} is missing")
