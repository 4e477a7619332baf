"""`p2r-bench compare`: paired comparison of stored runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.completion import runs as complete_runs
from p2r_bench.cli.shared_options import json_option, out_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError, counted
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.stats.comparison import Comparison, Pair
    from p2r_bench.store.scored import Key, ScoredRun
    from p2r_bench.types import Cell

_LONGEST = 60


@click.command("compare")
@click.argument("runs", nargs=-1, metavar="RUN RUN [RUN]...", shell_complete=complete_runs)
@click.option(
    "--scorer", help="Compare by this scorer's verdicts. [default: the runs' headline scorer]"
)
@click.option(
    "--metric",
    default="accuracy",
    show_default=True,
    help="Compare the mean of a grading scorer's scores, such as anls, in place of the accuracy.",
)
@click.option("--by-category", is_flag=True, help="Compare every category, too.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Gained and lost samples listed of each pair; --json lists all.",
)
@json_option
@out_option
def command(
    runs: tuple[str, ...],
    scorer: str | None,
    metric: str,
    by_category: bool,
    limit: int,
    as_json: bool,
    out: Path,
) -> None:
    """Compare stored runs sample by sample: A is the first RUN, B the second, and so on.

    Only samples that all runs have scored are compared. Every pair has the difference with a 95 % interval by image, the
    sign-flip test on images, Holm's correction over all pairs, the exact McNemar test, and the smallest difference that
    these samples could have shown. Runs over other data, or judged by other rules, are refused.

    \b
    p2r-bench compare p2r-tiny-default p2r-tiny-p2r
    p2r-bench compare results/runs/*hrbench*
    """
    from p2r_bench.stats.comparison import compared
    from p2r_bench.store.alike import check_comparable, differences, shown_cells
    from p2r_bench.store.reader import find_run
    from p2r_bench.store.scored import read_scored

    if len(runs) < 2:
        raise UserError("name at least two runs to compare")
    found = [read_scored(find_run(run, out), scorer, metric=metric) for run in runs]
    if len({run.run_id for run in found}) < len(found):
        raise UserError("a run is named twice; name different runs")
    check_comparable(found)
    common = [key for key in found[0].scores if all(key in run.scores for run in found[1:])]
    if not common:
        raise UserError("the runs have no sample that all of them have scored")
    places = found[0].places
    clusters = {key: places[key].cluster for key in common}
    results = []
    for cell in shown_cells(found, categories=by_category):
        keys = [key for key in common if cell in places[key].cells]
        if keys:
            results.append((cell, compared([run.scores for run in found], clusters, keys)))
    left_out = _left_out(found, common)
    changes = differences(found)
    if as_json:
        records = [_record(cell, result, found) for cell, result in results]
        echo(
            json.dumps(
                {
                    "runs": [_run(run) for run in found],
                    "metric": metric,
                    "comparisons": records,
                    "left_out": left_out,
                    "differs": [{"field": name, "values": values} for name, values in changes],
                },
                indent=1,
            )
        )
        return
    blocks = [
        _heading(found, metric),
        *(block for cell, result in results for block in _cell(cell, result, found, limit)),
        _not_compared(left_out, found),
        _changes(changes),
    ]
    echo("\n\n".join("\n".join(lines) for lines in map(list, blocks) if lines))


def _heading(runs: Sequence[ScoredRun], metric: str) -> Iterator[str]:
    yield f"{runs[0].identity['task']}: {metric} in percent by {runs[0].scorer}"
    yield from (
        f"{_letter(n)}  {run.model} · {run.mode} · {run.run_id}" for n, run in enumerate(runs)
    )


def _cell(
    cell: Cell, result: Comparison, runs: Sequence[ScoredRun], limit: int
) -> Iterator[list[str]]:
    name = " ".join(filter(None, cell)) or "all"
    rows = [
        (
            _ranks(standing.rank),
            f"{_letter(n)} {runs[n].model} · {runs[n].mode}",
            f"{100 * standing.value:.1f} [{100 * standing.low:.1f}, {100 * standing.high:.1f}]",
        )
        for n, standing in sorted(
            enumerate(result.standings), key=lambda one: (one[1].rank, -one[1].value)
        )
    ]
    yield [
        f"{name}: {counted(result.samples, 'sample')} of {counted(result.clusters, 'image')}",
        table(("rank", "run", "value [95 %]"), rows, right=(0,)),
    ]
    yield [
        table(
            (
                *("pair", "difference [95 %]", "p", "p Holm", "p McNemar"),
                *("gained", "lost", "detectable"),
            ),
            [_pair(pair) for pair in result.pairs],
            right=(2, 3, 4, 5, 6, 7),
        )
    ]
    if limit:
        yield [line for pair in result.pairs for line in _samples(pair, limit)]


def _pair(pair: Pair) -> tuple[str, ...]:
    d = pair.difference
    return (
        f"{_letter(pair.second)} − {_letter(pair.first)}",
        f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]",
        _p(d.p),
        _p(pair.p_holm) + (" *" if pair.significant else "  "),
        _p(d.p_mcnemar),
        str(d.gained),
        str(d.lost),
        f"{100 * d.detectable:.1f}",
    )


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _ranks(rank: tuple[int, int]) -> str:
    best, worst = rank
    return str(best) if best == worst else f"{best}–{worst}"


def _samples(pair: Pair, limit: int) -> Iterator[str]:
    for what, keys in (("gained", pair.gained), ("lost", pair.lost)):
        if keys:
            more = len(keys) - limit
            names = ", ".join(map(_key, keys[:limit]))
            yield (
                f"{_letter(pair.second)} − {_letter(pair.first)} {what}: {names}"
                + (f", and {more} more (--limit)" if more > 0 else "")
            )


def _key(key: Key) -> str:
    return f"{key[0]} (repeat {key[1]})" if key[1] else key[0]


def _left_out(runs: Sequence[ScoredRun], common: Sequence[Key]) -> list[dict[str, int]]:
    """Return, for each run, the number of samples without a score in this run, by reason."""
    every = dict.fromkeys(key for run in runs for key in run.places)
    compared, counts = set(common), []
    for run in runs:
        count: dict[str, int] = {}
        for key in every:
            if key not in compared and key not in run.scores:
                reason = run.unscored.get(key, "not run")
                count[reason] = count.get(reason, 0) + 1
        counts.append(count)
    return counts


def _not_compared(left_out: Sequence[dict[str, int]], runs: Sequence[ScoredRun]) -> Iterator[str]:
    for number, count in enumerate(left_out):
        if count:
            reasons = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in count.items())
            yield f"left out because of {_letter(number)}: {reasons} (samples and repeats)"


def _changes(changes: Sequence[tuple[str, list[Any]]]) -> Iterator[str]:
    if changes:
        yield "the runs differ, besides model and mode, in"
    for name, values in changes:
        shown = "; ".join(f"{_letter(n)} {_short(value)}" for n, value in enumerate(values))
        yield f"  {name}: {shown}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _letter(number: int) -> str:
    from p2r_bench.store.alike import letter

    return letter(number)


def _run(run: ScoredRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "model": run.model,
        "mode": run.mode,
        "task": run.identity["task"],
        "data_digest": run.identity["data_digest"],
        "profile_hash": run.identity["profile_hash"],
        "scorer": run.scorer,
    }


def _record(cell: Cell, result: Comparison, runs: Sequence[ScoredRun]) -> dict[str, Any]:
    return {
        "subset": cell[0],
        "category": cell[1],
        "n": result.samples,
        "n_clusters": result.clusters,
        "standings": [
            {"run_id": run.run_id, **vars(standing)}
            for run, standing in zip(runs, result.standings, strict=True)
        ],
        "pairs": [
            {
                "first": runs[pair.first].run_id,
                "second": runs[pair.second].run_id,
                "difference": pair.difference.value,
                **vars(pair.difference),
                "p_holm": pair.p_holm,
                "significant": pair.significant,
                "gained_samples": pair.gained,
                "lost_samples": pair.lost,
            }
            for pair in result.pairs
        ],
    }
