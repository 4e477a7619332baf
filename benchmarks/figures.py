"""Measure every figure of benchmarks/README.md again and update the file.

    python -m benchmarks.figures [--only images,pipeline]

Each benchmark runs in a process of its own with its defaults, which takes about half an hour on two cores. The lines between
the two marks in the file are replaced; those of benchmarks left out by --only stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

Figures = Mapping[str, Any]
Say = Callable[[Figures], str]


def _range(shares: Sequence[float]) -> str:
    low, high = shares
    return f"{100 * low:.1f}–{100 * high:.1f} %"


COMMANDS: dict[str, tuple[str, Say]] = {
    "schedules": (
        "schedules",
        lambda f: (
            f"{f['ratio']:.1f} × the published way: {f['rows_per_s']:.2f} against {f['rows_per_s_barrier']:.2f} rows/s, "
            f"{100 * f['equal_texts']:.1f} % equal texts"
        ),
    ),
    "floor": (
        "floor",
        lambda f: (
            f"{f['floor_ratio']:.3f} × the floor: {f['run_s']:.1f} s; engine alone {f['engine_s']:.1f} s, "
            f"images alone {f['images_s']:.1f} s"
        ),
    ),
    "images": (
        "images",
        lambda f: (
            f"{1000 * f['straightforward_s']:.0f} ms a row the straightforward way, {1000 * f['exact_s']:.0f} ms exact "
            f"({f['ratio_exact']:.1f} ×, equal pixels), {1000 * f['fast_s']:.0f} ms fast ({f['ratio_fast']:.1f} ×; "
            f"{100 * f['fast_differing']:.1f} % of values differ, by {f['fast_most_levels']} levels at most)"
        ),
    ),
    "memory": (
        "memory",
        lambda f: (
            "; ".join(f"{peak} MB for {rows} rows" for rows, peak in f["peak_mb_by_rows"].items())
            + f": {f['ratio']:.2f} ×"
        ),
    ),
    "pipeline": (
        "pipeline",
        lambda f: (
            "; ".join(f"{r:.0f} rows/s in {n} rows" for n, r in f["rows_per_s_by_rows"].items())
            + f": {f['ratio']:.2f} ×"
        ),
    ),
    "aggregate": (
        "aggregate",
        lambda f: "; ".join(
            f"{n} rows: open {f['open_s'][n]:.2f} s, finish {f['finish_s'][n]:.2f} s, whole command {f['resume_s'][n]:.2f} s"
            for n in f["open_s"]
        ),
    ),
    "comparing": (
        "comparing",
        lambda f: (
            f"two runs of 23,609 rows: {f['compare_s']:.1f} s, {f['compare_cpu_s']:.1f} s of processor time, "
            f"{f['compare_mb']} MB"
        ),
    ),
    "coverage": (
        "coverage",
        lambda f: "; ".join(
            f"{shape}: intervals {_range(f['interval'][shape])}, of differences {_range(f['difference'][shape])}, "
            f"test {_range(f['false_positives'][shape])}"
            for shape in f["interval"]
        ),
    ),
    "start_up": (
        "start_up",
        lambda f: "; ".join(f"`{name}` {s:.2f} s" for name, s in f["seconds"].items()),
    ),
}
"""Arguments after `python -m benchmarks.` and the outcome's text, by name."""


def taken(arguments: str) -> Figures:
    """Return the JSON object in a benchmark's last line."""
    command = [sys.executable, "-m", *f"benchmarks.{arguments}".split(), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def row(name: str, figures: Figures) -> str:
    """Return the table's line of one benchmark."""
    arguments, say = COMMANDS[name]
    machine = figures.get("machine", {})
    where = f"{machine['cpu']}, {machine['cores']} cores" if isinstance(machine, dict) else ""
    load = f", load {machine['load']}" if isinstance(machine, dict) else ""
    return f"| `python -m benchmarks.{arguments}` | {say(figures)} | {where}{load} |"


def replaced(text: str, rows: Mapping[str, str]) -> str:
    """Return the page with these lines in its table; others are kept."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    old = {}
    for line in table.splitlines()[2:]:
        for name, (arguments, _) in COMMANDS.items():
            if line.startswith(f"| `python -m benchmarks.{arguments}`"):
                old[name] = line
    lines = ["| command | outcome | machine |", "|---|---|---|"]
    lines += [{**old, **rows}[name] for name in COMMANDS if name in {**old, **rows}]
    return before + BEGIN + "\n".join(lines) + "\n" + END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names, separated by commas")
    options = parser.parse_args()
    for name in options.only.split(",") if options.only else COMMANDS:
        line = row(name, taken(COMMANDS[name][0]))
        README.write_text(replaced(README.read_text("utf-8"), {name: line}), "utf-8")
        print(line, flush=True)


if __name__ == "__main__":
    main()
