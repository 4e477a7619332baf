"""Replies of the sleeping engine: the right boxes and the right letter, in texts of realistic length."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from p2r_bench.types import Request, Sample

CHARACTERS_PER_TOKEN = 4

OWN_BOXES = 0.2
"""Share of rows whose boxes differ from those of the other rotations. With it 41 % of the questions have the same boxes in
all four, 1.8 different sets on average; of p2r-tiny's 400 rows of Synth-HR 42 % and 1.79."""

REASONING_TOKENS = (200, 400)


class Answers:
    """Replies by sample and role; equal requests get equal replies."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = {sample.id: sample for sample in samples}

    def __call__(self, request: Request) -> str:
        sample = self._samples[request.sample_id]
        if request.role == "perceive":
            return _boxes(sample)
        if request.role == "answer":
            return sample.answer
        return _reasoning(sample)


def token_count(text: str) -> int:
    """Return the tokens of a text, at four characters each."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def _share(sample: Sample, what: str) -> float:
    """Return a number from 0 to 1, evenly spread over samples and fixed for each."""
    return int(hashlib.sha256(f"{what} {sample.id}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def _boxes(sample: Sample) -> str:
    own = _share(sample, "own") < OWN_BOXES
    moved = 1 + int(_share(sample, "moved") * 9) if own else 0
    entries = [
        {
            "bbox_2d": [min(1000, round(edge) + moved) for edge in box.xyxy],
            "label": f"the {box.label or 'thing asked about'}",
        }
        for box in sample.boxes or ()
    ]
    return json.dumps(entries)


def _reasoning(sample: Sample) -> str:
    least, most = REASONING_TOKENS
    length = CHARACTERS_PER_TOKEN * (least + int(_share(sample, "length") * (most - least)))
    sentence = f"The question is: {sample.question} The regions are looked at one after the other. "
    thought = (sentence * (1 + length // len(sentence)))[:length]
    return f"<think>{thought}</think>\n<answer>{sample.answer}</answer>"
