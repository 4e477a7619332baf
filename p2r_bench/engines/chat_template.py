"""A checkpoint's chat template, and its use to convert requests to token ids."""

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
    """Converter of a request's text to token ids. Not thread-safe.

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
    """Check that prompt and output fit the model's context.

    Args:
        context: Longest prompt and output together, in tokens.

    Raises:
        EngineError: Prompt and output exceed the context.
    """
    if prompt_tokens + request.sampling.max_tokens > context:
        raise EngineError(
            f"{request.id}: {prompt_tokens} prompt tokens and {request.sampling.max_tokens} for the output "
            f"exceed the model's {context}",
            kind="too_long",
            retryable=False,
        )


def chat_template(folder: Path, tokenizer: Any) -> str:
    """Return the chat template of a model folder: the template file's, else the tokenizer configuration's.

    Raises:
        UserError: The folder has no usable template.
    """
    template = _stored_template(folder, tokenizer)
    if not template:
        raise UserError(
            f"{folder}: the model has no chat template (chat_template.jinja). {_WAY_OUT}"
        )
    _check_template(folder, tokenizer, template)
    return template


_WAY_OUT = "Copy it from the model that this one was made from."


def _stored_template(folder: Path, tokenizer: Any) -> str | None:
    for name in ("chat_template.jinja", "chat_template.json"):
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".jinja":
                return text
            try:
                return str(json.loads(text)["chat_template"])
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}: no chat template in it ({error!r}). {_WAY_OUT}"
                ) from error
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def _check_template(folder: Path, tokenizer: Any, template: str) -> None:
    """Check that a template shows a message's text and its image."""
    text = "What is this?"

    def rendered(*images: dict[str, str]) -> str:
        messages = [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]
        return str(
            tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=True
            )
        )

    try:
        plain, with_image = rendered(), rendered({"type": "image"})
    except Exception as error:  # a template is a program: it can raise anything
        raise UserError(
            f"{folder}: the chat template cannot be used: {type(error).__name__}: {error}. {_WAY_OUT}"
        ) from error
    for shown, what in (
        (text in plain and text in with_image, "text"),
        (plain != with_image, "image"),
    ):
        if not shown:
            raise UserError(
                f"{folder}: the chat template leaves out the {what} of a message. {_WAY_OUT}"
            )
