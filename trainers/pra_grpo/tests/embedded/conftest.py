"""The bundled model, opened once, and rollouts of prompts about tiny pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from p2r_bench_pra_grpo.backends.embedded.frozen import open_model
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt, PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.policy import Policy
from p2r_bench_pra_grpo.config import Config, load_config
from p2r_bench_pra_grpo.data.load import load_samples
from pra_grpo_testing import write_p2r10k

from p2r_bench.adapter import TwoStage, decode, load_profile, render
from p2r_bench.bundled import resolve_model
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import Request, Sample

MODEL = Path(resolve_model("p2r-tiny-base"))

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def opened() -> tuple[Policy, PromptBuilder]:
    """The policy, which no test changes, and what makes its prompts."""
    loaded, builder = open_model(MODEL, device="cpu", dtype="float32")
    return Policy(loaded), builder


@pytest.fixture
def policy(fresh: Callable[[], Policy]) -> Policy:
    """A policy that a test may change."""
    return fresh()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Four questions about pictures of their own."""
    folder = tmp_path_factory.mktemp("tiny")
    return load_samples(load_config(tiny_values(folder)))


@pytest.fixture(scope="session")
def prompts(opened: tuple[Policy, PromptBuilder], samples: Sequence[Sample]) -> list[Prompt]:
    """Perceiver's prompts, and single calls, which are of another length."""
    two, builder = TwoStage(load_profile("tiny")), opened[1]
    asked = [two.perceive_request(s) for s in samples[:2]]
    asked.append(two.single_request(samples[2], "think"))
    return [prompt_of(builder, s, r) for s, r in zip(samples, asked, strict=False)]


def prompt_of(builder: PromptBuilder, sample: Sample, request: Request) -> Prompt:
    source = decode(read_image(sample.image))
    return builder.build(request, [render(recipe, source) for recipe in request.recipes])


def tiny_values(folder: Path) -> dict[str, Any]:
    """A configuration of three steps on tiny data, as a TOML file has it."""
    return {
        "model": str(MODEL),
        "out": str(folder / "out"),
        "data": [{"format": "p2r-10k", "path": str(write_p2r10k(folder, 4))}],
        "grpo": {
            "num_generations": 3,
            "batch_size": 2,
            "num_epochs": 2,
            "max_steps": 3,
            "learning_rate": 1e-3,
            "entropy_coef": 0.01,
            "max_response_tokens": 24,
            "save_steps": 1,
        },
        "embedded": {"threads": 1, "micro_batch": 1, "image_workers": 1},
    }


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """See `tiny_values`."""
    return tiny_values(tmp_path)


@pytest.fixture
def config(values: dict[str, Any]) -> Config:
    """The same, read."""
    return load_config(values)


@pytest.fixture
def fresh() -> Callable[[], Policy]:
    """Opens policies that a test may change."""
    return lambda: Policy(open_model(MODEL, device="cpu", dtype="float32")[0])
