"""`p2r-bench score`: judge a run, or a file of raw model outputs, without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.shared_options import json_option, out_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError, counted
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.judges.predictions import JudgedRow
    from p2r_bench.run.rejudge import Rejudged

_SHOWN = 60


@click.command("score")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="JSON lines with task, mode, text, options and answer.",
)
@click.option(
    "--scorer",
    help="Headline scorer of choice questions. [default: strict; for a run, its own]",
)
@click.option(
    "--profile",
    default="p2r",
    show_default=True,
    help="Profile whose answer policy extracts the answers from the texts.",
)
@click.option(
    "--judge-arg",
    "judge_args",
    multiple=True,
    metavar="SCORER:K=V",
    help="Parameter of a judge. Repeatable.",
)
@click.option(
    "--all",
    "show_all",
    is_flag=True,
    help="List the samples on which the scorers of a RUN disagree, with the text that each one read.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="With --all: samples listed of each run; --json lists every one.",
)
@json_option
@out_option
def command(
    runs: tuple[str, ...],
    predictions: Path | None,
    scorer: str | None,
    profile: str,
    judge_args: tuple[str, ...],
    show_all: bool,
    limit: int,
    as_json: bool,
    out: Path,
) -> None:
    """Judge stored answers again, without a model.

    RUN is a run's folder, its id, the beginning of it, its last eight hex digits, or latest. All scorers that apply
    judge its stored answers; verdicts of the same scorer version and parameters are kept; metrics and leaderboard are
    updated. With --predictions, each row of a file is judged and printed; --json prints one list of objects. Exit
    status 1: some verdicts are errors.

    \b
    p2r-bench score results/runs/*hrbench* --scorer original
    p2r-bench score RUN_ID --all
    p2r-bench score --predictions rows.jsonl --scorer strict --json
    """
    if bool(runs) == (predictions is not None):
        raise UserError("give either run folders or --predictions FILE")
    from p2r_bench.run.pairs import judge_params
    from p2r_bench.store.reader import find_run

    if show_all and predictions is not None:
        raise UserError("--all applies to runs only; --predictions judges by one scorer")
    params = judge_params(judge_args)
    if predictions is not None:
        errors = _predictions(predictions, scorer, profile, params, as_json)
    else:
        paths = [find_run(run, out).path for run in runs]
        errors = _runs(paths, scorer, params, as_json, limit if show_all else 0)
    if errors:
        raise SystemExit(1)


def _predictions(
    path: Path,
    scorer: str | None,
    profile: str,
    params: dict[str, dict[str, object]],
    as_json: bool,
) -> int:
    from p2r_bench.adapter import load_profile
    from p2r_bench.judges.headline import DEFAULT_SCORER
    from p2r_bench.judges.predictions import judge_rows, read_predictions

    rows = read_predictions(path)
    judged = judge_rows(rows, load_profile(profile), scorer=scorer or DEFAULT_SCORER, params=params)
    if as_json:
        echo(json.dumps([one.record() for one in judged], indent=1))
    else:
        _print_rows(judged)
    return sum(one.verdict.status == "error" for one in judged)


def _print_rows(judged: list[JudgedRow]) -> None:
    records = [one.record() for one in judged]
    outcomes = {True: "right", False: "wrong", None: "error"}
    cells = [
        (r["index"], r["scorer"], _short(r["extracted"]), outcomes[r["correct"]], r["error"] or "")
        for r in records
    ]
    echo(table(("row", "scorer", "extracted", "verdict", ""), cells, right=(0,)))
    echo(_figure(records))
    if seconds := [r["second_opinion"] for r in records if "second_opinion" in r]:
        asked = sum(r["fallback"] is not None for r in seconds)
        echo(f"{seconds[0]['scorer']}: {_figure(seconds)}, {asked} decided by the fallback")


def _figure(records: list[dict[str, Any]]) -> str:
    scored = [r["correct"] for r in records if r["correct"] is not None]
    figure = f"{100 * sum(scored) / len(scored):.1f} % right" if scored else "nothing scored"
    return f"{figure} of {len(scored)} scored, {counted(len(records) - len(scored), 'error')}"


def _runs(
    paths: Sequence[Path],
    scorer: str | None,
    params: dict[str, dict[str, object]],
    as_json: bool,
    disagreeing: int,
) -> int:
    """Judge runs and print them; `disagreeing`: the most samples listed on which scorers disagree, 0 for none."""
    from p2r_bench.run.rejudge import rejudge

    results = []
    for path in paths:
        results.append(rejudge(path, scorer=scorer, params=params))
        if not as_json:
            _print_run(results[-1])
            if disagreeing:
                _print_disagreements(path, disagreeing)
    if as_json:
        echo(json.dumps([_record(result, disagreeing) for result in results], indent=1))
    return sum(result.errors for result in results)


def _print_run(result: Rejudged) -> None:
    rows = [
        (
            row["scorer"],
            row["subset"],
            None if row["value"] is None else f"{100 * row['value']:.1f} %",
            row["n"],
            row["n_no_answer"],
            row["n_errors"],
        )
        for row in result.metrics
        if row["category"] is None and row["metric"] == "accuracy"
    ]
    header = ("scorer", "subset", "accuracy", "scored", "no answer", "errors")
    echo(f"{result.path.name}: {result.judged} new verdicts, {result.kept} kept")
    echo(table(header, rows, right=(2, 3, 4, 5)))


def _print_disagreements(path: Path, limit: int) -> None:
    from p2r_bench.store.disagreements import disagreements
    from p2r_bench.store.reader import RunReader

    found = list(disagreements(RunReader(path)))
    echo(f"\nthe scorers disagree on {counted(len(found), 'sample')}")
    for one in found[:limit]:
        repeat = f" (repeat {one.repeat})" if one.repeat else ""
        echo(f"{one.sample_id}{repeat}, right: {one.right}")
        rows = [
            (f"  {r.scorer}", "right" if r.correct else "wrong", _short(r.extracted), one.shown(r))
            for r in one.readings
        ]
        echo(table(("  scorer", "verdict", "extracted", "read"), rows))
    if len(found) > limit:
        echo(f"and {len(found) - limit} more (--limit, or --json)")


def _record(result: Rejudged, disagreeing: int) -> dict[str, object]:
    from p2r_bench.store.disagreements import disagreements
    from p2r_bench.store.reader import RunReader

    found = disagreements(RunReader(result.path)) if disagreeing else ()
    listed = {"disagreements": [one.record() for one in found]} if disagreeing else {}
    return {
        **listed,
        "run_id": result.path.name,
        "path": str(result.path),
        "judged": result.judged,
        "kept": result.kept,
        "errors": result.errors,
        "metrics": [{k: v for k, v in row.items() if k != "created"} for row in result.metrics],
    }


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
