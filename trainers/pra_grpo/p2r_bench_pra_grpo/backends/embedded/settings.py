"""The table `[embedded]` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from p2r_bench_pra_grpo.reading import TABLE, Count, NotNegative, Positive


@dataclass(frozen=True, config=TABLE)
class Settings:
    """Settings of the embedded backend.

    Attributes:
        device: "auto" (cuda, then mps, then cpu), or torch's name.
        dtype: Precision of computation, and of the weights that are read. The optimiser keeps float32 weights beside
            bfloat16 ones, which are rounded from them after every update.
        threads: Torch's threads on the CPU; None leaves torch's own choice. Repeatable runs need the same number.
        train_vision: Also train the vision tower. A frozen tower encodes every image once.
        micro_batch: Prompts whose rollouts go through the model together when gradients are computed.
        frozen_batch: Requests that the frozen model answers together.
        num_iterations: Updates with the same rollouts.
        max_grad_norm: Gradients of a mini-batch are scaled down to this norm.
        weight_decay: Weight decay of AdamW.
        warmup_steps: Steps over which the learning rate rises from zero.
        shuffle_rewards: Control: permute each step's rewards among all its rollouts, so that they carry no information.
        image_workers: Threads that decode and render images; None takes one per core.
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: Count | None = None
    train_vision: bool = False
    micro_batch: Count = 16
    frozen_batch: Count = 64
    num_iterations: Count = 1
    max_grad_norm: Positive = 1.0
    weight_decay: NotNegative = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    shuffle_rewards: bool = False
    image_workers: Count | None = None
