"""The models that ship with the package, and the profile a model folder asks for."""

from __future__ import annotations

import json
from pathlib import Path

from p2r_bench.errors import UserError

NAMES = ("p2r-tiny", "p2r-tiny-base")


def resolve_model(name: str) -> str:
    """Return the folder of a bundled model; any other name, path or hub id is returned unchanged.

    Raises:
        UserError: The name is a bundled model's, and this installation lacks its weights.
    """
    if name not in NAMES:
        return name
    folder = Path(__file__).parent / name
    if not (folder / "config.json").is_file():
        raise UserError(
            f"The bundled model {name!r} is missing from this installation ({folder}). "
            "Install p2r-bench again, or name another model with --model."
        )
    return str(folder)


def model_profile(model: str | Path) -> str | None:
    """Return the profile named by a model folder's `p2r_bench.json`, or None: a built-in one, or a file in the folder.

    A built-in profile is returned as its name, a file as its path.

    Args:
        model: Bundled name or folder. A hub id or a served name has no such file.

    Raises:
        UserError: An unusable file.
    """
    path = Path(resolve_model(str(model))) / "p2r_bench.json"
    if not path.is_file():
        return None
    try:
        profile = json.loads(path.read_text(encoding="utf-8"))["profile"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{path}: expected a JSON object such as {{"profile": "tiny"}}.') from error
    if not isinstance(profile, str):
        raise UserError(f"{path}: `profile` must be the name of a profile, not {profile!r}.")
    return _inside(profile, path)


def _inside(profile: str, file: Path) -> str:
    """Return the profile if it is built in or inside the folder: a downloaded folder must not name other files."""
    from p2r_bench.adapter import builtin_profiles

    if profile in builtin_profiles():
        return profile
    folder = file.parent.resolve()
    try:
        path = (folder / profile).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{file}: `profile` {profile!r} is not a path: {error}") from error
    if not path.is_relative_to(folder) or path.suffix != ".toml":
        raise UserError(
            f"{file}: `profile` {profile!r} is neither one of {', '.join(builtin_profiles())} nor a .toml file in "
            "the model's folder; --profile names any other"
        )
    return str(path)
