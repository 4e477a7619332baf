"""A model folder of each open family with random weights, built from configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    Gemma4Config,
    GenerationConfig,
    Glm4vConfig,
    InternVLConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
)

Ids = dict[str, int]
TEMPLATE = (
    "{{% for message in messages %}}{start}{{{{ message.role }}}}\n"
    "{{% if message.content is string %}}{{{{ message.content }}}}{{% else %}}"
    "{{% for part in message.content %}}{{% if part.type == 'image' %}}{image}"
    "{{% else %}}{{{{ part.text }}}}{{% endif %}}{{% endfor %}}{{% endif %}}{end}\n{{% endfor %}}"
    "{{% if add_generation_prompt %}}{start}assistant\n{{% endif %}}"
)
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32768,
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
}
VISION = {"hidden_size": 32, "intermediate_size": 32, "initializer_range": 0.3}
QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>")


@dataclass(frozen=True)
class Tiny:
    """The parts of a family that its folder is made from.

    Attributes:
        tokens: Special tokens beside those of turns.
        image: A chat template's text for an image.
        config: Makes the configuration from the ids of the special tokens and the size of the vocabulary.
        processor: Contents of preprocessor_config.json.
        names: Attributes of the tokenizer and their special tokens.
    """

    tokens: tuple[str, ...]
    image: str
    config: Callable[[Ids, int], Any]
    processor: dict[str, Any]
    names: dict[str, str]


def _rope(*sections: int, **more: Any) -> dict[str, Any]:
    return {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": list(sections),
        **more,
    }


def _qwen3(ids: Ids, size: int) -> Any:
    rope = _rope(6, 5, 5, mrope_interleaved=True)
    return Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": size, "head_dim": 32, "rope_parameters": rope},
        vision_config={
            **VISION,
            "depth": 1,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        **_qwen_ids(ids),
    )


def _qwen2_5(ids: Ids, size: int) -> Any:
    return Qwen2_5_VLConfig(
        text_config={
            **TEXT,
            "vocab_size": size,
            "rope_parameters": _rope(6, 5, 5),
            "bos_token_id": None,
            "eos_token_id": ids["<end>"],
        },
        vision_config={
            **VISION,
            "depth": 2,
            "num_heads": 2,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
        **_qwen_ids(ids),
    )


def _qwen_ids(ids: Ids) -> dict[str, Any]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }


def _glm(ids: Ids, size: int) -> Any:
    return Glm4vConfig(
        text_config={
            **TEXT,
            "vocab_size": size,
            "rope_parameters": _rope(4, 2, 2, partial_rotary_factor=0.5),
        },
        vision_config={**VISION, "depth": 1, "num_heads": 2, "out_hidden_size": 64},
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        image_start_token_id=ids["<|begin_of_image|>"],
        image_end_token_id=ids["<|end_of_image|>"],
        video_start_token_id=ids["<|begin_of_video|>"],
        video_end_token_id=ids["<|end_of_video|>"],
        tie_word_embeddings=True,
    )


def _gemma(ids: Ids, size: int) -> Any:
    return Gemma4Config(
        text_config={
            **TEXT,
            "tie_word_embeddings": False,  # tied random weights repeat the last token
            "vocab_size": size,
            "vocab_size_per_layer_input": size,
            "hidden_size_per_layer_input": 16,
            "head_dim": 32,
            "global_head_dim": 32,
            "layer_types": ["sliding_attention", "full_attention"],
            "use_bidirectional_attention": "vision",
            "pad_token_id": ids["<pad>"],
            "eos_token_id": ids["<end>"],
            "bos_token_id": ids["<start>"],
        },
        vision_config={
            **VISION,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "patch_size": 16,
        },
        audio_config=None,
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        audio_token_id=ids["<|audio|>"],
        boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"],
        boa_token_id=ids["<|audio>"],
        eoa_token_index=ids["<audio|>"],
        tie_word_embeddings=False,
    )


def _internvl(ids: Ids, size: int) -> Any:
    return InternVLConfig(
        text_config={**TEXT, "vocab_size": size, "model_type": "qwen2"},
        vision_config={**VISION, "num_hidden_layers": 1, "num_attention_heads": 2},
        image_token_id=ids["<IMG_CONTEXT>"],
        tie_word_embeddings=True,
    )


def _patches(name: str, patch: int) -> dict[str, Any]:
    return {
        "image_processor_type": name,
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"longest_edge": 16_777_216, "shortest_edge": 1024},
    }


_QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
TINY = {
    "qwen3-vl": Tiny(
        (*QWEN_TOKENS, "<|video_pad|>"), _QWEN, _qwen3, _patches("Qwen2VLImageProcessor", 16), {}
    ),
    "qwen2.5-vl": Tiny(
        (*QWEN_TOKENS, "<|video_pad|>"), _QWEN, _qwen2_5, _patches("Qwen2VLImageProcessor", 14), {}
    ),
    "glm-4v": Tiny(
        (
            *("<|begin_of_image|>", "<|image|>", "<|end_of_image|>"),
            *("<|begin_of_video|>", "<|video|>", "<|end_of_video|>"),
        ),
        "<|begin_of_image|><|image|><|end_of_image|>",
        _glm,
        _patches("Glm4vImageProcessor", 14),
        {},
    ),
    "gemma": Tiny(
        ("<|image>", "<|image|>", "<image|>", "<|video|>", "<|audio>", "<|audio|>", "<audio|>"),
        "<|image|>",
        _gemma,
        {"image_processor_type": "Gemma4ImageProcessor", "max_soft_tokens": 280},
        {
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
    ),
    "internvl": Tiny(
        ("<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
        "<IMG_CONTEXT>\n",
        _internvl,
        {
            "image_processor_type": "GotOcr2ImageProcessor",
            "size": {"height": 448, "width": 448},
            "crop_to_patches": True,
        },
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
}
"""Open families by name."""


def make_family_model(folder: Path, family: str, seed: int = 0) -> Path:
    """Write the folder of a family's tiny model."""
    tiny = TINY[family]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ("<pad>", "<start>", "<end>", *tiny.tokens)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token="<pad>",
        extra_special_tokens=tiny.names,
    )
    fast.chat_template = TEMPLATE.format(start="<start>", end="<end>", image=tiny.image)
    fast.save_pretrained(folder)
    ids = {token: tokenizer.token_to_id(token) for token in special}
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(tiny.config(ids, tokenizer.get_vocab_size()))
    model.generation_config = GenerationConfig(eos_token_id=ids["<end>"])
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(tiny.processor))
    return folder
