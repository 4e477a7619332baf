"""The project's documents, and the code blocks in them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "results/*.md",
        "benchmarks/*.md",
        "p2r_bench/bundled/**/*.md",
        "plugins/*/*.md",
        "trainers/*/*.md",
    )
    for path in ROOT.glob(pattern)
)

_FENCED = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced code block: its page, its language ("" for a shell's) and its text."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().splitlines()[0][:60]}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages."""
    found = _FENCED.findall(page.read_text("utf-8"))
    return [
        Block(page, language, textwrap.dedent(text))
        for _, language, text in found
        if language in languages and text.strip()
    ]


def all_blocks(*languages: str) -> list[Block]:
    """The fenced blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks(page, *languages)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", page.read_text("utf-8"))


def name(page: Path) -> str:
    """A page's path from the project's root, for test ids."""
    return str(page.relative_to(ROOT))
