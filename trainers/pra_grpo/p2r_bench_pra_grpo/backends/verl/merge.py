"""verl's sharded checkpoints as Hugging Face folders."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from p2r_bench.errors import UserError

LATEST = "latest_checkpointed_iteration.txt"
"""Written by verl when a checkpoint is whole."""


def latest_step(checkpoints: Path) -> int | None:
    """Return the step of the newest whole checkpoint, or None."""
    try:
        return int((checkpoints / LATEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def shards(checkpoints: Path, step: int) -> Path:
    """Return the folder of the policy's shards of a step."""
    return checkpoints / f"global_step_{step}" / "actor"


def check_world_size(checkpoints: Path, step: int, gpus: int) -> None:
    """Refuse a checkpoint that was written by another number of GPUs.

    verl saves a shard per GPU and loads them by their number.

    Raises:
        UserError: The numbers differ. The message has both, and the way out.
    """
    found = {
        int(shard.name.split("_")[3])
        for shard in shards(checkpoints, step).glob("model_world_size_*_rank_*.pt")
    }
    if found and gpus not in found:
        raise UserError(
            f"{shards(checkpoints, step)}: written by {', '.join(map(str, sorted(found)))} GPUs, and "
            f"verl.nodes × verl.gpus_per_node is {gpus}. verl resumes a stage on the same number alone: restore it "
            f"until the stage has ended, or delete {checkpoints} to begin the stage again"
        )


def merge_command(python: str, local_dir: Path, target: Path) -> list[str]:
    """Return the words of verl's own command that merges the shards of a folder."""
    words = [python, "-m", "verl.model_merger", "merge", "--backend", "fsdp"]
    return [*words, "--local_dir", str(local_dir), "--target_dir", str(target)]


def merge(
    python: str,
    local_dir: Path,
    target: Path,
    start: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Merge into `target`, replacing it atomically. Weights are bfloat16, as verl's merger writes them.

    Args:
        start: The model that training began with: files that the merged folder lacks are copied from it.
        log: File for the merger's output.

    Raises:
        UserError: The merger failed; `target` is as it was.
    """
    beside = target.with_name(f".{target.name}.merging")
    shutil.rmtree(beside, ignore_errors=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            merge_command(python, local_dir, beside),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    if done.returncode != 0 or not any(beside.glob("*.safetensors")):
        shutil.rmtree(beside, ignore_errors=True)
        raise UserError(
            f"{local_dir}: verl's merger ended with status {done.returncode} and no model; its output is in {log}"
        )
    if (beside / "lora_adapter").exists():
        shutil.rmtree(beside)
        raise UserError(
            f"{local_dir}: verl trained an adapter and merged the base weights without it; remove what sets "
            "actor_rollout_ref.model.lora and train the stage again"
        )
    complete(beside, start)
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def complete(folder: Path, start: Path) -> None:
    """Copy the files that `folder` lacks, except weights and model card: image processor, chat template, profile's
    name.
    """
    for path in start.iterdir():
        weights = path.suffix in (".safetensors", ".bin", ".pt") or path.name.endswith(
            ".index.json"
        )
        wanted = path.is_file() and not weights and path.name != "README.md"
        if wanted and not (folder / path.name).exists():
            shutil.copy2(path, folder / path.name)
