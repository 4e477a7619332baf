"""Tokens that end an answer, and tokens that are never sampled."""

from __future__ import annotations

from typing import Any

# Placeholders of images and videos: sampled, they would name pixels that are not there.
VISION_TOKENS = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
)


def end_ids(tokenizer: Any, config: Any, generation_config: Any) -> tuple[int, ...]:
    """End tokens of the tokenizer, the configuration and the generation configuration (None where there is none)."""
    ends = {tokenizer.eos_token_id}
    for source in (config, config.get_text_config(), generation_config):
        ids = getattr(source, "eos_token_id", None)
        ends.update(ids if isinstance(ids, (list, tuple)) else [ids])
    return tuple(sorted(i for i in ends if i is not None))


def suppressed_ids(tokenizer: Any, config: Any) -> tuple[int, ...]:
    """The vision tokens, by name and by what a Qwen3-VL configuration says."""
    vocabulary = tokenizer.get_vocab()
    ids = {vocabulary[token] for token in VISION_TOKENS if token in vocabulary}
    ids |= {config.image_token_id, config.video_token_id}
    ids |= {config.vision_start_token_id, config.vision_end_token_id}
    return tuple(sorted(ids))
