"""`p2r-bench repeats`: mean and spread of runs that repeat every sample."""

from __future__ import annotations

import json
from pathlib import Path

import click

from p2r_bench.cli.completion import runs as complete_runs
from p2r_bench.cli.shared_options import json_option, out_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.terminal import echo


@click.command("repeats")
@click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--scorer", help="Use this scorer's verdicts. [default: the runs' headline scorer]")
@json_option
@out_option
def command(runs: tuple[str, ...], scorer: str | None, as_json: bool, out: Path) -> None:
    """Show avg@k and its spread, within and between samples, of stored runs made with --repeats.

    Samples that lack a score in one of the repeats are left out and counted.
    """
    from p2r_bench.stats.repeats import spread
    from p2r_bench.store.reader import find_run
    from p2r_bench.store.scored import read_scored

    records = []
    for run in runs:
        found = read_scored(find_run(run, out), scorer)
        repeats = int(found.identity["repeats"])
        if repeats < 2:
            raise UserError(
                f"{found.run_id}: every sample was run once; `p2r-bench run --repeats 3`, with a profile that samples, "
                "shows the spread"
            )
        scores: dict[str, list[float]] = {}
        for (sample, _), score in found.scores.items():
            scores.setdefault(sample, []).append(score)
        whole = {sample: values for sample, values in scores.items() if len(values) == repeats}
        if not whole:
            raise UserError(f"{found.run_id}: no sample has a score in all {repeats} repeats")
        clusters = {sample: found.places[sample, 0].cluster for sample in whole}
        left_out = len({sample for sample, _ in found.places}) - len(whole)
        one = spread(whole, clusters)
        records.append({"run_id": found.run_id, **vars(one), "left_out": left_out})
    if as_json:
        echo(json.dumps(records, indent=1))
        return
    rows = [
        (
            r["run_id"],
            f"{100 * r['mean']:.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]",
            r["repeats"],
            *(f"{100 * r[name]:.1f}" for name in ("within", "between")),
            *(r[name] for name in ("always", "never", "mixed", "left_out")),
        )
        for r in records
    ]
    header = (
        *("run", "avg@k [95 %]", "k", "within", "between"),
        *("always right", "never right", "mixed", "left out"),
    )
    echo(table(header, rows, right=tuple(range(1, 9))))
