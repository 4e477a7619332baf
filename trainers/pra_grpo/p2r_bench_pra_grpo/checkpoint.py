"""The result of a stage: a load test, and the description of its training."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from p2r_bench.adapter import Profile, builtin_profiles, load_profile
from p2r_bench.atomic import replacing
from p2r_bench.errors import EngineError, UserError
from p2r_bench.models import model_digest, model_profile
from p2r_bench.plugins import registry
from p2r_bench.session import versions
from p2r_bench.types import Engine, EngineConfig
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.services.health import check_health
from p2r_bench_pra_grpo.stage import Stage

MANIFEST = "training.json"
"""File of a model folder that describes its training."""


class BadCheckpoint(UserError):
    """A model folder that does not work."""


def load_test(folder: Path, config: Config, profile: Profile) -> dict[str, Any]:
    """Check that all weights are finite and load with the evaluation's engine, and generate once.

    Returns:
        The digest of the weights, the engine's facts and the tokens generated.

    Raises:
        BadCheckpoint: A check fails.
    """
    for name in tensors_not_finite(folder):
        raise BadCheckpoint(f"{folder}: {name} holds values that are not finite")
    args = {k: _text(v) for k, v in config.evaluation.engine_args.items()}
    made: Engine = registry().get("engine", config.evaluation.engine)(
        EngineConfig(str(folder), None, args, profile.max_images)
    )

    async def generate() -> dict[str, Any]:
        try:
            await made.start()
            completion = await check_health(made, profile)
            return {
                "digest": model_digest(folder),
                "tokens": completion.output_tokens,
                "engine": dict(made.capabilities().facts),
            }
        finally:
            await made.close()

    try:
        return asyncio.run(generate())
    except (EngineError, UserError) as error:
        raise BadCheckpoint(f"{folder}: the load test fails: {error}") from error


def tensors_not_finite(folder: Path) -> Iterator[str]:
    """Yield the names of the tensors that hold NaN or infinity.

    Raises:
        BadCheckpoint: A file is no safetensors file, or is cut off.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadCheckpoint(f"{folder}: no *.safetensors file")
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    if not file.get_tensor(name).isfinite().all():
                        yield f"{path.name}: {name}"
        except (SafetensorError, OSError) as error:
            raise BadCheckpoint(f"{path}: not a safetensors file, or cut off ({error})") from error


def write_manifest(
    stage: Stage, config: Config, profile: Profile, facts: Mapping[str, Any]
) -> None:
    """Write the description of the training, and the profile, into the stage's model folder.

    Args:
        facts: Further facts: the digests of start, frozen model and data, and the backend's facts.
    """
    role = stage.role
    manifest = {
        "trainer": "pra-grpo",
        "backend": config.backend,
        "round": stage.round,
        "role": role,
        "profile": {"name": profile.name, "hash": profile.hash},
        "grpo": asdict(config.grpo_for(role)),
        "reward": asdict(config.reward),
        "seed": stage.seed,
        "about": config.about,
        "versions": versions(),
        **facts,
    }
    _write(stage.model / MANIFEST, manifest)
    _label(stage.model, profile)


def _label(folder: Path, profile: Profile) -> None:
    """Write the training's profile into the folder by name if it is built in; else remove a different profile's name."""
    path = folder / "p2r_bench.json"
    for name in dict.fromkeys((profile.name, *builtin_profiles())):
        if name in builtin_profiles() and load_profile(name).hash == profile.hash:
            _write(path, {"profile": name})
            return
    if not _asks_for(folder, profile):
        path.unlink(missing_ok=True)


def _asks_for(folder: Path, profile: Profile) -> bool:
    """Return True if the file copied from the start model names this profile."""
    try:
        name = model_profile(folder)
        return name is not None and load_profile(name).hash == profile.hash
    except UserError:
        return False


def _write(path: Path, value: object) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
