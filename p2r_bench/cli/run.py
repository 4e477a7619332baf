"""`p2r-bench run`: models over benchmarks, from samples to the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.completion import profiles, registered
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.run.result import RunResult
    from p2r_bench.run.spec import RunSpec
    from p2r_bench.store.failures import Cause


@click.command("run")
@click.option(
    "--mode",
    "modes",
    default="p2r",
    show_default=True,
    shell_complete=registered("mode", several=True),
    help="Modes, separated by commas; `p2r-bench modes` lists them.",
)
@click.option(
    "--tasks",
    shell_complete=registered("task", several=True),
    help="Tasks, separated by commas, such as V-Star,HR-Bench; `p2r-bench tasks` lists them.",
)
@click.option("--model", help="Local folder, hub id, or the bundled p2r-tiny (the default).")
@click.option(
    "--engine",
    shell_complete=registered("engine"),
    help="Engine that runs the model: transformers (the default), vllm, openai, or a plugin's",
)
@click.option(
    "--revision",
    help="Hub revision of the model; for a served model a name that vouches for its weights.",
)
@click.option(
    "--engine-arg",
    "engine_args",
    multiple=True,
    metavar="[ROLE:]K=V",
    help="Argument of the engine; with a role, of that role's engine only. Repeatable.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE=MODEL[@ENGINE]",
    help="Give a role of the mode, such as perceive or reason, its own model or engine. Repeatable.",
)
@click.option(
    "--profile",
    shell_complete=profiles,
    help="Profile name or TOML file. [default: the model folder's, else p2r]",
)
@click.option(
    "--family",
    help="Model family, which fixes image sizes and the notation of boxes. [default: the profile's, else the checkpoint's]",
)
@click.option(
    "--pixels",
    type=click.Choice(["exact", "fast"]),
    help="Resizing of images: exact with Pillow, fast with torch. [default: the profile's]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder with the task's data.")
@click.option(
    "--task-arg",
    "task_args",
    multiple=True,
    metavar="[TASK:]K=V",
    help="Parameter of the tasks; with a task, of that one only. Repeatable.",
)
@click.option(
    "--mode-arg",
    "mode_args",
    multiple=True,
    metavar="[MODE:]K=V",
    help="Parameter of the modes; with a mode, of that one only. Repeatable.",
)
@click.option(
    "--judge-arg",
    "judge_args",
    multiple=True,
    metavar="SCORER:K=V",
    help="Parameter of a judge. Repeatable.",
)
@click.option(
    "--scorer",
    shell_complete=registered("judge"),
    help="Headline scorer of choice questions. [default: the task's own, else strict]",
)
@click.option(
    "--out",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the runs and the leaderboard.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of all random draws.")
@click.option(
    "--repeats", default=1, show_default=True, type=click.IntRange(1), help="Runs of each sample."
)
@click.option("--limit", type=click.IntRange(1), help="Run only the first N samples.")
@click.option(
    "--on-bad-row",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="Policy for unreadable rows: list them and stop, or skip them; a run that skips is never complete.",
)
@click.option(
    "--allow-outside",
    is_flag=True,
    help="Allow image paths that lead outside the data folder, also through links.",
)
@click.option("--sample-id", "sample_ids", multiple=True, help="Run only this sample. Repeatable.")
@click.option(
    "--retry-errors/--keep-errors",
    default=True,
    show_default=True,
    help="Run samples again if they ended in an error.",
)
@click.option(
    "--allow-mixed",
    is_flag=True,
    help="Resume although engine, versions, hardware or the served model changed.",
)
@click.option(
    "--canaries",
    metavar="POLICY",
    default="warn",
    show_default=True,
    help="Start-up checks of the engine: warn, strict, off, or skip=NAME,… of box, order, tokens, images, cache.",
)
@click.option("--in-flight", type=click.IntRange(1), help="Samples in progress at once.")
@click.option(
    "--image-memory",
    metavar="SIZE",
    default="1GiB",
    show_default=True,
    help="Pixels held in memory at once.",
)
@click.option(
    "--launcher",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run samples in this process (local), or in replicas on a Ray cluster (ray).",
)
@click.option(
    "--replicas",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Replicas, each with engines, --in-flight and --image-memory of its own.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Ray cluster to join, or local for a new one on this machine. "
    "[default: RAY_ADDRESS, else one running here, else a new one]",
)
@click.option(
    "--replica-resources",
    metavar="GPU=N,CPU=N",
    help="Resources of each replica. [default: CPU=1, and GPU=1 if the cluster has GPUs]",
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
