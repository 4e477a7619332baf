"""The tokenizer of p2r-tiny: byte-level BPE in which the project's fixed sentences are single tokens.

Any text round-trips. What a prompt pack says around the question, the stock phrases of questions and
answers, and the numbers 0 to 1000 are one token each, so that a call is some eighty tokens long
and the model spends its few layers on what differs between calls.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.models import BPE

from p2r_bench.adapter import load_pack
from p2r_bench.adapter.prompts import PromptPack
from p2r_bench.synth.scene import SIGN_COLOURS

PACK = Path(__file__).parent / "pack.toml"
"""The wording that the bundled model was trained on. The default pack asks for the same, for one family after another."""

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""The Qwen family's special tokens, in the family's order."""

LETTERS = "ABCDEF"
QUESTION_PHRASES = (
    "What digit is on the ",
    "What is the sum of the digits on the ",
    " sign and the ",
    " sign?",
)
ANSWER_PHRASES = (
    '[{"bbox_2d": [', ', {"bbox_2d": [', '], "label": "', ' sign"}', ' sign"}]', ", ", "[]",
    "<think>The ", "\nThe ", " sign shows ", "\nThe sum is ", " yes", " no",
    "</think><answer>", "</answer>",
)  # fmt: skip

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|1000|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = """\
{%- macro parts(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}
{%- for part in content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' or 'video' in part -%}<|vision_start|><|video_pad|><|vision_end|>
{%- elif 'text' in part -%}{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' }}{{ parts(message.content) }}{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' }}
{%- endif -%}
"""


def pack_phrases(pack: PromptPack) -> list[str]:
    """The fixed text of a pack, cut where questions, options and endings go in."""
    endings = [pack.endings["choice"], pack.bare_endings["choice"]]
    found = [f"system\n{pack.system}", "user\n", "assistant\n"]
    for template in (pack.perceive, pack.reason, pack.reason_whole, pack.think, pack.answer):
        whole = template.replace("{ending}", endings[0]).replace("{bare_ending}", endings[1])
        found += whole.replace("{{", "{").replace("}}", "}").split("{question}")
    lines = [f"\n{pack.option_line.format(letter=letter, text='')}" for letter in LETTERS]
    return [phrase for phrase in (*found, f"\n{pack.option_header}", *lines) if len(phrase) > 1]


def phrases() -> list[str]:
    """All multi-word tokens, longest first, so that the longest match wins."""
    own = {*pack_phrases(load_pack(PACK)), *QUESTION_PHRASES, *ANSWER_PHRASES}
    return sorted(own, key=lambda phrase: (-len(phrase), phrase))


def _splitter(literals: list[str]) -> pre_tokenizers.PreTokenizer:
    escaped = [re.sub(r"([^\w\s])", r"\\\1", phrase).replace("\n", r"\n") for phrase in literals]
    pattern = "|".join([*escaped, _WORDS])
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _as_bytes(text: str) -> str:
    """Text in the byte-level alphabet."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[
        0
    ][0]


def build_tokenizer(merges: int = 400) -> Tokenizer:
    """Return the tokenizer, trained on one prompt pack alone; the same on every machine."""
    corpus = [PACK.read_text("utf-8")]
    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer = _splitter([])
    trainee.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=256 + merges,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    learned = json.loads(trainee.to_str())["model"]
    vocab: dict[str, int] = learned["vocab"]
    whole = [*phrases(), *(str(n) for n in range(1001)), *SIGN_COLOURS, *LETTERS]
    whole += [f" {colour}" for colour in SIGN_COLOURS]
    for text in whole:
        vocab.setdefault(_as_bytes(text), len(vocab))
    pairs = [
        tuple(pair) if isinstance(pair, list) else tuple(pair.split(" "))
        for pair in learned["merges"]
    ]
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=pairs, ignore_merges=True))
    tokenizer.pre_tokenizer = _splitter(phrases())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of the special tokens by their text."""
    vocabulary = tokenizer.get_vocab()
    return {token: vocabulary[token] for token in SPECIAL}


def save(folder: Path) -> Tokenizer:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tokenizer = build_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "additional_special_tokens": list(SPECIAL[1:]),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return tokenizer
