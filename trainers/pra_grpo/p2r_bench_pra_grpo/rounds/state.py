"""State of a training: one small file, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.store.rows import now

FILE = "state.json"
VERSION = 2

FOUND: Mapping[str, str] = {
    "profile_hash": "the profile's content",
    "start_digest": "the weights of `model`",
    "data_digest": "the samples of `data`",
    "verifier_model": "the model that verifies free answers",
}
"""Parts of the identity that no configuration holds, to their names in messages."""


class State:
    """Finished steps with their results, in the order in which they ended."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content

    @classmethod
    def read(cls, out: Path) -> State:
        """Return the state of a training's folder; an empty one where nothing has begun.

        Raises:
            UserError: The file is damaged or of a newer version.
        """
        path = out / FILE
        if not path.is_file():
            return cls(path, {"version": VERSION, "identity": {}, "steps": {}, "stopped": None})
        try:
            content = json.loads(path.read_text("utf-8"))
            version, _ = content["version"], content["steps"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); restore it, or start in another folder"
            ) from error
        if version != VERSION:
            raise UserError(
                f"{path}: written by another version (format {version}, known is {VERSION}); "
                "choose another `out`"
            )
        return cls(path, content)

    @property
    def begun(self) -> bool:
        """True once anything has been recorded."""
        return bool(self._content["identity"])

    @property
    def steps(self) -> Mapping[str, Any]:
        """Name of each finished step to its result."""
        return {name: entry["result"] for name, entry in self._content["steps"].items()}

    @property
    def stopped(self) -> str | None:
        """Reason why the training ended before all its rounds, or None."""
        stopped: str | None = self._content["stopped"]
        return stopped

    def identify(self, identity: Mapping[str, Any], found: Mapping[str, Any] | None = None) -> None:
        """Record the training's identity, or refuse a different one.

        Args:
            identity: All parts of the configuration that decide the result.
            found: Values of `FOUND`; None, while they are unknown, skips their comparison.

        Raises:
            UserError: The identity differs; the message names every key that differs, is new or is missing.
        """
        before: dict[str, Any] = self._content["identity"]
        given = _flat(json.loads(json.dumps({**identity, **(found or {})})))
        names = [name for name in {**before, **given} if found is not None or name not in FOUND]
        changed = [name for name in names if before.get(name) != given.get(name)]
        if before and changed:
            lines = [
                f"{name}{f' ({FOUND[name]})' if name in FOUND else ''}: "
                f"{before.get(name, 'not set')} before, {given.get(name, 'not set')} now"
                for name in changed
            ]
            raise UserError(
                f"{self._path.parent}: begun with another configuration; choose another `out`, or restore:\n  "
                + "\n  ".join(lines)
            )
        if changed:
            self._content["identity"] = given
            self._write()

    def record(self, name: str, result: Mapping[str, Any]) -> None:
        """Record a finished step."""
        self._content["steps"][name] = {"result": dict(result), "finished": now()}
        self._write()

    def forget(self, *names: str) -> None:
        """Mark steps as not done, so that they run again."""
        for name in names:
            self._content["steps"].pop(name, None)
        self._write()

    def stop(self, why: str | None) -> None:
        """Record the reason to end before all rounds; None withdraws it."""
        self._content["stopped"] = why
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as beside:
            beside.write_text(
                json.dumps(self._content, indent=1, ensure_ascii=False) + "\n", "utf-8"
            )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return the nested values by dotted name, without those that are None."""
    if isinstance(value, Mapping):
        parts = [(f"{name}.{key}" if name else str(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        parts = [(f"{name}[{number}]", item) for number, item in enumerate(value)]
    else:
        return {} if value is None else {name: value}
    return {key: own for part, item in parts for key, own in _flat(item, part).items()}
