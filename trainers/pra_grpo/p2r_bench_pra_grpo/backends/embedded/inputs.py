"""Requests as token ids, pixels and positions, ready for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from p2r_bench.engines import PromptText, check_images, check_length
from p2r_bench.types import Request
from p2r_bench_pra_grpo.backends.embedded.patches import Patches


@dataclass(frozen=True)
class Prompt:
    """Input of the model for one request.

    Attributes:
        ids: Token ids; an image stands as its visual tokens' placeholders.
        positions: (3, length): time, row and column of every token, as the family's M-RoPE counts them.
        offset: The token at index i ≥ len(ids) has position i + offset in all three.
        images: (height, width, 3) uint8 each.
        visual_tokens: Placeholders among `ids`.
    """

    ids: tuple[int, ...]
    positions: torch.Tensor
    offset: int
    images: tuple[torch.Tensor, ...]
    visual_tokens: int


class PromptBuilder:
    """Builder of prompts with a checkpoint's tokenizer and chat template. Not thread-safe."""

    def __init__(
        self, tokenizer: Any, template: str, base_model: Any, patches: Patches, context: int
    ) -> None:
        self.base_model = base_model
        self.patches = patches
        self.context = context
        self.image_id = int(base_model.config.image_token_id)
        self.text = PromptText(tokenizer, template, self.image_id)

    def build(self, request: Request, images: Sequence[Image.Image]) -> Prompt:
        """Return the prompt of a request.

        Raises:
            EngineError: Images or text do not fit the model or its context.
        """
        check_images(request, images, self.patches.factor)
        counts = [self.patches.tokens(*image.size) for image in images]
        ids: list[int] = []
        for piece, count in zip(self.text.pieces(request), [*counts, 0], strict=True):
            ids += piece
            ids += [self.image_id] * count
        check_length(request, len(ids), self.context)
        positions, offset = self._positions(ids, images)
        return Prompt(
            ids=tuple(ids),
            positions=positions,
            offset=offset,
            images=tuple(torch.from_numpy(np.array(image)) for image in images),
            visual_tokens=sum(counts),
        )

    def _positions(self, ids: list[int], images: Sequence[Image.Image]) -> tuple[torch.Tensor, int]:
        row = torch.tensor([ids])
        grid = (
            torch.tensor([self.patches.grid(*image.size) for image in images]) if images else None
        )
        positions, offset = self.base_model.get_rope_index(
            input_ids=row, mm_token_type_ids=(row == self.image_id).int(), image_grid_thw=grid
        )
        return positions[:, 0], int(offset.item())
