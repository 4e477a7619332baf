"""`p2r-bench data`: get, check and synthesise benchmark data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.completion import registered
from p2r_bench.cli.shared_options import json_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError, counted
from p2r_bench.terminal import echo, printable

if TYPE_CHECKING:
    from p2r_bench.tasks.checking import Report

_FORMATS = {"hrbench": "HR-Bench", "vstar": "V-Star", "mme": "MME-RealWorld"}


@click.group("data")
def command() -> None:
    """Get, check and synthesise benchmark data."""


@command.command("fetch")
@click.argument("task", shell_complete=registered("task"))
@click.option("--revision", help="Commit, branch or tag. [default: the newest]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder. [default: ~/.cache/p2r-bench/data/TASK]"
)
@json_option
def fetch_command(task: str, revision: str | None, out: Path | None, as_json: bool) -> None:
    """Download a benchmark from the Hugging Face hub.

    A run reads the default folder, or another with --data-dir. P2R_BENCH_DATA changes the parent of all default
    folders.
    """
    from p2r_bench.tasks.benchmark import Benchmark
    from p2r_bench.tasks.fetching import fetch

    found = _task(task)
    if not isinstance(found, Benchmark):
        raise UserError(f"{task} comes from a plugin; see the plugin for the source of its data")
    folder, origin = fetch(found, revision, out)
    if as_json:
        echo(json.dumps({"task": task, "data_dir": str(folder), "revisions": origin.revisions}))
        return
    echo(f"{task} is in {folder}")
    echo(table(("dataset", "commit"), list(origin.revisions.items())))


@command.command("check")
@click.argument("task", shell_complete=registered("task"))
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder with the task's data.")
@click.option(
    "--headers",
    is_flag=True,
    help="Read only the headers of images: faster, but misses truncated ones.",
)
@click.option(
    "--allow-outside",
    is_flag=True,
    help="Allow image paths that lead outside the data folder, also through links.",
)
@json_option
def check_command(
    task: str, data_dir: Path | None, headers: bool, allow_outside: bool, as_json: bool
) -> None:
    """Read every row and image of a benchmark and list the faults.

    It checks row counts against the published ones, columns, bad rows, image placeholders in questions, options that
    are empty, equal, share a letter or hold it, missing rotations, unreadable images and aspect ratios over 200.
    Exit status 1: there are findings.
    """
    from p2r_bench.tasks.checking import check
    from p2r_bench.types import DataSource

    seen = 0

    def tick() -> None:
        nonlocal seen
        seen += 1
        if seen % 20 == 0:
            click.echo(f"\r{printable(task)}: {seen} images read", nl=False, err=True)

    watched = sys.stderr.isatty()
    found, source = _task(task), DataSource(data_dir, allow_outside=allow_outside)
    report = check(found, source, decode=not headers, **({"tick": tick} if watched else {}))
    if watched and seen >= 20:
        click.echo("\r\033[K", nl=False, err=True)
    echo(json.dumps(report.as_json(), indent=2) if as_json else _text(report))
    if report.findings:
        raise SystemExit(1)


@command.command("synth")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Seed; equal seeds write equal files.",
)
@click.option(
    "--rows", default=400, show_default=True, type=click.IntRange(1), help="Four per image."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option(
    "--format", "format_", default="hrbench", show_default=True, type=click.Choice(list(_FORMATS)),
    help="Row format: that of HR-Bench, V-Star or MME-RealWorld.",
)  # fmt: skip
@click.option(
    "--resolution",
    default="4k",
    show_default=True,
    type=click.Choice(["4k", "8k"]),
    help="Image size.",
)
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["train", "validation", "test"]),
    help="Splits share no scene.",
)  # fmt: skip
@json_option
def synth_command(
    seed: int, rows: int, out: Path, format_: str, resolution: str, split: str, as_json: bool
) -> None:
    """Write procedural images and questions in a published benchmark's format, with ground-truth boxes."""
    from p2r_bench.synth import write_synth
    from p2r_bench.tasks.location import Origin
    from p2r_bench.tasks.shards import find_shards

    task = _FORMATS[format_]
    recorded = Origin.read(out)
    if recorded is None and find_shards(out):
        raise UserError(
            f"{out} holds data that was not synthesised; give another folder with --out"
        )
    if recorded is not None and not (recorded.synthetic and recorded.task == task):
        raise UserError(f"{out} holds {recorded.task} data; give another folder with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        Origin(task, {}, synthetic=True).write(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}") from error
    arguments: dict[str, Any] = {
        "seed": seed,
        "rows": rows,
        "resolution": resolution,
        "split": split,
    }
    path = write_synth(out, format=format_, **arguments)  # type: ignore[arg-type]
    if as_json:
        echo(json.dumps({"task": task, "file": str(path), "format": format_, **arguments}))
        return
    echo(f"{counted(rows, 'row')} in {path}")
    echo(f"use them:  p2r-bench run --tasks {task} --data-dir {out}")


def _task(name: str) -> Any:
    from p2r_bench.plugins import registry

    return registry().get("task", name)()


def _text(report: Report) -> str:
    origin = report.origin
    source = ", ".join(
        f"{dataset}@{commit[:12]}"
        for dataset, commit in (origin.revisions if origin else {}).items()
    )
    facts = report.facts
    counts = [
        (subset or "all", category or "all", n, report.expected.get((subset, category)))
        for (subset, category), n in report.rows.items()
    ]
    header = ("subset", "category", "rows", "published")
    lines = [
        f"{report.task} in {report.folder}" + (f" ({source})" if source else ""),
        f"data digest {report.digest[:16]}",
        f"kind of data: {facts.kind}{f' ({facts.note})' if facts.note else ''}",
        *([f"chance level {100 * facts.chance:.1f} %"] if facts.chance is not None else []),
        "",
        *([table(header, counts, right=(2, 3)), ""] if counts else []),
        f"{counted(report.images, 'image')} {'decoded' if report.decoded else 'opened'}",
    ]
    if not report.findings:
        return "\n".join([*lines, "nothing wrong"])
    found = [
        f"{finding.kind}: {f'{finding.sample_id}: ' if finding.sample_id else ''}{finding.problem}"
        for finding in report.findings
    ]
    return "\n".join(
        [*lines, f"{counted(len(found), 'finding')}:", *(f"  {line}" for line in found)]
    )
