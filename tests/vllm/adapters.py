"""LoRA adapters with random weights, and the same changes merged into a copy of the model."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
ALPHA = 16.0


@dataclass(frozen=True)
class Adapted:
    """Folders of an adapter and of a model with the adapter merged into its weights."""

    adapter: str
    merged: str


def make_adapter(base: Path, folder: Path, *, rank: int, seed: int) -> Adapted:
    """Write both, for all layers of the language model of `base`."""
    import torch
    from safetensors.torch import load_file, save_file

    draw = torch.Generator().manual_seed(seed)
    weights = load_file(base / "model.safetensors")
    matrices: dict[str, torch.Tensor] = {}
    for name in sorted(weights):
        module = name.removesuffix(".weight")
        if ".layers." not in module or not module.endswith(TARGETS):
            continue
        rows, columns = weights[name].shape
        down = torch.randn(rank, columns, generator=draw) * columns**-0.5
        up = torch.randn(rows, rank, generator=draw) * 0.05
        path = f"base_model.model.{module}"
        matrices |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}
        change = ALPHA / rank * up @ down
        weights[name] = weights[name].float() + change
    adapter, merged = folder / "adapter", folder / "merged"
    adapter.mkdir(parents=True)
    save_file(matrices, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "r": rank,
                "lora_alpha": ALPHA,
                "target_modules": [target.split(".")[-1] for target in TARGETS],
                "bias": "none",
            }
        )
    )
    shutil.copytree(base, merged, ignore=shutil.ignore_patterns("model.safetensors"))
    save_file({n: w.float() for n, w in weights.items()}, merged / "model.safetensors")
    return Adapted(str(adapter), str(merged))
