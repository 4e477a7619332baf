"""Hold the scorers of choice questions against labelled replies, for the table in docs/scoring.md.

Usage: python -m tools.scorer_table [FILE.jsonl] [--revision REV]

With a git revision, the row is `strict` as it was there; the thoughts and tags are taken out by the present rules.

Each line of the file has `options`, `text` and `extracted`: the letter that a careful reader takes, null for none, or
a list where several readings are acceptable. Thoughts and answer tags are taken out first.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
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


OF_REVISION = """
import json, sys
from p2r_bench.judges.choice import strict_letter
json.dump([m and m.value for m in (strict_letter(*row) for row in json.load(sys.stdin))], sys.stdout)
"""


def of_revision(revision: str, rows: list[dict[str, Any]]) -> Extraction:
    """Return the extraction of `strict` at a git revision, for the answers of these rows.

    Raises:
        CalledProcessError: The repository has no such revision, or its scorer cannot be imported.
    """
    asked = [(answer_of(row), row["options"]) for row in rows]
    root = Path(__file__).parents[1]
    packed = subprocess.run(
        ["git", "archive", revision, "p2r_bench"], cwd=root, check=True, capture_output=True
    )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        read = subprocess.run(
            [sys.executable, "-c", OF_REVISION],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
        )
    values = json.loads(read.stdout)
    known = {(text, json.dumps(o)): v for (text, o), v in zip(asked, values, strict=True)}

    def extraction(text: str, options: Mapping[str, str]) -> Match | None:
        value = known[text, json.dumps(options)]
        return None if value is None else Match(value, (0, 0))

    return extraction


def answer_of(row: Mapping[str, Any]) -> str:
    """Return the text of a row without thoughts, out of its last pair of answer tags."""
    text = without_thoughts(row["text"])
    tagged = re.findall(r"<answer>(.*?)</answer>", text, re.IGNORECASE | re.DOTALL)
    return str(tagged[-1]) if tagged else text


def counts(rows: Iterable[Mapping[str, Any]], extraction: Extraction) -> tuple[int, int, int]:
    """Return the numbers of replies read as labelled, of false credits, and of false refusals.

    A false credit is an option where a careful reader takes another or none; a false refusal is no
    answer where the reader takes one.
    """
    right = credits = refusals = 0
    for row in rows:
        match = extraction(answer_of(row), row["options"])
        accepted = row["extracted"] if isinstance(row["extracted"], list) else [row["extracted"]]
        if (match and match.value) in accepted:
            right += 1
        elif match:
            credits += 1
        else:
            refusals += 1
    return right, credits, refusals


def table(rows: list[dict[str, Any]], scorers: Mapping[str, Extraction] = SCORERS) -> str:
    """Return a row of the table for each scorer."""
    figures = {name: counts(rows, extraction) for name, extraction in scorers.items()}
    return "\n".join(f"| `{name}` | {' | '.join(map(str, f))} |" for name, f in figures.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=LABELLED)
    parser.add_argument("--revision")
    options = parser.parse_args()
    rows = labelled(options.file)
    if options.revision:
        print(table(rows, {f"strict at {options.revision}": of_revision(options.revision, rows)}))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
