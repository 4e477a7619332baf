"""Conversion of the published P2R repository's prompt constants (arXiv 2607.01191) to a prompt pack.

The wording stays in that repository: this module knows only names of files and constants.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Formatter
from typing import Literal, get_args

from p2r_bench.adapter.literals import Constant
from p2r_bench.adapter.prompts import parse_pack
from p2r_bench.errors import UserError
from p2r_bench.types import AnswerForm

PathName = Literal["evaluation", "training"]

FILES: dict[PathName, tuple[str, ...]] = {
    "evaluation": ("evaluation/prompt.py",),
    # the training path has no wording for bare answers
    "training": ("verl/verl/utils/dataset/p2r_dataset.py", "evaluation/prompt.py"),
}
"""Files of a checkout with the wording. If two define a name, the first one counts."""

PROFILES: dict[PathName, tuple[str, ...]] = {
    "evaluation": ("original-eval",),
    "training": ("original-train-rollout", "original-train-service"),
}
"""Built-in profiles that need the pack of each path."""

_FORMS: dict[AnswerForm, str] = {
    "choice": "mca",
    "number": "na",
    "free": "free_form",
    "word": "one_word",
    "caption": "caption",
    "yes_no": "yes_no",
}
_TABLE = "PROMPT_TEMPLATES"
_BARE = {
    f"bare_endings.{form}": (f"{_TABLE}.default.{key}_post_prompt",) for form, key in _FORMS.items()
}
_ENDINGS = "ANSWER_FORM_POST_PROMPTS"

CONSTANTS: dict[PathName, dict[str, tuple[str, ...]]] = {
    "evaluation": {
        "system": ("build_system_prompt()",),
        "perceive": (
            f"{_TABLE}.p2r.perceive_pre_prompt",
            f"{_TABLE}.p2r.perceive_image_post_prompt",
        ),
        "reason": (f"{_TABLE}.p2r.image_pre_prompt",),
        "reason_whole": (f"{_TABLE}.p2r.pre_prompt",),
        "think": (f"{_TABLE}.thinking.pre_prompt",),
        "answer": (f"{_TABLE}.default.pre_prompt",),
        **{f"endings.{form}": (f"{_TABLE}.p2r.{key}_post_prompt",) for form, key in _FORMS.items()},
        **_BARE,
    },
    "training": {
        "system": ("SYSTEM_PROMPT",),
        "perceive": ("PERCEIVE_PRE_PROMPT", "PERCEIVE_IMAGE_POST_PROMPT"),
        "reason": ("REASON_PRE_PROMPT",),
        "reason_whole": ("REASON_FALLBACK_PRE_PROMPT",),
        "think": ("REASON_FALLBACK_PRE_PROMPT",),
        "answer": (f"{_TABLE}.default.pre_prompt",),
        # as the published code does for every form it does not list
        **{
            f"endings.{form}": (f"{_ENDINGS}.{key if key in ('mca', 'na') else 'free_form'}",)
            for form, key in _FORMS.items()
        },
        **_BARE,
    },
}
"""Constants of each part of a pack; their texts are joined."""

_SAME = {
    f"{_TABLE}.p2r.{key}_post_prompt": f"{_TABLE}.thinking.{key}_post_prompt"
    for key in _FORMS.values()
}
"""Endings shared by the modes p2r and thinking."""


def import_pack(
    constants: Mapping[str, Constant], path: PathName, chosen: Mapping[str, str]
) -> str:
    """Return the TOML text of a prompt pack.

    Args:
        constants: The files' constants by name; see `text_constants`.
        path: Published path, evaluation or training, whose names are used.
        chosen: Constants to use instead, by part of the pack, such as "perceive" or "endings.choice"; "+" joins
            several.

    Raises:
        UserError: A constant is missing or only known by running code, or the two modes that share their endings have
            different ones. The message lists candidates.
    """
    parts = dict(CONSTANTS[path])
    for part, choice in chosen.items():
        if part not in parts:
            raise UserError(f"--map {part}={choice}: no such part; there are {', '.join(parts)}")
        parts[part] = tuple(name.strip() for name in choice.split("+"))
    texts = {
        part: [_text(constants, name, part) for name in names] for part, names in parts.items()
    }
    for part, names in parts.items():
        if part not in chosen and path == "evaluation" and names[0] in _SAME:
            _check_same(constants, names[0], part)
    return _toml(texts)


def missing(constants: Mapping[str, Constant], path: PathName) -> tuple[str, ...]:
    """Return the constants of a published path that are missing."""
    names = (name for names in CONSTANTS[path].values() for name in names)
    return tuple(dict.fromkeys(name for name in names if name not in constants))


def _text(constants: Mapping[str, Constant], name: str, part: str) -> str:
    constant = constants.get(name) or next(
        (
            parent
            for parent in constants.values()
            if parent.refusal and name.startswith(f"{parent.name}.")
        ),
        None,
    )
    if constant is None:
        raise UserError(
            f"{part}: there is no text constant {name}. Choose with --map {part}=CONSTANT "
            f"(CONSTANT+CONSTANT joins two) from:\n{_candidates(constants)}"
        )
    if constant.text is None:
        raise UserError(
            f"{constant.where}: {part}: {constant.name} cannot be read: {constant.refusal}. "
            f"Choose another with --map {part}=CONSTANT from:\n{_candidates(constants)}"
        )
    return constant.text


def _candidates(constants: Mapping[str, Constant]) -> str:
    marks = ("{question}", "bbox_2d", "<think>", "<answer>")
    lines = []
    for constant in constants.values():
        if constant.text is not None:
            held = [mark for mark in marks if mark in constant.text]
            lines.append(
                f"  {constant.name}  ({constant.where}{', holds ' + ', '.join(held) if held else ''})"
            )
    return "\n".join(lines) or "  (no text constant was found)"


def _check_same(constants: Mapping[str, Constant], name: str, part: str) -> None:
    other = constants.get(_SAME[name])
    if other is not None and other.text != constants[name].text:
        raise UserError(
            f"{other.where}: {part}: {other.name} and {name} differ, and a prompt pack has one ending for both "
            f"modes. Choose with --map {part}=CONSTANT"
        )


def _toml(texts: Mapping[str, list[str]]) -> str:
    templates = {
        part: "".join(_template(t) for t in texts[part]) for part in texts if "." not in part
    }
    lines = [
        f"system = {_quoted(''.join(texts['system']))}",
        # HR-Bench's options in the published evaluation
        'option_header = "Options:"',
        'option_line = "{letter}. {text}"',
        f"perceive = {_quoted(templates['perceive'])}",
        f"reason = {_quoted(templates['reason'] + '{ending}')}",
        f"reason_whole = {_quoted(templates['reason_whole'] + '{ending}')}",
        f"think = {_quoted(templates['think'] + '{ending}')}",
        f"answer = {_quoted(templates['answer'] + '{bare_ending}')}",
    ]
    for table in ("endings", "bare_endings"):
        lines += ["", f"[{table}]"]
        lines += [
            f"{form} = {_quoted(''.join(texts[f'{table}.{form}']))}"
            for form in get_args(AnswerForm)
        ]
    text = "\n".join(lines) + "\n"
    parse_pack(text, "imported prompt pack", "imported")
    return text


def _template(text: str) -> str:
    """Return a published text as a template of a pack.

    A format string for the question is returned unchanged. In any other text braces are escaped.
    """
    if _is_format_string(text):
        return text
    return text.replace("{", "{{").replace("}", "}}").replace("{{question}}", "{question}")


def _is_format_string(text: str) -> bool:
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None} == {
            "question"
        }
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Return a TOML basic string. JSON's escapes are valid in TOML, which also escapes DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
