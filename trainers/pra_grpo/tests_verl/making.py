"""Stages, samples and verl configurations for the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import verl
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.overrides import overrides
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.config import Config, load_config
from p2r_bench_pra_grpo.data.load import load_samples
from p2r_bench_pra_grpo.stage import Frozen, Stage, StageRole
from verl import DataProto

from p2r_bench.bundled import resolve_model
from p2r_bench.types import Sample

TINY = Path(resolve_model("p2r-tiny-base"))
URL = {"kind": "url", "urls": ["http://localhost:9"]}
VERL_CONFIG = Path(verl.__file__).parent / "trainer" / "config"


def config_of(out: Path, rows: int = 8, **values: Any) -> Config:
    """A configuration of the verl backend on a few Synth-HR scenes and the bundled model."""
    table: dict[str, Any] = {
        "model": "p2r-tiny-base",
        "out": str(out),
        "backend": "verl",
        "data": [{"format": "synth-hr", "limit": rows, "params": {"rows": rows}}],
        "grpo": {"num_generations": 4, "batch_size": 2},
        "services": {"reasoner": URL, "perceiver": URL},
        "verl": {"reward_workers": 1, "rollout_workers": 1},
    }
    return load_config({**table, **values})


def stage_of(config: Config, role: StageRole, start: Path = TINY) -> Stage:
    """The first round's stage of a role."""
    folder = config.out / "round-1" / role
    return Stage(1, role, start, None if role == "baseline" else TINY, folder, seed=7)


def samples_of(config: Config) -> list[Sample]:
    """The configuration's samples."""
    return load_samples(config)


def verl_config(
    backend: VerlBackend, stage: Stage, paths: StagePaths, extra: Sequence[str] = ()
) -> DictConfig:
    """Return the configuration that verl's own entry point composes from a stage's overrides."""
    words = overrides(stage, backend.config, backend.settings, backend.profile, paths)
    with initialize_config_dir(str(VERL_CONFIG), version_base=None):
        return compose("ppo_trainer", [*words, *extra])


def prepared(
    config: Config,
    role: StageRole,
    frozen: Frozen | None = None,
    extra: Sequence[str] = (),
    at: Mapping[str, Any] | None = None,
) -> tuple[VerlBackend, Stage, StagePaths, DictConfig]:
    """A stage with all files that verl's processes read, and verl's configuration of it."""
    backend, stage = VerlBackend(config), stage_of(config, role)
    paths = StagePaths.next(stage)
    samples = samples_of(config)
    backend.prepare(stage, backend.rows(stage, samples, frozen), frozen or At(at), paths)
    return backend, stage, paths, verl_config(backend, stage, paths, extra)


def rolled_out(row: dict[str, Any], text: str, tokenizer: Any) -> DataProto:
    """Return the data that verl's agent loop passes to the reward for a generated text."""
    ids = torch.tensor([tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]])
    values = {name: np.array([value], dtype=object) for name, value in row.items()}
    del values["dummy_tensor"]
    tensors = {
        "prompts": ids[:, :1],
        "responses": ids,
        "attention_mask": torch.ones(1, 1 + ids.shape[1]),
    }
    return DataProto.from_dict(tensors=tensors, non_tensors=values)


class At:
    """A frozen model that is only named, never asked."""

    def __init__(self, at: Mapping[str, Any] | None) -> None:
        self.at = at or {"urls": ["http://localhost:9"], "model": "nobody"}


def read_journals(folder: Path) -> Iterator[dict[str, Any]]:
    """All lines of a folder's journals; one that is still being written is left out."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text("utf-8").split("\n")[:-1]:
            yield json.loads(line)
