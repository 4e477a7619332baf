"""LoRA adapters in the transformers engine. They need peft, an extra of its own."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import UserError
from p2r_bench.types import EngineConfig
from tests.engines.requests_made import make_request

pytestmark = pytest.mark.integration


def answers(folder: Path, **args: str) -> list[str]:
    async def session() -> list[str]:
        engine = TransformersEngine(EngineConfig(str(folder), args=args))
        await engine.start()
        try:
            pairs = [make_request(number) for number in range(6)]
            return [c.text for c in await asyncio.gather(*(engine.generate(*p) for p in pairs))]
        finally:
            await engine.close()

    return asyncio.run(session())


def identity(folder: Path, **args: str) -> str:
    return asyncio.run(TransformersEngine(EngineConfig(str(folder), args=args)).identify())


def test_an_adapter_is_merged_and_identified(tiny_folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    base = Qwen3VLForConditionalGeneration.from_pretrained(tiny_folder)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = get_peft_model(base, config)
    adapted.save_pretrained(tmp_path / "adapter")
    shutil.copytree(tiny_folder, tmp_path / "merged")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    lora = str(tmp_path / "adapter")

    assert answers(tiny_folder, lora=lora) == answers(tmp_path / "merged")
    assert answers(tiny_folder, lora=lora) != answers(tiny_folder)
    assert identity(tiny_folder, lora=lora) != identity(tiny_folder)


def test_a_folder_without_an_adapter_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        answers(tiny_folder, lora=str(tmp_path))
