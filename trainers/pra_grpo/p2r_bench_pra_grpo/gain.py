"""Gains of a training: `python -m p2r_bench_pra_grpo.gain FOLDER` compares its evaluations row by row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from p2r_bench.errors import UserError
from p2r_bench.stats.paired import Difference, paired_difference
from p2r_bench.store.reader import find_run
from p2r_bench_pra_grpo.metrics import StepFile
from p2r_bench_pra_grpo.rounds.state import State


def gains(out: Path, results: Path | None = None) -> list[tuple[str, Difference]]:
    """Compare the evaluation after every round with the start model's, by mode, task and subset.

    Args:
        out: Folder of the training.
        results: Folder of its evaluations; None for `results` below it.

    Raises:
        UserError: Fewer than two evaluations are finished.
    """
    steps = State.read(out).steps
    evaluated = {
        n: steps[f"round-{n}/evaluate"] for n in range(len(steps)) if f"round-{n}/evaluate" in steps
    }
    if len(evaluated) < 2:
        raise UserError(
            f"{out}: a gain needs the evaluations of the start model and of at least one round"
        )
    first, found = evaluated[0], []
    for number in sorted(evaluated)[1:]:
        for before, after in zip(first["runs"], evaluated[number]["runs"], strict=True):
            name = " ".join(str(after[k]) for k in ("mode", "task", "subset") if after[k])
            pair = [_right(row, results or out / "results") for row in (before, after)]
            (was, cluster_of), (now, _) = pair
            found.append((f"round {number}, {name}", paired_difference(was, now, cluster_of)))
    return found


def seconds(out: Path) -> dict[str, tuple[int, float]]:
    """Return the steps and seconds of each stage."""
    told: dict[str, tuple[int, float]] = {}
    for path in sorted(out.glob("round-*/*/metrics.parquet")):
        rows = StepFile(path).rows
        told[str(path.parent.relative_to(out))] = (
            len(rows),
            sum(row["seconds"] or 0.0 for row in rows),
        )
    return told


def shown(difference: Difference) -> str:
    """Return a difference in words."""
    d = difference
    return (
        f"{100 * d.before:.1f} % → {100 * d.after:.1f} %: {100 * d.value:+.1f} points "
        f"[{100 * d.low:+.1f}, {100 * d.high:+.1f}], paired p = {d.p:.2g} "
        f"({d.rows} rows of {d.clusters} images; {d.gained} gained, {d.lost} lost)"
    )


def _right(run: Mapping[str, Any], results: Path) -> tuple[dict[str, bool], dict[str, str]]:
    """Return each row's headline verdict, and each row's image."""
    reader = find_run(run["run_id"], results)
    right: dict[str, bool] = {}
    cluster_of: dict[str, str] = {}
    for sample, verdicts in reader.outcomes():
        if run["subset"] not in (None, sample["subset"]):
            continue
        verdict = next((v for v in verdicts if v["scorer"] == run.get("scorer", "strict")), None)
        if verdict is None or verdict["correct"] is None:
            raise UserError(f"{reader.path}: sample {sample['sample_id']} has no verdict")
        right[sample["sample_id"]] = bool(verdict["correct"])
        cluster_of[sample["sample_id"]] = sample["group"] or sample["sample_id"]
    return right, cluster_of


@click.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(out: Path) -> None:
    """Print the gains of the training in OUT, and the time of its stages."""
    try:
        for name, difference in gains(out):
            click.echo(f"{name}: {shown(difference)}")
    except UserError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    for stage, (steps, took) in seconds(out).items():
        click.echo(f"{stage}: {steps} steps in {took / 60:.1f} minutes")


if __name__ == "__main__":
    main()
