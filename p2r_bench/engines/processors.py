"""Requests as model inputs, by the checkpoint's own processor, which resizes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from p2r_bench.engines.chat import check_images
from p2r_bench.engines.chat_template import check_length, prompt_text
from p2r_bench.engines.model_files import read_json
from p2r_bench.errors import EngineError, UserError
from p2r_bench.families import Budget, Family
from p2r_bench.types import Request, Size

PROBE_SIZE = (300, 200)
"""Size in pixels of the test image at start, before the family fits it."""
PROBE_BUDGET = Budget(1 << 16, 1 << 20)


def load_processor(folder: Path, config: Any, name: str) -> ProcessorMixin:
    """Return the checkpoint's processor, without video and audio parts that cannot be loaded.

    The video processors of transformers need torchvision, which images do not need.

    Args:
        config: The checkpoint's configuration.
        name: The name that the user gave the model, for messages.

    Raises:
        UserError: The tokenizer or image processor cannot be loaded, or transformers has no processor class.
    """
    automatic: Any = AutoProcessor
    try:
        processor = automatic.from_pretrained(folder)
        if isinstance(processor, ProcessorMixin):
            return processor
    except (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # loading its parts one by one finds which of them is at fault
    base: Any = PROCESSOR_MAPPING.get(type(config), None)
    if base is None:
        raise UserError(
            f"{name}: transformers has no processor for model_type {config.model_type!r}. Serve the model with an "
            "OpenAI-compatible server and use --engine openai."
        )
    parts = {
        "image_processor": _image_processor(folder, name),
        "tokenizer": _tokenizer(folder, name),
    }
    path = folder / "processor_config.json"
    stored = read_json(path) if path.is_file() else {}
    accepted = inspect.signature(base.__init__).parameters
    settings = {key: stored[key] for key in stored.keys() & accepted.keys() if key not in parts}
    absent = dict.fromkeys(base.get_attributes(), None)
    processor_class: Any = type(
        base.__name__, (base,), {"check_argument_for_proper_class": _check_part}
    )
    made: ProcessorMixin = processor_class(**{**settings, **absent, **parts})
    return made


def _check_part(self: Any, name: str, part: object) -> object:
    """Allow a part of a processor to be absent."""
    check: Any = ProcessorMixin.check_argument_for_proper_class
    return None if part is None else check(self, name, part)


def _tokenizer(folder: Path, name: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise UserError(
            f"{name}: the tokenizer in {folder} cannot be loaded: {error}. Copy tokenizer.json and "
            "tokenizer_config.json from the model that this one was made from."
        ) from error


def _image_processor(folder: Path, name: str) -> Any:
    automatic: Any = AutoImageProcessor
    try:
        return automatic.from_pretrained(folder)
    except (ImportError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{name}: the image processor in {folder} cannot be loaded: {error}. Copy "
            "preprocessor_config.json from the model that this one was made from."
        ) from error


@dataclass(frozen=True)
class Prompt:
    """Model inputs of one request.

    Attributes:
        tensors: Keyword arguments of the model's forward, with one row of tokens.
        visual_tokens: Placeholders of images among the tokens.
    """

    tensors: dict[str, torch.Tensor]
    visual_tokens: int

    @property
    def length(self) -> int:
        """Number of tokens of the prompt."""
        return self.tensors["input_ids"].shape[1]

    @property
    def ids(self) -> list[int]:
        """Token ids of the prompt."""
        ids: list[int] = self.tensors["input_ids"][0].tolist()
        return ids

    @property
    def kind(self) -> tuple[tuple[int, ...], ...]:
        """Key of prompts that can share a batch: equal if their images can be concatenated, or if they have none."""
        return tuple(
            tuple(value.shape[1:])
            for key, value in sorted(self.tensors.items())
            if value.shape[:2] != (1, self.length)
        )


class PromptBuilder:
    """Makes prompts with a checkpoint's processor and chat template. Not thread-safe.

    Args:
        template: The chat template.
        family: The model family, by whose rule visual tokens are checked.
        context: Longest prompt and output in tokens.
        dtype: Precision of the model's weights.
    """

    def __init__(
        self,
        processor: Any,
        template: str,
        family: Family,
        *,
        image_id: int,
        context: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.processor = processor
        self.template = template
        self.family = family
        self.image_id = image_id
        self.context = context
        self.dtype = dtype

    def build(self, request: Request, images: Sequence[Image.Image]) -> Prompt:
        """Return the prompt of a request.

        Raises:
            EngineError: Images or text do not fit the model or its context, or the processor resizes an image.
        """
        check_images(request, images, self.family.alignment)
        text = prompt_text(
            request, self.processor.tokenizer, self.template, self.processor.image_token
        )
        try:
            tensors = self._process(text, images)
        except (ValueError, RuntimeError) as error:
            raise EngineError(
                f"{request.id}: the model's processor refuses it: {error}",
                kind="prompt",
                retryable=False,
            ) from error
        visual = int((tensors["input_ids"] == self.image_id).sum())
        expected = self._expected([image.size for image in images])
        if expected is not None and visual != expected:
            raise EngineError(
                f"{request.id}: the model's processor makes {visual} visual tokens of the images, and by the rule of "
                f"the family {self.family.name} they have {expected}: it resized them",
                kind="images",
                retryable=False,
            )
        check_length(request, tensors["input_ids"].shape[1], self.context)
        return Prompt(tensors, visual)

    def check(self, name: str) -> None:
        """Check at start that the processor makes as many visual tokens of an image as the family's rule says.

        Raises:
            UserError: The processor makes another number.
        """
        size = self.family.fit(PROBE_SIZE, PROBE_BUDGET)
        expected = self._expected([size])
        try:
            tensors = self._process(self.processor.image_token, [Image.new("RGB", size)])
            counted = int((tensors["input_ids"] == self.image_id).sum())
            outcome = f"makes {counted} visual tokens of"
        except (ValueError, RuntimeError, AttributeError, TypeError) as error:
            counted, outcome = -1, f"fails ({error}) on"
        if counted < 0 or (expected is not None and counted != expected):
            raise UserError(
                f"{name}: its processor {outcome} an image of {size[0]}×{size[1]} pixels, which has {expected} visual "
                f"tokens in the family {self.family.name}. Copy preprocessor_config.json from the model that this one "
                "was made from."
            )

    def _expected(self, sizes: Sequence[Size]) -> int | None:
        """Return the visual tokens by the family's rule, or None if the rule does not give them."""
        counts = [self.family.visual_tokens(size) for size in sizes]
        return None if None in counts else sum(count or 0 for count in counts)

    def _process(self, text: str, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """Return the processor's tensors, with pixels in the model's precision."""
        found = self.processor(
            text=[text],
            images=[list(images)] if images else None,
            images_kwargs=self.family.processor_arguments([image.size for image in images]),
            # A chat template writes all special tokens itself.
            text_kwargs={"add_special_tokens": False},
            return_tensors="pt",
        )
        return {
            key: value.to(self.dtype) if value.is_floating_point() else value
            for key, value in found.items()
        }
