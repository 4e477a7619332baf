"""`p2r-bench plot`: accuracy of stored runs against visual tokens and cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from p2r_bench.cli.completion import runs as complete_runs
from p2r_bench.cli.shared_options import out_option
from p2r_bench.terminal import echo


@click.command("plot")
@click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)
@click.option(
    "--cost",
    "costs",
    type=click.Choice(["visual_tokens", "tokens", "seconds"]),
    multiple=True,
    help="Cost per sample on the horizontal axis. Repeatable. [default: visual_tokens and tokens]",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    default="plot.png",
    show_default=True,
    help="File to draw into; its ending names the format: png, svg or pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the points as JSON; draw nothing.")
@out_option
def command(
    runs: tuple[str, ...], costs: tuple[str, ...], picture: Path, as_json: bool, out: Path
) -> None:
    """Draw the accuracy of stored runs, with 95 % intervals, against their cost per sample.

    Runs of one model and mode, such as those that `run --set` makes, are joined by a line.

    \b
    p2r-bench plot results/runs/*hrbench* --picture costs.svg
    """
    from p2r_bench.store.costs import points_of
    from p2r_bench.store.reader import find_run

    points = points_of([find_run(run, out) for run in runs])
    if as_json:
        echo(json.dumps([asdict(point) for point in points], indent=1))
        return
    from p2r_bench.report.cost_plot import draw

    draw(points, costs or ("visual_tokens", "tokens"), picture)
    echo(f"{picture}: {len(points)} points of {len(runs)} runs")
