"""`p2r-bench profile`: list, show and compare profiles."""

from __future__ import annotations

import json
from typing import Any

import click

from p2r_bench.adapter import Profile, builtin_profiles, diff_profiles, load_profile
from p2r_bench.cli.completion import profiles as profile_names
from p2r_bench.cli.table import table
from p2r_bench.terminal import echo

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("profile")
def command() -> None:
    """List, show and compare profiles: all settings that can change a number.

    A profile is a built-in name or a TOML file. Two runs are comparable when their hashes are equal.
    """


@command.command("list")
@as_json_option
def list_profiles(as_json: bool) -> None:
    """List the built-in profiles with their hashes."""
    profiles = [load_profile(name) for name in builtin_profiles()]
    if as_json:
        echo(
            json.dumps(
                [{"name": p.name, "hash": p.hash, "prompts": p.pack.name} for p in profiles],
                indent=2,
            )
        )
    else:
        rows = [
            (p.name, p.hash[:12], p.pack.name, p.image.max_pixels, p.image.min_pixels)
            for p in profiles
        ]
        echo(table(("PROFILE", "HASH", "PROMPTS", "MAX_PIXELS", "MIN_PIXELS"), rows, right=(3, 4)))


@command.command("show")
@click.argument("profile", shell_complete=profile_names)
@as_json_option
def show(profile: str, as_json: bool) -> None:
    """Show every field of PROFILE, with bases and prompt pack resolved, and its hash."""
    loaded = load_profile(profile)
    if as_json:
        echo(json.dumps(_described(loaded), indent=2))
        return
    echo(f"{loaded.name}  {loaded.hash}")
    for key, value in _flat(loaded.identity, ""):
        if isinstance(value, str) and "\n" in value:
            echo(f"{key} =\n" + "\n".join(f"    {line}" for line in value.splitlines()))
        else:
            echo(f"{key} = {json.dumps(value)}")


@command.command("diff")
@click.argument("left", shell_complete=profile_names)
@click.argument("right", shell_complete=profile_names)
@as_json_option
def diff(left: str, right: str, as_json: bool) -> None:
    """Show the fields in which two profiles differ."""
    a, b = load_profile(left), load_profile(right)
    changes = diff_profiles(a, b)
    if as_json:
        fields = [{"field": field, "left": x, "right": y} for field, x, y in changes]
        names = {side: {"name": p.name, "hash": p.hash} for side, p in (("left", a), ("right", b))}
        echo(json.dumps({**names, "fields": fields}, indent=2))
    elif not changes:
        echo(f"{a.name} and {b.name} are the same: {a.hash}")
    else:
        echo(f"- {a.name}  {a.hash}\n+ {b.name}  {b.hash}")
        for field, x, y in changes:
            echo("\n".join([field, *_lines("-", x), *_lines("+", y)]))


def _described(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "hash": profile.hash,
        "prompts": profile.pack.name,
        **profile.identity,
    }


def _flat(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}{key}.")]
    return [(prefix[:-1], value)]


def _lines(sign: str, value: Any) -> list[str]:
    text = value if isinstance(value, str) and "\n" in value else json.dumps(value)
    return [f"  {sign} {line}" for line in text.splitlines()]
