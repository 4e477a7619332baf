"""Profiles as TOML files: built-in ones by name, a user's own by path."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from p2r_bench.adapter.profile import Profile
from p2r_bench.adapter.profile_check import check_profile
from p2r_bench.adapter.prompts import PromptPack, load_pack
from p2r_bench.errors import UserError


def builtin_profiles() -> tuple[str, ...]:
    """Return the names of the built-in profiles."""
    folder = resources.files("p2r_bench.adapter") / "profiles"
    return tuple(
        sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    )


def load_profile(name_or_path: str | Path = "p2r") -> Profile:
    """Load a built-in profile by name, or a profile from a TOML file.

    A file may name a base with `extends = "p2r"`; its values replace the base's, table by table. Paths in a file
    (`extends`, `prompts`) are relative to that file. A file is read again on every call.

    Raises:
        UserError: An unknown profile, or a field that is missing, unknown or of the wrong type or range; the message
            names file and field.
    """
    name = str(name_or_path)
    return _builtin(name) if name in builtin_profiles() else _load(name)


@cache
def _builtin(name: str) -> Profile:
    return _load(name)


def _load(name_or_path: str) -> Profile:
    values, chain = _read(name_or_path, seen=())
    origin = chain[0] if len(chain) == 1 else f"{chain[0]} (extends {', '.join(chain[1:])})"
    prompts = values.pop("prompts", None)
    if not isinstance(prompts, str):
        raise UserError(f'{origin}: prompts: name a prompt pack or a file, such as "default"')
    if "pack" in values:
        raise UserError(f"{origin}: pack: no such field; `prompts` names the prompt pack")
    try:
        pack = load_pack(prompts)
    except UserError as error:
        raise UserError(f"{origin}: prompts: {error}") from error
    values = {"name": Path(name_or_path).stem, **values, "pack": pack}
    profile = _build(Profile, values, origin, "")
    assert isinstance(profile, Profile)
    check_profile(profile, origin)
    return profile


def _read(name_or_path: str, seen: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values of a file merged over its bases, and the files, the given one first."""
    text, origin = _text(name_or_path)
    if origin in seen:
        raise UserError(f"{seen[0]}: extends: a circle: {' → '.join((*seen, origin))}")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from error
    folder = Path(origin).parent
    prompts = values.get("prompts")
    if isinstance(prompts, str) and prompts.endswith(".toml"):
        values["prompts"] = str(folder / prompts)
    base = values.pop("extends", None)
    if base is None:
        return values, (origin,)
    if not isinstance(base, str):
        raise UserError(
            f"{origin}: extends: must be the name or the path of a profile, not {base!r}"
        )
    if base not in builtin_profiles():
        base = str(folder / base)
        if not Path(base).is_file():
            raise UserError(f"{origin}: extends: {_missing(base)}")
    inherited, chain = _read(base, (*seen, origin))
    inherited.pop("name", None)
    return _merged(inherited, values), (origin, *chain)


def _text(name_or_path: str) -> tuple[str, str]:
    if name_or_path in builtin_profiles():
        file = resources.files("p2r_bench.adapter") / "profiles" / f"{name_or_path}.toml"
        return file.read_text("utf-8"), str(file)
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(_missing(name_or_path))
    path = path.resolve()
    try:
        return path.read_text("utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _missing(name: str) -> str:
    return (
        f"there is no profile {name!r}: built in are {', '.join(builtin_profiles())}; "
        "a file of your own is given by its path"
    )


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _build(kind: type, values: Mapping[str, Any], origin: str, prefix: str) -> Any:
    """Build a dataclass from TOML values. Fields without a default are required; unknown fields are refused."""
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        known = ("prompts" if name == "pack" else name for name in hints if name != "seed")
        raise UserError(
            f"{origin}: {prefix}{unknown[0]}: no such field; known here are {', '.join(known)}"
        )
    built: dict[str, Any] = {}
    for spec in dataclasses.fields(kind):
        dotted = f"{prefix}{spec.name}"
        if spec.name in values:
            built[spec.name] = field_value(hints[spec.name], values[spec.name], origin, dotted)
        elif spec.default is dataclasses.MISSING:
            raise UserError(f"{origin}: {dotted}: missing")
    return kind(**built)


def field_value(hint: Any, value: Any, origin: str, dotted: str) -> Any:
    """Return a value as a field of this type holds it.

    Raises:
        UserError: The value has another type; the message names `origin` and `dotted`.
    """
    where = f"{origin}: {dotted}"
    if hint is PromptPack:
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{where}: must be a table")
        return _build(hint, value, origin, f"{dotted}.")  # type: ignore[arg-type]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UserError(f"{where}: {value!r} is not one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f"{where}: must be a list of strings")
        return tuple(value)
    if isinstance(hint, UnionType):  # a seed
        raise UserError(f"{where}: belongs to the run, not to the profile")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(f"{where}: must be {hint.__name__}, not {value!r}")
    return value
