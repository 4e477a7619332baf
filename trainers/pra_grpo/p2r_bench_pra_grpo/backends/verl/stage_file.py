"""Description of a stage for verl's processes on any node: one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.config import Config, profile_of
from p2r_bench_pra_grpo.reading import read
from p2r_bench_pra_grpo.stage import StageRole

OPTION = "p2r_stage"
"""Key below verl's `data` that holds the path of the file."""


@dataclass(frozen=True)
class StageFile:
    """Description of a stage for its workers.

    Attributes:
        profile: Hash that the configuration's profile must have on every node.
        frozen: `Frozen.at`: address of the frozen model.
        rows: The stage's rows.
        journals: Folder of the journals of rollouts, one per reward worker.
    """

    role: StageRole
    round: int
    seed: int
    profile: str
    config: Config
    frozen: Mapping[str, Any] | None
    rows: Path
    journals: Path

    def write(self, path: Path) -> None:
        """Write the description to a file, replacing it atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(plain(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> StageFile:
        """Return the stage of a file.

        Raises:
            UserError: The file cannot be read; all nodes must see the training's folder under the same path.
        """
        try:
            values = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: the stage's file cannot be read ({error}); the training's folder must be at the "
                "same path on every node"
            ) from error
        values["config"] = read(Config, values["config"])
        paths = {key: Path(values[key]) for key in ("rows", "journals")}
        return cls(**{**values, **paths})

    def load_profile(self) -> Profile:
        """Return the stage's profile.

        Raises:
            UserError: The profile differs on this node.
        """
        profile = profile_of(self.config)
        if profile.hash != self.profile:
            raise UserError(
                f"profile {profile.name}: its hash here is {profile.hash[:12]}, the stage was begun with "
                f"{self.profile[:12]}; every node needs the same p2r-bench and the same profile files"
            )
        return profile


def stage_file_of(data_config: Any) -> StageFile:
    """Return the stage that verl's `data` configuration names; cached by process."""
    return _loaded(str(data_config[OPTION]))


@cache
def _loaded(path: str) -> StageFile:
    return StageFile.load(path)


def plain(value: Any) -> Any:
    """Return dataclasses, paths and tuples as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
