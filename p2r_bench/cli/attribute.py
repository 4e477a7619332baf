"""`p2r-bench attribute`: errors of stored runs, attributed to perceiving or reasoning."""

from __future__ import annotations

import json
from collections import Counter
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
    from p2r_bench.stats.attribution import Case, Share
    from p2r_bench.store.scored import ScoredRun


@click.command("attribute")
@click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--scorer", help="Use this scorer's verdicts. [default: the runs' headline scorer]")
@click.option(
    "--bins",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Bins of the curve over box area.",
)
@json_option
@out_option
def command(runs: tuple[str, ...], scorer: str | None, bins: int, as_json: bool, out: Path) -> None:
    """Attribute the errors of stored runs to perceiving or reasoning, on samples with ground-truth boxes.

    A sample is localised when every ground-truth box has at least 90 % of its area in one crop. Each RUN is set against the
    oracle run with the same reasoner, data and profile: one of the RUNs, or one in OUT. Without an oracle run, wrong
    answers on samples that are not localised are a single group.

    \b
    p2r-bench attribute p2r-tiny-p2r
    p2r-bench attribute RUN_ID --bins 8
    """
    from p2r_bench.stats.attribution import by_area, counts, outcome_shares
    from p2r_bench.store.attributed import ORACLE, belongs_to, cases_of, find_oracle
    from p2r_bench.store.reader import find_run
    from p2r_bench.store.scored import read_scored

    found = [read_scored(find_run(run, out), scorer) for run in runs]
    oracles = [run for run in found if run.mode == ORACLE]
    others = [run for run in found if run.mode != ORACLE]
    if not others:
        raise UserError(
            "name at least one run of a mode that names boxes, such as p2r, besides the oracle run"
        )
    blocks, records = [], []
    for run in others:
        oracle = next((one for one in oracles if belongs_to(one, run)), None)
        if oracle is None and (reader := find_oracle(run, out)) is not None:
            oracle = read_scored(reader, scorer)
        cases, left_out = cases_of(run, oracle)
        curve = by_area(cases, bins)
        records.append(
            {
                "run_id": run.run_id,
                "oracle_run_id": oracle and oracle.run_id,
                "scorer": run.scorer,
                "n": len(cases),
                "n_clusters": len({case.cluster for case in cases}),
                "left_out": dict(left_out),
                "table": [
                    {"right": right, "localised": held, "oracle_right": known, "n": n}
                    for (right, held, known), n in sorted(counts(cases).items(), key=str)
                ],
                "outcomes": {name: vars(one) for name, one in outcome_shares(cases).items()},
                "by_area": [_bin_record(one) for one in curve],
            }
        )
        blocks += [
            list(_heading(run, oracle, cases, left_out)),
            [_cross_table(counts(cases), known=oracle is not None)],
            [_outcomes(outcome_shares(cases))],
            ["by area of the smallest ground-truth box, in percent of the image", _curve(curve)],
        ]
    if as_json:
        echo(json.dumps(records, indent=1))
    else:
        echo("\n\n".join("\n".join(lines) for lines in blocks))


def _heading(
    run: ScoredRun, oracle: ScoredRun | None, cases: Sequence[Case], left_out: Counter[str]
) -> Iterator[str]:
    yield f"{run.identity['task']} · {run.model} · {run.mode}: {run.run_id}, by {run.scorer}"
    known = "not found: p2r-bench run --mode oracle, with the same options, makes it"
    yield f"oracle: {known if oracle is None else oracle.run_id}"
    images = len({case.cluster for case in cases})
    text = f"{counted(len(cases), 'sample')} of {counted(images, 'image')} with ground-truth boxes"
    if left_out:
        text += "; left out: " + ", ".join(f"{n} {reason}" for reason, n in left_out.items())
    yield text


def _cross_table(found: dict[tuple[bool, bool, bool | None], int], *, known: bool) -> str:
    columns: tuple[tuple[str, bool | None], ...] = (("samples", None),)
    if known:
        columns = (("oracle right", True), ("oracle wrong", False))
    rows = [
        (
            f"{'right' if right else 'wrong'}, {'localised' if held else 'not localised'}",
            *(found.get((right, held, oracle), 0) for _, oracle in columns),
        )
        for right in (True, False)
        for held in (True, False)
    ]
    return table(("", *(name for name, _ in columns)), rows, right=(1, 2)[: len(columns)])


def _outcomes(shares: dict[str, Share]) -> str:
    rows = [(name, share.count, _percent(share)) for name, share in shares.items()]
    return table(("outcome", "samples", "percent [95 %]"), rows, right=(1, 2))


def _curve(curve: Sequence[Any]) -> str:
    rows = [
        (
            f"{100 * one.low:.3g}–{100 * one.high:.3g}",
            one.samples,
            _percent(one.localised),
            _percent(one.right),
            None if one.oracle is None else _percent(one.oracle),
        )
        for one in curve
    ]
    header = ("area", "samples", "localised [95 %]", "right [95 %]", "oracle right [95 %]")
    return table(header, rows, right=(0, 1, 2, 3, 4))


def _percent(share: Share) -> str:
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _bin_record(one: Any) -> dict[str, Any]:
    shares = {name: getattr(one, name) for name in ("localised", "right", "oracle")}
    return {**vars(one), **{name: share and vars(share) for name, share in shares.items()}}
