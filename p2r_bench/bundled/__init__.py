"""The models that ship with the package, and the profile a model folder asks for."""

from __future__ import annotations

import json
from pathlib import Path

from p2r_bench.errors import UserError

NAMES = ("p2r-tiny", "p2r-tiny-base")


def resolve_model(name: str) -> str:
    """Folder of a bundled model; any other name, path or hub id comes back unchanged.

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
    """Name of the profile that a model folder asks for in `p2r_bench.json`, or None.

    Args:
        model: Bundled name or folder. Anything else (a hub id, a served name) has no such file.

    Raises:
        UserError: The file is there and cannot be used.
    """
    path = Path(resolve_model(str(model))) / "p2r_bench.json"
    if not path.is_file():
        return None
    try:
        profile = json.loads(path.read_text(encoding="utf-8"))["profile"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: expected a JSON object such as {{"profile": "tiny"}}.') from error
    if not isinstance(profile, str):
        raise UserError(f"{path}: `profile` must be the name of a profile, not {profile!r}.")
    return profile
