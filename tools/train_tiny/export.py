"""Turns a stage-2 checkpoint into a model folder that transformers and vLLM load."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from model import WIDTH, build, config
from student import Student
from tokenizer import build_tokenizer, save, special_ids
from torch import nn
from transformers import GenerationConfig, Qwen3VLForConditionalGeneration
from vision import Heads

from p2r_bench.adapter import load_profile


def fold(linear: nn.Linear, bridge: nn.Linear) -> None:
    """Make `linear` do what the two did one after the other."""
    with torch.no_grad():
        linear.bias.copy_(bridge.weight @ linear.bias + bridge.bias)
        linear.weight.copy_(bridge.weight @ linear.weight)


def assemble(vision: Path, joint: Path) -> Qwen3VLForConditionalGeneration:
    """The whole model from the two stages' checkpoints, in float32."""
    tokenizer = build_tokenizer()
    ids = special_ids(tokenizer)
    model = build(config(-(-tokenizer.get_vocab_size() // 64) * 64, ids), 0)
    visual = model.model.visual
    taught = nn.ModuleDict({"visual": visual, "heads": Heads(), "deep_heads": Heads()})
    taught.load_state_dict(torch.load(vision, weights_only=False)["modules"])
    student = Student(model.model.language_model, nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
    saved = torch.load(joint, weights_only=False)
    student.load_state_dict(saved["student"])
    if "visual" in saved:
        visual.load_state_dict(saved["visual"])
    fold(visual.merger.linear_fc2, student.bridge)
    fold(visual.deepstack_merger_list[0].linear_fc2, student.deep_bridge)
    return model


def write(model: Qwen3VLForConditionalGeneration, folder: Path) -> None:
    """Write weights in float16, configuration, tokenizer, image processor settings and profile."""
    folder.mkdir(parents=True, exist_ok=True)
    text: Any = model.config.text_config
    generation: Any = GenerationConfig
    model.generation_config = generation(
        do_sample=False, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
    )
    model.half().save_pretrained(folder)  # type: ignore[no-untyped-call] # transformers
    save(folder)
    budget = load_profile("tiny").image
    processor = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "processor_class": "Qwen3VLProcessor",
        "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    (folder / "p2r_bench.json").write_text(json.dumps({"profile": "tiny"}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vision", type=Path, required=True)
    parser.add_argument("--joint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model = assemble(args.vision, args.joint)
    write(model, args.out)
    size = (args.out / "model.safetensors").stat().st_size
    print(
        f"{args.out}: {sum(p.numel() for p in model.parameters()):,} parameters, {size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
