"""Checkpoints whose weights do not all load are refused before vLLM starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.bundled import resolve_model
from p2r_bench.engines.vllm_checkpoint import check_tensors, read_checkpoint
from p2r_bench.errors import UserError

pytestmark = pytest.mark.vllm

DOWN = "model.language_model.layers.0.mlp.down_proj.weight"
NORM = "model.language_model.norm.weight"


def changed(folder: Path, remove: tuple[str, ...] = (), **add: Any) -> Path:
    """A copy of the bundled checkpoint without some tensors and with others of the given length."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(resolve_model("p2r-tiny"), folder)
    tensors = load_file(folder / "model.safetensors")
    for name in remove:
        del tensors[name]
    tensors |= {name: torch.zeros(length) for name, length in add.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"remove": (DOWN,)}, rf"1 missing in the checkpoint.*{DOWN}"),
        ({"model.extra.weight": 2}, r"1 in the checkpoint without a place.*model\.extra\.weight"),
        ({NORM: 100}, r"1 of another shape.*norm\.weight \(\(100,\)"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_weights_that_do_not_all_load_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    folder = changed(tmp_path / "copy", **change)
    with pytest.raises(UserError, match=rf"(?s)copy: not all weights.*{said}"):
        check_tensors(read_checkpoint(folder, "copy"))


def test_whole_weights_pass_and_quantized_ones_are_not_checked(tmp_path: Path) -> None:
    check_tensors(read_checkpoint(Path(resolve_model("p2r-tiny")), "p2r-tiny"))
    folder = changed(tmp_path / "copy", remove=(DOWN,))
    checkpoint = read_checkpoint(folder, "copy")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "fp8"}
    (folder / "config.json").write_text(json.dumps(config))
    check_tensors(checkpoint)
