"""`p2r-bench run`: models over benchmarks, from samples to the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.completion import profiles, registered
from p2r_bench.cli.run_options import options_of
from p2r_bench.run.settings import RunOptions
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.run.result import RunResult
    from p2r_bench.run.spec import RunSpec
    from p2r_bench.store.failures import Cause


@click.command("run")
@options_of(
    RunOptions,
    {
        "modes": registered("mode", several=True),
        "tasks": registered("task", several=True),
        "engine": registered("engine"),
        "profile": profiles,
        "scorer": registered("judge"),
    },
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="Sweep file (TOML): models × modes × tasks."
)
@click.option(
    "--dry-run", is_flag=True, help="Show the requests of the first samples; load no model."
)
@click.option("--quiet", is_flag=True, help="Show no progress, and no time and tokens at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    config: Path | None,
    tasks: str | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Evaluate a model: every mode on every task.

    The same command again completes the run and runs nothing twice. Results go to OUT/runs and OUT/leaderboard.parquet.

    \b
    p2r-bench run --mode p2r --tasks HR-Bench
    p2r-bench run --mode default,thinking,p2r --tasks V-Star,HR-Bench \\
        --model Qwen/Qwen3-VL-4B-Instruct
    """
    from p2r_bench.run.signals import EXIT_STATUS, listening

    with listening(grace_s=_GRACE_S) as stop:
        from p2r_bench.run.dry import preview
        from p2r_bench.run.sweep import read_sweep, specs_of

        given = {"tasks": tasks, **options}
        sets = read_sweep(config, _given(given)) if config else [given]
        specs = [spec for one in sets for spec in specs_of(one)]
        if dry_run:
            shown = [preview(spec) for spec in specs]
            echo(
                json.dumps([one.as_json() for one in shown], indent=2)
                if as_json
                else "\n\n".join(one.text() for one in shown)
            )
            return
        results = _run(specs, quiet, as_json)
        if as_json:
            echo(json.dumps([_record(result) for result in results], indent=2))
        if stop.requested:
            echo("Interrupted. The same command resumes the run.", err=True)
            raise SystemExit(EXIT_STATUS)
    if any(row["n_errors"] for result in results for row in result.metrics):
        raise SystemExit(1)


_GRACE_S = 5.0
"""Seconds until Ctrl-C ends a process that is loading a model."""


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options set on the command line, without defaults."""
    context = click.get_current_context()
    line = click.core.ParameterSource.COMMANDLINE
    return {k: v for k, v in options.items() if context.get_parameter_source(k) == line}


def _run(specs: list[RunSpec], quiet: bool, as_json: bool) -> list[RunResult]:
    """Return the results of the runs that ended. Without --json each is printed as its run ends."""
    from p2r_bench.run.progress import progress_view
    from p2r_bench.run.signals import Interrupted
    from p2r_bench.session import run_all

    def ended(result: RunResult) -> None:
        if not as_json:
            _print(result, quiet)

    try:
        return run_all(specs, progress_view(quiet), ended)
    except Interrupted as interrupted:
        return interrupted.results


def _record(result: RunResult) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "path": str(result.path),
        "added": result.added,
        "complete": result.complete,
        "interrupted": result.interrupted,
        "accounting": result.accounting,
        "errors": [cause.as_json() for cause in _causes(result)],
        "metrics": [{k: v for k, v in row.items() if k != "created"} for row in result.metrics],
    }


def _print(result: RunResult, quiet: bool) -> None:
    from p2r_bench.cli.run_summary import summary
    from p2r_bench.run.accounting import block

    echo("\n".join(summary(result, _causes(result))))
    if result.accounting and not quiet:
        echo("\n".join(f"  {line}" for line in block(result.accounting)))


def _causes(result: RunResult) -> list[Cause]:
    from p2r_bench.store.failures import causes
    from p2r_bench.store.reader import RunReader

    failed = any(row["n_errors"] for row in result.metrics)
    return causes(RunReader(result.path)) if failed else []
