"""Prompts of the tiny model, word for word as in an evaluation, and the target replies.

Requests are built by the adapter from a sample with Synth-HR's own question; only the pixels take a
shortcut. An example is a list of token ids with image slots, the place of its answer, and a weight per token.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from p2r_bench.adapter import TwoStage
from p2r_bench.synth.rows import LETTERS, SIZES, Question, rotated
from p2r_bench.synth.scene import Sign
from p2r_bench.types import Box, Evidence, ImageRef, Recipe, Request, Sample

FIXED_WEIGHT = 0.05
"""Weight of a token whose text does not depend on the sample."""


Key = tuple[int, int, str]
"""Chunk, episode and image: ``w`` whole, ``a0`` annotated of question 0, ``c0.1`` its second crop."""


@dataclass
class Example:
    """Token ids; `<|image_pad|>` runs stand for the images, in order."""

    ids: list[int]
    weights: list[float]
    """Loss weight of each token as a target; 0 in the prompt."""
    images: tuple[Key, ...] = ()
    """Keys of the images' features, in order."""
    places: dict[int, int] = field(default_factory=dict)
    """Position to value of tokens that are box coordinates, whose target is smoothed."""
    focus: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    """The sign's colour index and its image tokens, by position of such a token."""


def sample_of(question: Question, rotation: int, resolution: str, name: str) -> Sample:
    """A sample as the Synth-HR task makes it, on an image that is never rendered at full size."""
    options, answer = rotated(question, 0, rotation)
    return Sample(
        id=name,
        task="Synth-HR",
        image=ImageRef(path=name, digest=name, size=SIZES[resolution]),
        question=question.text,
        options=options,
        answer=answer,
    )


class Speaker:
    """Turns requests into prompts by the chat template's layout, and facts into answers."""

    def __init__(self, tokenizer: Tokenizer, two_stage: TwoStage) -> None:
        self.tokenizer, self.two = tokenizer, two_stage
        self.pad = tokenizer.get_vocab()["<|image_pad|>"]

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, request: Request) -> list[int]:
        """Token ids up to and including the assistant's turn, image slots expanded."""
        text = ""
        for message in request.messages:
            text += f"<|im_start|>{message.role}\n"
            for part in message.content:
                if isinstance(part, Recipe):
                    tokens = part.size[0] * part.size[1] // 1024
                    text += "<|vision_start|>" + "<|image_pad|>" * tokens + "<|vision_end|>"
                else:
                    text += part
            text += "<|im_end|>\n"
        return self.encode(text + "<|im_start|>assistant\n")

    def example(
        self,
        request: Request,
        answer: Sequence[tuple[str, float]],
        images: Sequence[Key],
        coordinates: bool = False,
    ) -> Example:
        """An example from a request and its answer in weighted pieces."""
        ids = self.prompt(request)
        weights, places = [0.0] * len(ids), {}
        for text, weight in (*answer, ("<|im_end|>", FIXED_WEIGHT)):
            new = self.encode(text)
            if coordinates and text.isdigit():
                places[len(ids)] = int(text)
            ids += new
            weights += [weight] * len(new)
        return Example(ids, weights, tuple(images), places)


def boxes_said(signs: Sequence[Sign]) -> list[tuple[str, float]]:
    """The perceiver's JSON for signs."""
    out: list[tuple[str, float]] = []
    for k, sign in enumerate(signs):
        out.append(('[{"bbox_2d": [' if k == 0 else ', {"bbox_2d": [', FIXED_WEIGHT))
        for i, edge in enumerate(sign.box):
            if i:
                out.append((", ", FIXED_WEIGHT))
            out.append((str(round(1000 * edge)), 1.0))
        out += [('], "label": "', FIXED_WEIGHT), (sign.colour, 0.5)]
        out.append((' sign"}]' if k == len(signs) - 1 else ' sign"}', 0.1))
    return out


def reasoning_said(
    rng: random.Random, colours: Sequence[str], digits: Sequence[int], options: dict[str, str]
) -> list[tuple[str, float]]:
    """Read the signs, walk the options up to the one that fits, and answer with its letter."""
    out: list[tuple[str, float]] = []
    for k, (colour, digit) in enumerate(zip(colours, digits, strict=True)):
        out += [("<think>The " if k == 0 else "\nThe ", FIXED_WEIGHT), (colour, 0.5)]
        out += [(" sign shows ", FIXED_WEIGHT), (str(digit), 1.0)]
    found = str(sum(digits))
    if len(digits) > 1:
        out += [("\nThe sum is ", FIXED_WEIGHT), (found, 1.0)]
    letter = None
    for letter, text in options.items():
        out += [(f"\n{letter}. ", 0.1), (text, 0.5), (" yes" if text == found else " no", 1.0)]
        if text == found:
            break
    else:
        letter = rng.choice(LETTERS)
    out += [("</think><answer>", FIXED_WEIGHT), (letter, 1.0), ("</answer>", FIXED_WEIGHT)]
    return out


def evidence(two: TwoStage, sample: Sample, boxes: Sequence[tuple[float, ...]]) -> Evidence:
    """Stage 1's outcome for boxes in fractions of the image."""
    return two.evidence_from_boxes(
        sample, [Box((x1 * 1000, y1 * 1000, x2 * 1000, y2 * 1000)) for x1, y1, x2, y2 in boxes]
    )
