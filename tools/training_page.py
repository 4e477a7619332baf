"""Write the tables of keys into docs/training.md, between their marks: python -m tools.training_page

Needs p2r-bench-pra-grpo installed, or trainers/pra_grpo on PYTHONPATH.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

from p2r_bench_pra_grpo.backends.verl.settings import VerlSettings
from p2r_bench_pra_grpo.config import (
    GRPO,
    Config,
    DataConfig,
    Evaluation,
    LabelTerm,
    OverlapTerm,
    RewardTerms,
    ServiceConfig,
    Services,
)

PAGE = Path(__file__).parent.parent / "docs" / "training.md"
TABLES = {
    "": Config,
    "data": DataConfig,
    "grpo": GRPO,
    "reward": RewardTerms,
    "reward.overlap": OverlapTerm,
    "reward.label": LabelTerm,
    "services": Services,
    "services.reasoner]`, `[services.perceiver]`, `[services.verifier": ServiceConfig,
    "evaluation": Evaluation,
    "verl": VerlSettings,
}
"""Name of a table of the file to what it is read into."""

ELSEWHERE = (
    "roles",
    "about",
    "grpo",
    "reward",
    "services",
    "evaluation",
    "overlap",
    "label",
    "reasoner",
    "perceiver",
    "verifier",
)
"""Fields that are tables of their own, or no keys."""


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")


def filled(page: str) -> str:
    """Return the page with the tables as the code has them."""
    begin, end = "<!-- keys -->\n", "<!-- /keys -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{PAGE}: the marks of the keys are missing")
    return f"{before}{begin}{keys()}\n{end}{after}"


def keys() -> str:
    """A table per table of the file."""
    return "\n\n".join(_keys(name, kind) for name, kind in TABLES.items())


def _keys(name: str, kind: type) -> str:
    said = dict(_attributes(kind))
    lines = [f"**{f'`[{name}]`' if name else 'At the top'}**: {_summary(kind)}", ""]
    lines += ["| key | default | |", "|---|---|---|"]
    for field in fields(kind):
        if field.name not in ELSEWHERE:
            lines.append(_line([f"`{field.name}`", _default(field), said.get(field.name, "")]))
    return "\n".join(lines)


def _summary(kind: type) -> str:
    text = cleandoc(kind.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split())


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    """Names and texts of the section "Attributes" of a docstring, and of its base classes'."""
    for base in reversed(kind.__mro__):
        text = cleandoc(base.__doc__ or "") if is_dataclass(base) else ""
        _, _, section = text.partition("Attributes:\n")
        for names, meaning in re.findall(r"^    (\w[\w, ]*): ((?:.|\n(?!    \w))*)", section, re.M):
            for name in names.split(", "):
                yield name, " ".join(meaning.split())


def _default(field: Field[Any]) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING:
        return "needed"
    if value is None or value == () or value == {} or value == "":
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    main()
