"""Draws training examples of every role from episodes."""

from __future__ import annotations

import random

import numpy as np
import torch
from dialogue import Example, Speaker, boxes_said, evidence, reasoning_said, sample_of
from episodes import Asked, Episode
from views import COLOURS
from vision import targets

from p2r_bench.synth.rows import pose
from p2r_bench.synth.scene import Scene, Sign
from p2r_bench.types import Evidence

MIXTURE = {
    "perceive": 0.45,
    "reason": 0.28,
    "think_crop": 0.05,
    "answer_crop": 0.06,
    "think_whole": 0.04,
    "answer_whole": 0.03,
    "reason_whole": 0.02,
    "text": 0.07,
}


def images_of(episode: Episode) -> dict[str, np.ndarray]:
    """The images of an episode by name."""
    out = {"w": episode.whole}
    for q, asked in enumerate(episode.asked):
        out[f"a{q}"] = asked.annotated
        out.update({f"c{q}.{k}": crop for k, crop in enumerate(asked.crops)})
    return out


class Teacher:
    """Draws examples of every role from the episodes."""

    def __init__(self, speaker: Speaker, chunks: list[list[Episode]]) -> None:
        self.speaker, self.two, self.chunks = speaker, speaker.two, chunks

    def draw(self, rng: random.Random, kind: str) -> Example:
        """One example; its images are keys of the feature store."""
        number = rng.randrange(len(self.chunks))
        e = rng.randrange(len(self.chunks[number]))
        episode = self.chunks[number][e]
        if kind in ("reason", "think_crop", "answer_crop"):
            single = kind != "reason"
            q = rng.randrange(2) if single or rng.random() < 0.45 else 2
            asked = episode.asked[q]
            return self._close(rng, kind, asked, (number, e), q)
        question = pose(rng, episode.scene, rng.choice(("single", "cross")))
        sample = sample_of(question, rng.randrange(4), "4k", f"{number}/{e}")
        whole = [(number, e, "w")]
        if kind == "perceive":
            said = boxes_said(question.signs)
            example = self.speaker.example(
                self.two.perceive_request(sample), said, whole, coordinates=True
            )
            for k, position in enumerate(sorted(example.places)):
                sign = question.signs[k // 4]
                example.focus[position] = (COLOURS.index(sign.colour), tokens_of(sign, 4, 7))
            return example
        if kind == "answer_whole":
            request = self.two.single_request(sample, "answer")
            return self.speaker.example(request, [(sample.answer, 1.0)], whole)
        colours = [sign.colour for sign in question.signs]
        digits = [sign.digit for sign in question.signs]
        if kind == "text":
            if rng.random() < 0.3:
                digits = [rng.randrange(10) for _ in digits]
            said = reasoning_said(rng, colours, digits, dict(sample.options))
            request = self.two.single_request(sample, "think")
            blind = [
                (text, 0.0 if text.isdigit() and i in (3, 7) else w)
                for i, (text, w) in enumerate(said)
            ]
            example = self.speaker.example(request, blind, [])
            drop = [i for i, token in enumerate(example.ids) if token == self.speaker.pad]
            example.ids = [t for t in example.ids if t != self.speaker.pad]
            example.weights = example.weights[len(drop) :]
            return example
        said = reasoning_said(rng, colours, digits, dict(sample.options))
        if kind == "think_whole":
            request = self.two.single_request(sample, "think")
        else:
            request = self.two.reason_request(sample, Evidence(parse_status="empty"))
        return self.speaker.example(request, said, whole)

    def _close(
        self, rng: random.Random, kind: str, asked: Asked, where: tuple[int, int], q: int
    ) -> Example:
        fresh = pose(random.Random(rng.random()), *self._fixed(asked))
        question = asked.question
        options = sorted(set(fresh.options) - {question.options[0]})
        rng.shuffle(options)
        question = type(question)(
            question.scene, question.category, question.signs, question.text,
            (question.options[0], *options[:3]),
        )  # fmt: skip
        sample = sample_of(question, rng.randrange(4), asked.resolution, "x")
        crops = [(*where, f"c{q}.{k}") for k in range(len(asked.crops))]
        colours = [sign.colour for sign in question.signs]
        digits = [sign.digit for sign in question.signs]
        if kind == "reason":
            shown = evidence(self.two, sample, asked.boxes)
            request = self.two.reason_request(sample, shown)
            said = reasoning_said(rng, colours, digits, dict(sample.options))
            return self.speaker.example(request, said, [(*where, f"a{q}"), *crops])
        # The crop is the whole image of a single call.
        rows, columns = asked.crops[0].shape[0] // 32, asked.crops[0].shape[1] // 32
        request = self.two.single_request(sample, "think" if kind == "think_crop" else "answer")
        if kind == "think_crop":
            said = reasoning_said(rng, colours, digits, dict(sample.options))
        else:
            said = [(sample.answer, 1.0)]
        example = self.speaker.example(request, said, crops)
        return resized(example, self.speaker.pad, rows * columns)

    @staticmethod
    def _fixed(asked: Asked) -> tuple[Scene, str]:
        return asked.question.scene, asked.question.category


def tokens_of(sign: Sign, rows: int, columns: int) -> tuple[int, ...]:
    """Indices of the merged tokens a sign lies on for the most part of its share."""
    box = np.asarray([[[*sign.box, COLOURS.index(sign.colour), sign.digit]]], dtype=np.float32)
    colour = targets(box, rows, columns)[0][0]
    return tuple(torch.nonzero((colour >= 0) & (colour < len(COLOURS)))[:, 0].tolist())


def resized(example: Example, pad: int, tokens: int) -> Example:
    """The example with its one image's run of tokens made `tokens` long."""
    first = example.ids.index(pad)
    run = example.ids.count(pad)
    rest = slice(first + run, None)
    return Example(
        example.ids[:first] + [pad] * tokens + example.ids[rest],
        example.weights[:first] + [0.0] * tokens + example.weights[rest],
        example.images,
        {i + tokens - run: v for i, v in example.places.items()},
    )
