"""Hold the scorers of choice questions against labelled replies, for the table in docs/scoring.md.

Usage: python -m tools.scorer_table [FILE.jsonl]

Each line of the file has `options`, `text` and `extracted`: the letter that a careful reader takes, null for none, or
a list where several readings are acceptable. Thoughts and answer tags are taken out first.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from p2r_bench.adapter.thoughts import without_thoughts
from p2r_bench.judges.choice import strict_letter
from p2r_bench.judges.match import Match
from p2r_bench.judges.published import original_letter, published_letters

LABELLED = Path(__file__).parents[1] / "tests" / "judges" / "labelled_replies.jsonl"
Extraction = Callable[[str, Mapping[str, str]], Match | None]


def original(text: str, options: Mapping[str, str]) -> Match | None:
    return original_letter(text, published_letters("", len(options)))


SCORERS: Mapping[str, Extraction] = {"strict": strict_letter, "original": original}


def labelled(path: Path = LABELLED) -> list[dict[str, Any]]:
    """Return the rows of a file that are choice questions."""
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [row for row in rows if "extracted" in row]


def counts(rows: Iterable[Mapping[str, Any]], extraction: Extraction) -> tuple[int, int, int]:
    """Return the numbers of replies read as labelled, of false credits, and of false refusals.

    A false credit is an option where a careful reader takes another or none; a false refusal is no
    answer where the reader takes one.
    """
    right = credits = refusals = 0
    for row in rows:
        text = without_thoughts(row["text"])
        tagged = re.findall(r"<answer>(.*?)</answer>", text, re.IGNORECASE | re.DOTALL)
        match = extraction(tagged[-1] if tagged else text, row["options"])
        accepted = row["extracted"] if isinstance(row["extracted"], list) else [row["extracted"]]
        if (match and match.value) in accepted:
            right += 1
        elif match:
            credits += 1
        else:
            refusals += 1
    return right, credits, refusals


def table(rows: list[dict[str, Any]]) -> str:
    """Return a row of the table for each scorer."""
    figures = {name: counts(rows, extraction) for name, extraction in SCORERS.items()}
    return "\n".join(f"| `{name}` | {' | '.join(map(str, f))} |" for name, f in figures.items())


if __name__ == "__main__":
    print(table(labelled(*map(Path, sys.argv[1:]))))
