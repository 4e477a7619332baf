"""`p2r-bench reproduce`: a published row, the commands that measure it again, and the outcome."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.shared_options import json_option, out_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.adapter import Profile
    from p2r_bench.store.published import Check, Publication


@click.command("reproduce")
@click.argument("name", required=False)
@click.option("--categories", is_flag=True, help="Show the published categories, too.")
@json_option
@out_option
def command(name: str | None, categories: bool, as_json: bool, out: Path) -> None:
    """Set a published row, such as p2r-4b, against the runs in OUT; without NAME, list the rows.

    Shows the publication's profile, its sampling, and the commands that measure it again. For every benchmark it says
    whether the published figure lies in the 95 % interval of the run, and which fields of the profile differ.

    \b
    p2r-bench reproduce p2r-4b
    """
    from p2r_bench.adapter import load_profile
    from p2r_bench.store.published import PUBLICATIONS, checks_of

    if name is None:
        rows = [(one.name, one.hub, one.mode) for one in PUBLICATIONS.values()]
        echo(table(("NAME", "MODEL", "MODE"), rows))
        return
    if name not in PUBLICATIONS:
        raise UserError(f"no published row {name!r}; known are {', '.join(PUBLICATIONS)}")
    publication = PUBLICATIONS[name]
    profile = load_profile(publication.profile)
    checks = [
        check
        for check in checks_of(publication, out, json.loads(json.dumps(profile.identity)))
        if categories or check.published["category"] is None
    ]
    if as_json:
        echo(json.dumps(_record(publication, profile, checks), indent=1))
        return
    blocks = [
        _heading(publication, profile),
        _commands(publication, checks),
        [_table(checks)],
        _changes(checks),
    ]
    echo("\n\n".join("\n".join(lines) for lines in map(list, blocks) if lines))


def _heading(publication: Publication, profile: Profile) -> Iterator[str]:
    yield f"{publication.name}: {publication.hub} in mode {publication.mode}, as published (arXiv 2607.01191)"
    yield f"profile {publication.profile} ({profile.hash[:12]}), scorer {publication.scorer}"
    roles = ("perceive", "reason") if publication.mode == "p2r" else ("answer",)
    for role in roles:
        s = profile.sampling.for_role(role)
        yield (
            f"{role}: temperature {s.temperature:g}, top-p {s.top_p:g}, repetition penalty "
            f"{s.repetition_penalty:g}, at most {s.max_tokens} tokens"
        )


def _commands(publication: Publication, checks: Sequence[Check]) -> Iterator[str]:
    tasks = list(dict.fromkeys(check.published["task"] for check in checks))
    for task in tasks:
        yield f"p2r-bench data fetch {task}"
    yield "p2r-bench prompts import CHECKOUT    # the wording, from the authors' repository"
    yield (
        f"p2r-bench run --mode {publication.mode} --tasks {','.join(tasks)} --model {publication.hub} --engine vllm "
        f"--profile prompts/published-evaluation.{publication.profile}.toml --scorer {publication.scorer}"
    )
    yield f"p2r-bench reproduce {publication.name}"


def _table(checks: Sequence[Check]) -> str:
    rows = [
        (
            " ".join(filter(None, (c.published[k] for k in ("task", "subset", "category")))),
            f"{100 * c.published['value']:.1f}",
            _measured(c.measured),
            None if c.measured is None else c.measured["n"],
            c.outcome,
            None if c.measured is None else c.measured["run_id"],
        )
        for c in checks
    ]
    header = ("benchmark", "published", "measured [95 %]", "n", "published figure", "run")
    return table(header, rows, right=(1, 2, 3))


def _measured(row: dict[str, Any] | None) -> str | None:
    if row is None or row["value"] is None:
        return None
    return f"{100 * row['value']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def _changes(checks: Sequence[Check]) -> Iterator[str]:
    shown = {
        check.measured["run_id"]: check.changes
        for check in checks
        if check.measured is not None and check.changes
    }
    for run, changes in shown.items():
        yield f"{run} was not run under the published profile; fields that may move its figure (published, then run):"
        for name, before, now in changes:
            yield f"  {name}: {json.dumps(before)}; {json.dumps(now)}"


def _record(publication: Publication, profile: Profile, checks: Sequence[Check]) -> dict[str, Any]:
    return {
        **vars(publication),
        "profile_hash": profile.hash,
        "commands": list(_commands(publication, checks)),
        "checks": [
            {
                "task": check.published["task"],
                "subset": check.published["subset"],
                "category": check.published["category"],
                "published": check.published["value"],
                "measured": check.measured and check.measured["value"],
                "ci_low": check.measured and check.measured["ci_low"],
                "ci_high": check.measured and check.measured["ci_high"],
                "n": check.measured and check.measured["n"],
                "run_id": check.measured and check.measured["run_id"],
                "outcome": check.outcome,
                "profile_changes": check.changes,
            }
            for check in checks
        ],
    }
