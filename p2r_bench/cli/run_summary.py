"""Summary of a run in lines of text: figures and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2r_bench.cli.data_lines import data_lines
from p2r_bench.errors import counted

if TYPE_CHECKING:
    from p2r_bench.run.result import RunResult
    from p2r_bench.store.failures import Cause

Row = Mapping[str, Any]

_CAUSES = 5
_LONGEST = 160
_COUNTS = {
    "n_no_answer": "without an answer",
    "n_cut_off": "cut off at the token limit",
    "n_unparsed_boxes": "with unreadable boxes",
    "n_no_box": "without a box",
    "n_not_applicable": "not applicable to the mode",
    "n_missing": "not run yet",
}


def summary(result: RunResult, causes: Sequence[Cause]) -> Iterator[str]:
    """Return the lines about a run that has ended."""
    if not result.overall:
        yield f"{result.run_id}: nothing scored: no sample has an outcome yet"
    for row in result.overall:
        task = " ".join(filter(None, (row["task"], row["subset"])))
        yield f"{task} · {row['mode']} · {row['model']}: {figure(row)}"
        counts = [f"{row[name]} {text}" for name, text in _COUNTS.items() if row.get(name)]
        if counts and row["value"] is not None:
            yield f"  samples: {', '.join(counts)}"
    yield from (f"  {line}" for line in data_lines(result.metrics))
    if causes:
        yield from (f"  {line}" for line in cause_lines(causes[:_CAUSES]))
        more = f"{counted(len(causes) - _CAUSES, 'more cause')}; " if len(causes) > _CAUSES else ""
        yield f"  {more}all errors: p2r-bench show {result.run_id} --errors{_out(result.path)}"
    yield f"  {counted(result.added, 'sample')} run in this session; {result.path}"


def figure(row: Row) -> str:
    """Return the headline value with its interval, or the reason for its absence."""
    if row["value"] is None:
        return f"nothing scored: {_why(row)}"
    text = f"accuracy {100 * row['value']:.1f} %"
    if row["ci_low"] is not None:
        text += f" [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    text += f", n = {row['n']}"
    if row["n_errors"]:
        low, high = 100 * row["value_low"], 100 * row["value_high"]
        text += (
            f", {counted(row['n_errors'], 'error')}: between {low:.1f} and {high:.1f} % with them"
        )
    return text if row["complete"] else f"{text} (incomplete)"


def _why(row: Row) -> str:
    reasons = []
    if row["n_errors"]:
        reasons.append(f"{counted(row['n_errors'], 'sample')} ended in an error")
    if row["n_not_applicable"]:
        reasons.append(
            f"mode {row['mode']} does not apply to {counted(row['n_not_applicable'], 'sample')} "
            "(oracle needs ground-truth boxes)"
            if row["mode"] == "oracle"
            else f"mode {row['mode']} does not apply to {counted(row['n_not_applicable'], 'sample')}"
        )
    if row["n_missing"]:
        reasons.append(f"{counted(row['n_missing'], 'sample')} still to run")
    if row.get("reason"):
        reasons.append(row["reason"])
    return "; ".join(reasons) or f"scorer {row['scorer']} judged none of the samples"


def cause_lines(causes: Sequence[Cause]) -> Iterator[str]:
    """Return one line per cause: count, error, and the first example."""
    for cause in causes:
        message = " ".join(cause.message.split())
        short = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"
        yield f"{len(cause.samples)} × {cause.title}: {short} (sample {cause.samples[0][0]})"


def _out(run: Path) -> str:
    folder = run.parent.parent
    return "" if folder == Path("results") else f" --out {folder}"
