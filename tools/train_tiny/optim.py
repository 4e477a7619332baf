"""One optimiser for matrices and one for the rest, with a warm-up, a plateau and a decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class Optimisers:
    """Muon on hidden matrices, AdamW on embeddings, norms, biases and heads."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        steps: int,
        warmup: int = 100,
        decay: float = 0.35,
        scale: dict[str, float] | None = None,
    ) -> None:
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, p in named:
            if not p.requires_grad:
                continue
            matrix = p.ndim == 2 and not any(k in name for k in ("embed", "head"))
            factor = next((f for k, f in (scale or {}).items() if k in name), 1.0)
            groups.setdefault((matrix, factor), []).append(p)
        self.all = []
        for (matrix, factor), params in groups.items():
            if matrix:
                opt: torch.optim.Optimizer = torch.optim.Muon(
                    params, lr=lr * factor, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
                )
            else:
                opt = torch.optim.AdamW(params, lr=lr * factor, betas=(0.9, 0.98), weight_decay=0.0)
            self.all.append(opt)
        self.params = [p for params in groups.values() for p in params]
        self.base = [[g["lr"] for g in o.param_groups] for o in self.all]
        self.steps, self.warmup, self.decay = steps, warmup, decay

    def factor(self, step: int) -> float:
        """The learning rate's share at a step: linear up, flat, linear down to a hundredth."""
        falling = self.steps * self.decay
        return max(0.01, min(1.0, (step + 1) / self.warmup, (self.steps - step) / falling))

    def step(self, step: int) -> None:
        """Clip, update, clear."""
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        for opt, base in zip(self.all, self.base, strict=True):
            for group, lr in zip(opt.param_groups, base, strict=True):
                group["lr"] = lr * self.factor(step)
            opt.step()
            opt.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        return [o.state_dict() for o in self.all]

    def load(self, state: list[dict[str, Any]]) -> None:
        for opt, saved in zip(self.all, state, strict=True):
            opt.load_state_dict(saved)
