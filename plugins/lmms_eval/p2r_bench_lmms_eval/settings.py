"""Values of `--model_args`: mode, models, engines and other settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.optional import declared_roles
from p2r_bench.plugins import registry
from p2r_bench.session import DEFAULT_ENGINE, DEFAULT_MODEL, EngineChoice, RunSpec, make_mode
from p2r_bench.types import ROLES

BACKEND = "lmms-eval"
"""The engine behind `backend=NAME`."""

_IGNORED = ("batch_size", "max_batch_size")
"""Arguments that lmms-eval always passes and that are ignored, since p2r-bench's engines form their own batches."""
_OWN = (
    "mode",
    "engine",
    "model",
    "revision",
    "profile",
    "seed",
    "trace",
    "in_flight",
    "allow_mixed",
)


@dataclass(frozen=True)
class Settings:
    """Model arguments as a run's settings.

    Attributes:
        spec: The run without its task, data and place.
        trace: Folder for the runs, or None for one beside lmms-eval's results.
    """

    spec: RunSpec
    trace: Path | None

    @classmethod
    def read(cls, mode: str, args: Mapping[str, Any]) -> Settings:
        """Return settings from model arguments.

        Beside the names in `_OWN`: `mode.NAME=` is a parameter of the mode; `ROLE.model=`, `ROLE.engine=` and
        `ROLE.NAME=` give a role its own engine; `backend=NAME` takes one of lmms-eval's models as the engine;
        anything else is an argument of the engine.

        Raises:
            UserError: An unknown argument, or a mode or engine that nothing registers.
        """
        given = {key: value for key, value in args.items() if key not in _IGNORED}
        own = {key: given.pop(key) for key in _OWN if key in given and "backend" not in given}
        if "backend" in given:
            own = {key: given.pop(key) for key in _OWN if key in given and key != "model"}
            own |= {"engine": BACKEND, "model": given.pop("backend")}
        grouped: dict[str, dict[str, Any]] = {}
        for key in [key for key in given if "." in key]:
            owner, _, name = key.partition(".")
            grouped.setdefault(owner, {})[name] = given.pop(key)
        mode = str(own.get("mode", mode))
        mode_params = grouped.pop("mode", {})
        shared = {key: str(value) for key, value in given.items()}
        choice = EngineChoice(
            str(own.get("model", DEFAULT_MODEL)),
            str(own.get("engine", DEFAULT_ENGINE)),
            own.get("revision"),
            shared,
        )
        spec = RunSpec(
            task="",
            mode=mode,
            choice=choice,
            roles={role: _of_role(role, choice, more, mode) for role, more in grouped.items()},
            profile=own.get("profile"),
            mode_params=mode_params,
            seed=_whole("seed", own.get("seed", 0)),
            in_flight=None if "in_flight" not in own else _whole("in_flight", own["in_flight"]),
            allow_mixed=str(own.get("allow_mixed", False)).lower() == "true",
        )
        make_mode(spec)
        for used in (choice, *spec.roles.values()):
            registry().entry("engine", used.engine)
        trace = own.get("trace")
        return cls(spec, None if trace is None else Path(str(trace)))


def _of_role(role: str, choice: EngineChoice, more: Mapping[str, Any], mode: str) -> EngineChoice:
    known = dict.fromkeys([*ROLES, *(declared_roles(registry().get("mode", mode)) or ())])
    if role not in known:
        raise UserError(
            f"model argument {role}.{next(iter(more))}: no role {role!r}; known: {', '.join(known)}"
        )
    rest = {key: str(value) for key, value in more.items() if key not in ("model", "engine")}
    return EngineChoice(
        str(more.get("model", choice.model)),
        str(more.get("engine", choice.engine)),
        None if "model" in more else choice.revision,
        {**choice.args, **rest},
    )


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not str(value).lstrip("-").isdigit():
        raise UserError(f"model argument {name}={value}: a whole number should be there")
    return int(value)
