"""Runs through a started vLLM, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.types import Completion, EngineConfig

ROWS: dict[str, Any] = {
    "mode": "p2r",
    "tasks": "Synth-HR",
    "limit": 200,
    "task_params": {"seed": 11, "rows": 200},
}
"""Arguments of the runs: 200 rows of 50 images, in two stages."""


def texts_by_sample(run: Path) -> dict[str, tuple[str, ...]]:
    """Texts of all stages by sample."""
    rows = pandas.read_parquet(run / "samples.parquet")
    assert (rows["status"] == "ok").all(), rows["error_message"].dropna().tolist()[:3]
    return {
        row.sample_id: tuple(call["text"].strip() for call in row.stages)
        for row in rows.itertuples()
    }


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Samples whose texts differ, with both, for a human to read."""
    return [
        f"{name}\n  here:  {ours[name]}\n  there: {theirs[name]}"
        for name in theirs
        if ours[name] != theirs[name]
    ]


def with_transformers(model: str, pairs: Sequence[tuple[Any, Any]]) -> list[Completion]:
    """The transformers engine's answers, in float32 on the CPU."""

    async def session() -> list[Completion]:
        engine = TransformersEngine(EngineConfig(model, args={"device": "cpu"}))
        await engine.start()
        try:
            return list(await asyncio.gather(*(engine.generate(*pair) for pair in pairs)))
        finally:
            await engine.close()

    return asyncio.run(session())
