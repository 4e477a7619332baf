"""`p2r-bench prompts`: list, show and import prompt packs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click

from p2r_bench.adapter import builtin_packs, builtin_profiles, load_pack, load_profile
from p2r_bench.adapter.literals import Constant, text_constants
from p2r_bench.adapter.prompt_import import FILES, PROFILES, PathName, import_pack, missing
from p2r_bench.atomic import replacing
from p2r_bench.cli.shared_options import json_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.terminal import echo, printable


@click.group("prompts")
def command() -> None:
    """List, show and import prompt packs: all wording of the prompts."""


@command.command("list")
@json_option
def list_packs(as_json: bool) -> None:
    """List the built-in prompt packs and the profiles that use them."""
    users = {
        pack: [p for p in builtin_profiles() if load_profile(p).pack.name == pack]
        for pack in builtin_packs()
    }
    if as_json:
        echo(
            json.dumps(
                [{"name": name, "profiles": profiles} for name, profiles in users.items()], indent=2
            )
        )
    else:
        echo(table(("PACK", "PROFILES"), [(n, ", ".join(p) or None) for n, p in users.items()]))


@command.command("show")
@click.argument("pack")
@json_option
def show(pack: str, as_json: bool) -> None:
    """Show the wording of PACK, a built-in pack or a TOML file."""
    values = vars(load_pack(pack))
    if as_json:
        echo(json.dumps(values, indent=2))
        return
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat.update(
            {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        )
    for key, text in flat.items():
        click.secho(printable(key), bold=True)
        echo("\n".join(f"    {line}" for line in text.splitlines()))


@command.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from",
    "which",
    type=click.Choice(get_args(PathName)),
    help="Published path whose wording to read. [default: evaluation, or the one in a single file]",
)
@click.option(
    "--name", help="Name of the pack.  [default: published-evaluation or published-training]"
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: prompts/NAME.toml]",
)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="PART=CONSTANT",
    help="Constant to read for a part of the pack, such as perceive or endings.choice. Repeatable.",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
def import_prompts(
    path: Path,
    which: PathName | None,
    name: str | None,
    out: Path | None,
    mapped: tuple[str, ...],
    force: bool,
) -> None:
    """Import the published wording from PATH, your checkout of the P2R repository or one of its files.

    The files are parsed, never executed. A profile is written beside the pack for each built-in profile that it
    completes, so that `p2r-bench run --profile FILE` reproduces the published prompts exactly.
    """
    constants = _constants(path, which or "evaluation")
    which = which or ("evaluation" if path.is_dir() else _recognised(constants))
    name = name or f"published-{which}"
    out = out or Path("prompts") / f"{name}.toml"
    chosen = dict(_pair(item) for item in mapped)
    text = import_pack(constants, which, chosen)
    files = {
        out: f"# Read out of {path.name} by `p2r-bench prompts import`; for use on this machine.\n{text}"
    }
    for profile in PROFILES[which]:
        lines = f'name = "{profile}+{name}"\nextends = "{profile}"\nprompts = "{out.name}"\n'
        files[out.with_name(f"{out.stem}.{profile}.toml")] = lines
    _write(files, force)
    for file in files:
        echo(f"wrote {file}")
    profiles = [file for file in files if file != out]
    echo(f"use it: p2r-bench run --profile {profiles[0]}")
    echo(f"profile hash: {load_profile(profiles[0]).hash}")


def _constants(path: Path, which: PathName) -> dict[str, Constant]:
    if path.is_file():
        return text_constants(path.read_bytes(), str(path))
    files = [path / name for name in FILES[which]]
    absent = [file for file in files if not file.is_file()]
    if absent:
        near = sorted(str(f) for f in path.rglob("*.py") if b"bbox_2d" in f.read_bytes())
        hint = (
            f"; files that speak of bbox_2d: {', '.join(near)} (give one of them as PATH)"
            if near
            else ""
        )
        raise UserError(
            f"{absent[0]}: no such file, so {path} is not a checkout of the published repository{hint}"
        )
    found: dict[str, Constant] = {}
    for file in files:
        found = {**text_constants(file.read_bytes(), str(file)), **found}
    return found


def _recognised(constants: dict[str, Constant]) -> PathName:
    """Return the published path, evaluation or training, that has the larger share of its constants present."""
    return min(get_args(PathName), key=lambda which: len(missing(constants, which)))


def _pair(item: str) -> tuple[str, str]:
    part, equals, names = item.partition("=")
    if not equals or not part or not names:
        raise UserError(
            f"--map {item}: write PART=CONSTANT, such as --map perceive=PERCEIVE_PROMPT"
        )
    return part.strip(), names


def _write(files: dict[Path, str], force: bool) -> None:
    for file, text in files.items():
        if file.exists() and not force and file.read_text("utf-8") != text:
            raise UserError(
                f"{file}: exists and differs; --force replaces it, --out writes elsewhere"
            )
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(text, "utf-8")
