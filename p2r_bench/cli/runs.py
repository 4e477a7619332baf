"""`p2r-bench runs`: the runs in a folder and their progress."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.shared_options import json_option, out_option
from p2r_bench.cli.table import Column, fitting_table, table, terminal_width, wrapped
from p2r_bench.errors import counted
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.store.reader import RunReader
    from p2r_bench.store.runs import RunSummary

_RUN = "RUN is a run's folder, its id, the beginning of it, its last eight hex digits, or latest."


@click.group("runs")
def command() -> None:
    """List, show and remove runs."""


@command.command("list")
@json_option
@out_option
def list_(as_json: bool, out: Path) -> None:
    """List the runs, the most recent first."""
    from p2r_bench.store.runs import list_runs

    runs = list_runs(out)
    if as_json:
        echo(json.dumps([run.record() for run in runs], indent=2))
        return
    if not runs:
        echo(f"{out / 'runs'}: no run found")
        return
    if readable := [run for run in runs if run.problem is None]:
        room = terminal_width()
        shown, left_out = fitting_table(_columns(readable), room)
        note = f"Columns left out to fit the width: {', '.join(left_out)}" if left_out else ""
        echo("\n".join([shown, *wrapped(note, room)]))
    for run in runs:
        if run.problem is not None:
            echo(run.problem, err=True)


def _columns(runs: Sequence[RunSummary]) -> list[Column]:
    wholes = ["?" if run.expected is None else run.expected for run in runs]
    errors = tuple(str(run.errors or "") or None for run in runs)
    return [
        Column("run", "run", tuple(run.run_id for run in runs), fixed=True, elastic=True),
        Column(
            "done",
            "done",
            tuple(f"{run.done}/{whole}" for run, whole in zip(runs, wholes, strict=True)),
            right=True,
            fixed=True,
        ),
        *([Column("errors", "errors", errors, right=True, fixed=True)] if any(errors) else []),
        Column("state", "state", tuple(_state(run) for run in runs), fixed=True),
        Column("last used", "last used", tuple(_minute(run.last) for run in runs)),
        Column("task", "task", tuple(run.task for run in runs)),
        Column("mode", "mode", tuple(run.mode for run in runs)),
        Column("model", "model", tuple(run.model for run in runs)),
        Column("created", "created", tuple(_minute(run.created) for run in runs)),
    ]


def _state(run: RunSummary) -> str:
    return "complete" if run.complete else "incomplete"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


@command.command(epilog=_RUN)
@click.argument("run")
@json_option
@out_option
def show(run: str, as_json: bool, out: Path) -> None:
    """Show a run: models, data, profile, sessions and figures."""
    from p2r_bench.store.reader import find_run

    found = find_run(run, out)
    if as_json:
        echo(json.dumps(found.manifest.content, indent=2))
    else:
        echo("\n".join(_shown(found)))


def _shown(run: RunReader) -> Iterator[str]:
    content = run.manifest.content
    identity, labels, finished = content["identity"], content["labels"], content["finished"]
    states = run.states()
    yield f"run       {run.run_id}"
    yield f"folder    {run.path}"
    data = run.manifest.data
    yield f"task      {identity['task']}"
    yield f"data      {data.kind}{f' ({data.note})' if data.note else ''}, {identity['data_digest']}"
    if data.chance is not None:
        yield f"chance    {100 * data.chance:.1f} %"
    yield f"mode      {identity['mode']} ({identity['mode_version']}){_params(identity['mode_params'])}"
    for role, digest in identity["model_digests"].items():
        yield f"{role:<9} {labels['models'].get(role, '')}, {digest}"
    yield f"profile   {labels['profile']}, {identity['profile_hash']}"
    yield f"seed      {identity['seed']}, repeats {identity['repeats']}"
    yield f"created   {content['created']}"
    yield "samples   " + (
        ", ".join(f"{n} {status}" for status, n in sorted(states.items())) or "none"
    )
    if finished:
        state = "complete" if finished["complete"] else "incomplete"
        yield f"finished  {finished['at']}, {state}, headline scorer {_scorers(finished['scorer'])}"
    else:
        yield "finished  not yet: run the same command again"
    for number, session in enumerate(content["sessions"], start=1):
        yield f"session {number} {session['started']} to {session['ended'] or '(not ended)'}"
        yield from (f"  {line}" for line in _flat(session["pinned"]))
    path = run.path / "metrics.parquet"
    if path.exists():
        yield ""
        yield _figures(path)


def _figures(path: Path) -> str:
    from p2r_bench.store.schema import METRICS
    from p2r_bench.store.tables import read_rows

    rows = [row for row in read_rows(path, METRICS) if row["category"] is None]
    header = ("scorer", "metric", "subset", "percent", "95 % interval", "n", "errors", "complete")
    cells = [
        (
            f"{row['scorer']} {row['scorer_version'] or ''}",
            *(row["metric"], row["subset"]),
            _percent(row["value"]),
            None
            if row["ci_low"] is None
            else f"{_percent(row['ci_low'])}–{_percent(row['ci_high'])}",
            *(row["n"], row["n_errors"], "yes" if row["complete"] else "no"),
        )
        for row in rows
    ]
    return table(header, cells, right=(3, 4, 5, 6))


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"


def _params(params: Mapping[str, Any]) -> str:
    return f", {json.dumps(params, sort_keys=True)}" if params else ""


def _scorers(scorer: str | Mapping[str, str]) -> str:
    return scorer if isinstance(scorer, str) else "+".join(dict.fromkeys(scorer.values()))


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}: {value}"


@command.command(epilog=_RUN)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@out_option
def rm(runs: tuple[str, ...], yes: bool, out: Path) -> None:
    """Remove runs: their folders and their leaderboard rows."""
    from p2r_bench.store.reader import find_run
    from p2r_bench.store.runs import remove_run

    found = {reader.path: reader for reader in (find_run(run, out) for run in runs)}
    for path, reader in found.items():
        echo(f"{path}: {counted(sum(reader.states().values()), 'sample')}")
    if not yes:
        click.confirm(
            f"Remove {'this run' if len(found) == 1 else f'these {len(found)} runs'}?", abort=True
        )
    for path in found:
        remove_run(path, out)


@command.command()
@out_option
def latest(out: Path) -> None:
    """Print the folder of the most recent run."""
    from p2r_bench.store.reader import LATEST, find_run

    echo(find_run(LATEST, out).path)
