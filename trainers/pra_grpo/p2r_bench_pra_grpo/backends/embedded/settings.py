"""The table `[embedded]` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """How this process trains.

    Attributes:
        device: "auto" (cuda, then mps, then cpu), or torch's name.
        dtype: Precision of computation, and of the weights that are read. The optimiser keeps float32 weights beside
            bfloat16 ones, which are rounded from them after every update.
        threads: Torch's threads on the CPU; None leaves torch's own choice. Part of what makes a run repeatable.
        train_vision: Also train the vision tower. Where not, it sees every image once.
        micro_batch: Prompts whose rollouts go through the model together when gradients are computed.
        frozen_batch: Requests that the frozen model answers together.
        passes: How often a step's rollouts are used for updates.
        max_grad_norm: Gradients of a mini-batch are scaled down to this norm.
        weight_decay: Of AdamW.
        warmup: Steps over which the learning rate rises from zero.
        shuffle_rewards: A control: every step's rewards are dealt out anew among all its rollouts, so that
            they say nothing about them.
        image_workers: Threads that decode and render images; None takes one per core.
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = field(default=None, metadata={"least": 1})
    train_vision: bool = False
    micro_batch: int = field(default=16, metadata={"least": 1})
    frozen_batch: int = field(default=64, metadata={"least": 1})
    passes: int = field(default=1, metadata={"least": 1})
    max_grad_norm: float = field(default=1.0, metadata={"more_than": 0})
    weight_decay: float = field(default=0.01, metadata={"least": 0})
    warmup: int = field(default=0, metadata={"least": 0})
    shuffle_rewards: bool = False
    image_workers: int | None = field(default=None, metadata={"least": 1})
