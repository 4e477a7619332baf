"""`p2r-bench modes`: the modes, their roles and their parameters."""

from __future__ import annotations

import inspect
import json
from typing import Any

import click

from p2r_bench.cli.shared_options import json_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.optional import declared_roles
from p2r_bench.plugins import Entry, registry
from p2r_bench.terminal import echo


@click.command("modes")
@json_option
def command(as_json: bool) -> None:
    """List the modes with the roles they call and the parameters that --mode-arg sets."""
    records = [_record(entry) for entry in registry().entries("mode")]
    if as_json:
        echo(json.dumps(records, indent=2))
        return
    rows = [
        (r["mode"], ", ".join(r["roles"]) or None, _parameters(r), r["about"], r["from"])
        for r in records
    ]
    echo(table(("MODE", "ROLES", "PARAMETERS", "", "FROM"), rows))


def _record(entry: Entry) -> dict[str, Any]:
    record: dict[str, Any] = {"mode": entry.name, "roles": [], "parameters": {}}
    try:
        kind = registry().get("mode", entry.name)
        parameters = inspect.signature(kind).parameters.values()
        record["roles"] = list(declared_roles(kind) or ())
        record["parameters"] = {
            p.name: None if p.default is p.empty else repr(p.default) for p in parameters
        }
        record["about"] = (inspect.getdoc(kind) or "").partition("\n")[0]
    except UserError as error:
        record["about"] = f"unusable: {str(error).splitlines()[0]}"
    return {**record, "from": entry.provider}


def _parameters(record: dict[str, Any]) -> str | None:
    shown = [name if d is None else f"{name}={d}" for name, d in record["parameters"].items()]
    return ", ".join(shown) or None
