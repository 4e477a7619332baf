"""Requests as token ids: a checkpoint's chat template and tokenizer, the same for every engine in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from p2r_bench.engines.chat import chat_messages
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Request


def prompt_text(request: Request, tokenizer: Any, template: str, image_token: str) -> str:
    """Return the text of a request by a chat template, with one placeholder for each image.

    Raises:
        EngineError: The text holds the image placeholder itself.
    """
    text = str(
        tokenizer.apply_chat_template(
            chat_messages(request, lambda _: {"type": "image"}),
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
        )
    )
    found, images = text.count(image_token), len(request.recipes)
    if found != images:
        raise EngineError(
            f"{request.id}: {found} image placeholders in the prompt for {images} images; "
            f"the question must not contain {image_token}",
            kind="prompt",
            retryable=False,
        )
    return text


class PromptText:
    """Reads the text of requests. Not for several threads at once.

    Attributes:
        image_id: Token that stands for an image in the prompt.
    """

    def __init__(self, tokenizer: Any, template: str, image_id: int) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.image_id = image_id
        self._image_token = tokenizer.convert_ids_to_tokens(image_id)

    def pieces(self, request: Request) -> list[list[int]]:
        """Token ids before, between and after the images of a request: one list more than there are images.

        Raises:
            EngineError: The text holds the image placeholder itself.
        """
        text = prompt_text(request, self.tokenizer, self.template, self._image_token)
        pieces = text.split(self._image_token)
        # Special tokens part the text before it is split further, so its pieces can be read alone.
        return [self.tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces]


def check_length(request: Request, prompt_tokens: int, context: int) -> None:
    """Prompt and output must fit.

    Args:
        context: Longest prompt and output together, in tokens.

    Raises:
        EngineError: They do not.
    """
    if prompt_tokens + request.sampling.max_tokens > context:
        raise EngineError(
            f"{request.id}: {prompt_tokens} prompt tokens and {request.sampling.max_tokens} for the output "
            f"exceed the model's {context}",
            kind="too_long",
            retryable=False,
        )


def chat_template(folder: Path, tokenizer: Any) -> str:
    """The chat template of a model folder: a file of its own before the one inside the tokenizer's configuration.

    Raises:
        UserError: There is none.
    """
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
