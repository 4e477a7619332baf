"""`p2r-bench plugins`: installed plugins, the names they add, and failures to load."""

from __future__ import annotations

import json

import click

from p2r_bench.cli.shared_options import json_option
from p2r_bench.plugins import Plugin, discover
from p2r_bench.terminal import echo


@click.command("plugins")
@json_option
def command(as_json: bool) -> None:
    """List plugins with their version, hooks and status.

    P2R_BENCH_LOAD_PLUGINS limits the plugins that load: distribution names separated by commas, empty for none.
    """
    found = discover()
    if as_json:
        echo(json.dumps([_record(plugin) for plugin in found.plugins], indent=2))
    else:
        echo("\n\n".join(_block(plugin) for plugin in found.plugins))
    found.check()


def _record(plugin: Plugin) -> dict[str, object]:
    return {
        "name": plugin.name,
        "version": plugin.version,
        "hooks": list(plugin.hooks),
        "status": plugin.status,
        "detail": plugin.detail,
        "provides": {_plural(kind): list(names) for kind, names in plugin.provides.items()},
    }


def _block(plugin: Plugin) -> str:
    lines = {"status": f"{plugin.status}: {plugin.detail}" if plugin.detail else plugin.status}
    if plugin.hooks:
        lines["hooks"] = ", ".join(plugin.hooks)
    lines.update({_plural(kind): ", ".join(names) for kind, names in plugin.provides.items()})
    return "\n".join(
        [f"{plugin.name} {plugin.version}", *(f"  {k:<9} {v}" for k, v in lines.items())]
    )


def _plural(kind: str) -> str:
    return "families" if kind == "family" else f"{kind}s"
