"""`p2r-bench tasks`: the benchmarks and the location of their data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from p2r_bench.cli.shared_options import json_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.plugins import Entry, registry
from p2r_bench.terminal import echo


@click.command("tasks")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder to search for the data.")
@json_option
def command(data_dir: Path | None, as_json: bool) -> None:
    """List the benchmarks and the location of their data.

    The default location is the folder of `p2r-bench data fetch`. `p2r-bench data check TASK` reads the data.
    """
    records = [_record(entry, data_dir) for entry in registry().entries("task")]
    if as_json:
        echo(json.dumps(records, indent=2))
        return
    rows = [(r["task"], r["data"], r["way"] or r["folder"], r["from"]) for r in records]
    echo(table(("TASK", "DATA", "FOLDER, OR COMMAND TO GET IT", "FROM"), rows))


def _record(entry: Entry, data_dir: Path | None) -> dict[str, Any]:
    record = {"task": entry.name, "data": "unknown", "folder": None, "files": None, "way": None}
    record["from"] = entry.provider
    if entry.name.endswith(":*"):
        return record | {"data": "by name", "way": f"tasks of {entry.distribution}, by name"}
    try:
        return record | dict(_data(registry().get("task", entry.name)(), data_dir))
    except UserError as error:
        return record | {"data": "unusable", "way": str(error).splitlines()[0]}


def _data(task: Any, data_dir: Path | None) -> Iterator[tuple[str, Any]]:
    from p2r_bench.tasks.benchmark import Benchmark
    from p2r_bench.tasks.location import data_folder
    from p2r_bench.types import DataSource

    if not isinstance(task, Benchmark):
        yield "way", "see the plugin"
        return
    source = DataSource(data_dir)
    folder = data_folder(task.name, source)
    yield "folder", str(folder)
    try:
        files = task.files(source)
    except UserError:
        yield "data", "missing"
        yield "way", f"p2r-bench data fetch {task.name}"
        return
    yield "files", len(files)
    count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    yield "data", count if files else "generated"
    if not files:
        yield "folder", None
        yield "way", "nothing to fetch"
