"""A checkpoint of verl's own manager: `torch.distributed.run --nproc-per-node 2 shard_tiny.py MODEL FOLDER`."""

from __future__ import annotations

import sys

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText, AutoTokenizer
from verl.trainer.config import CheckpointConfig
from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

CHANGE = 1.25
"""Factor on every weight, as if it had been trained."""

if __name__ == "__main__":
    start, folder = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),), mesh_dim_names=("fsdp",))
    model = AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(CHANGE)
    for layer in model.model.language_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    manager = FSDPCheckpointManager(
        model,
        processing_class=AutoTokenizer.from_pretrained(start),
        checkpoint_config=CheckpointConfig(save_contents=["model"]),
    )
    manager.save_checkpoint(folder, global_step=3)
    torch.distributed.destroy_process_group()
