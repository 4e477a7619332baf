"""Tokens that end an answer, and tokens that are never sampled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_PLACEHOLDER = re.compile(r"(image|video|vision|audio|boi|eoi|boa|eoa)\w*_token_(id|index)")
"""Keys of a configuration that hold ids of placeholder tokens."""

# Placeholders of images and videos: sampled, they would name pixels that are not there.
VISION_TOKENS = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
)


def end_ids(tokenizer: Any, config: Any, generation_config: Any) -> tuple[int, ...]:
    """Return the end tokens of the tokenizer, the configuration and the generation configuration, which may be None."""
    ends = {tokenizer.eos_token_id}
    for source in (config, config.get_text_config(), generation_config):
        ids = getattr(source, "eos_token_id", None)
        ends.update(ids if isinstance(ids, (list, tuple)) else [ids])
    return tuple(sorted(i for i in ends if i is not None))


def suppressed_ids(
    tokenizer: Any, config: Any, names: Iterable[str] = VISION_TOKENS
) -> tuple[int, ...]:
    """Return the tokens that stand for images, videos and audio, by name and by the configuration's ids."""
    vocabulary = tokenizer.get_vocab()
    ids = {vocabulary[name] for name in names if name in vocabulary}
    ids |= {
        value
        for key, value in vars(config).items()
        if _PLACEHOLDER.fullmatch(key) and isinstance(value, int)
    }
    size = config.get_text_config().vocab_size
    return tuple(sorted(i for i in ids if 0 <= i < size))
