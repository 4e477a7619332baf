"""Requests as token ids, pixels and positions, ready for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from p2r_bench.engines.chat import chat_messages, check_images
from p2r_bench.engines.patches import Patches
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Request


@dataclass(frozen=True)
class Prompt:
    """What the model reads for one request.

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
    """Makes prompts with a checkpoint's tokenizer and chat template. Not for several threads at once."""

    def __init__(
        self, tokenizer: Any, template: str, base_model: Any, patches: Patches, context: int
    ) -> None:
        config = base_model.config
        self.tokenizer = tokenizer
        self.template = template
        self.base_model = base_model
        self.patches = patches
        self.context = context
        self.image_id = int(config.image_token_id)
        self.image_token = tokenizer.convert_ids_to_tokens(self.image_id)

    def build(self, request: Request, images: Sequence[Image.Image]) -> Prompt:
        """The prompt of a request.

        Raises:
            EngineError: Images or text do not fit the model or its context.
        """
        check_images(request, images, self.patches.factor)
        text = self.tokenizer.apply_chat_template(
            chat_messages(request, lambda _: {"type": "image"}),
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=True,
        )
        pieces = text.split(self.image_token)
        if len(pieces) != len(images) + 1:
            raise EngineError(
                f"{request.id}: {len(pieces) - 1} image placeholders in the prompt for {len(images)} images; "
                f"the question must not contain {self.image_token}",
                kind="prompt",
                retryable=False,
            )
        counts = [self.patches.tokens(*image.size) for image in images]
        # Special tokens part the text before it is split further, so its pieces can be read alone.
        ids: list[int] = []
        for piece, count in zip(pieces, [*counts, 0], strict=True):
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
            ids += [self.image_id] * count
        if len(ids) + request.sampling.max_tokens > self.context:
            raise EngineError(
                f"{request.id}: {len(ids)} prompt tokens and {request.sampling.max_tokens} for the output "
                f"exceed the model's {self.context}",
                kind="too_long",
                retryable=False,
            )
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


def chat_template(folder: Path, tokenizer: Any) -> str:
    """The chat template of a model folder: a file of its own before the one inside the tokenizer's configuration.

    Raises:
        UserError: There is none.
    """
    import json

    for name in ("chat_template.jinja", "chat_template.json"):
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            return text if path.suffix == ".jinja" else str(json.loads(text)["chat_template"])
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise UserError(f"{folder}: the model has no chat template (chat_template.jinja).")
    return str(template)
