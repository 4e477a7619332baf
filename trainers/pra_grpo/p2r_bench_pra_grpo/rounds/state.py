"""How far a training is: one small file, always whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.atomic import replacing
from p2r_bench.store.rows import now
from p2r_bench_pra_grpo.config import Config

FILE = "state.json"
VERSION = 1

_PLACES = ("url", "api_key", "cache_dir", "timeout", "retries", "concurrency")
"""Arguments of judges that say where a service is, not what it decides."""


class State:
    """Finished steps with their results, in the order in which they ended."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content

    @classmethod
    def read(cls, out: Path) -> State:
        """The state of a training's folder; an empty one where nothing has begun.

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
                f"{path}: written by another version (format {version}, known is {VERSION})"
            )
        return cls(path, content)

    @property
    def begun(self) -> bool:
        """Whether anything has been recorded."""
        return bool(self._content["identity"])

    @property
    def steps(self) -> Mapping[str, Any]:
        """Name of each finished step to its result."""
        return {name: entry["result"] for name, entry in self._content["steps"].items()}

    @property
    def stopped(self) -> str | None:
        """Why the training ended before all its rounds, or None."""
        stopped: str | None = self._content["stopped"]
        return stopped

    def identify(self, identity: Mapping[str, Any]) -> None:
        """Take up the training, or refuse when it is another one.

        Args:
            identity: Everything that decides the result; parts that were recorded before must be equal.

        Raises:
            UserError: Names what differs.
        """
        before = self._content["identity"]
        changed = [
            f"{name}: {_shown(before[name])} before, {_shown(value)} now"
            for name, value in _flat(identity).items()
            if name in before and before[name] != value
        ]
        if changed:
            raise UserError(
                f"{self._path.parent}: begun with another configuration; choose another `out`, or restore:\n  "
                + "\n  ".join(changed)
            )
        merged = {**before, **_flat(identity)}
        if merged != before:
            self._content["identity"] = merged
            self._write()

    def record(self, name: str, result: Mapping[str, Any]) -> None:
        """A step is done."""
        self._content["steps"][name] = {"result": dict(result), "finished": now()}
        self._write()

    def forget(self, *names: str) -> None:
        """Steps are to be done again."""
        for name in names:
            self._content["steps"].pop(name, None)
        self._write()

    def stop(self, why: str | None) -> None:
        """The training is over before all its rounds, or, with None, is not."""
        self._content["stopped"] = why
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as beside:
            beside.write_text(
                json.dumps(self._content, indent=1, ensure_ascii=False) + "\n", "utf-8"
            )


def identity_of(config: Config) -> dict[str, Any]:
    """What of a configuration decides the result.

    How many rounds there are does not, nor where servers are: a training can be prolonged and moved.
    """
    plain = json.loads(json.dumps(asdict(config), default=str))
    kept = ("model", "revision", "backend", "stages", "seed", "grpo", "roles", "reward")
    tables = {config.backend: _deciding(config.backend, plain.get(config.backend, {}))}
    data = [{k: v for k, v in d.items() if k not in ("path", "images")} for d in plain["data"]]
    judges = {
        name: {k: v for k, v in own.items() if k not in _PLACES}
        for name, own in plain["judges"].items()
    }
    return {**{name: plain[name] for name in kept}, **tables, "data": data, "judges": judges}


def _deciding(backend: str, table: dict[str, Any]) -> dict[str, Any]:
    """The part of a backend's table that decides the result; for verl most of it says where it runs."""
    if backend != "verl":
        return table
    return {key: table[key] for key in ("freeze_vision", "overrides") if key in table}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
