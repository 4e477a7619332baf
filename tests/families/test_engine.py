"""Every open family runs through the transformers engine, on a tiny model with random weights."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from p2r_bench.cli import main
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.families import Budget, find_family
from p2r_bench.store.schema import SAMPLES
from p2r_bench.store.tables import read_rows
from p2r_bench.types import EngineConfig
from tests.engines.requests_made import make_request
from tests.families.tiny_models import TINY, make_family_model

BUDGET = Budget(65_536, 700_000)
SIZES = [((300, 200),), ((900, 700), (200, 200)), ((100, 600),), ()]


@pytest.fixture(scope="module", params=TINY)
def family_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    return request.param, make_family_model(tmp_path_factory.mktemp("model"), request.param)


async def both(folder: Path, family: str) -> tuple[list[Any], list[Any]]:
    """Answers one by one, and together."""
    pairs = [
        make_request(
            number,
            sizes=tuple(find_family(family).fit(size, BUDGET) for size in sizes),
            text="what? " * number,
            max_tokens=8,
        )
        for number, sizes in enumerate(SIZES)
    ]
    engine = TransformersEngine(EngineConfig(str(folder), args={"device": "cpu"}))
    await engine.start()
    try:
        alone = [
            (await asyncio.gather(engine.generate(*pair), return_exceptions=True))[0]
            for pair in pairs
        ]
        calls = (engine.generate(*pair) for pair in pairs)
        return alone, await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await engine.close()


def test_answers_are_the_same_alone_and_in_a_padded_batch(family_folder: tuple[str, Path]) -> None:
    name, folder = family_folder
    family = find_family(name)
    alone, together = asyncio.run(both(folder, name))
    assert [c.text for c in alone] == [c.text for c in together]
    expected = [
        sum(family.visual_tokens(family.fit(size, BUDGET)) or 0 for size in sizes)
        for sizes in SIZES
    ]
    assert [c.visual_tokens for c in together] == expected


PROFILE = """
name = "small"
extends = "p2r"
family = "auto"
[image]
max_pixels = 250000
min_pixels = 8192
[sampling.perceive]
max_tokens = 12
[sampling.reason]
max_tokens = 12
[sampling.think]
max_tokens = 12
[sampling.answer]
max_tokens = 12
"""


@pytest.mark.slow
def test_runs_count_the_visual_tokens_of_the_engine_and_of_the_family(
    family_folder: tuple[str, Path], tmp_path: Path
) -> None:
    _, folder = family_folder
    (tmp_path / "small.toml").write_text(PROFILE)
    options = {
        "--model": folder,
        "--mode": "default,thinking,p2r",
        "--tasks": "Synth-HR",
        "--task-arg": "rows=4",
        "--limit": 2,
        "--profile": tmp_path / "small.toml",
        "--engine": "transformers",
        "--engine-arg": "device=cpu",
        "--out": tmp_path / "out",
    }
    arguments = [str(word) for option in options.items() for word in option]
    result = CliRunner().invoke(main, ["run", *arguments, "--quiet"])
    assert result.exit_code == 0, result.output
    calls = []
    for folder in (tmp_path / "out" / "runs").iterdir():
        for sample in read_rows(folder / "samples.parquet", SAMPLES):
            assert sample["status"] == "ok", sample["error_message"]
            calls += sample["stages"]
    assert Counter(call["role"] for call in calls) == dict.fromkeys(
        ("answer", "think", "perceive", "reason"), 2
    )
    for call in calls:
        assert call["visual_tokens"] == call["engine_visual_tokens"] > 0
