"""The profile: the frozen record of everything in our hands that can change a number."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from p2r_bench.adapter.prompts import OptionStyle, PromptPack
from p2r_bench.adapter.thoughts import ThoughtPolicy
from p2r_bench.families import Budget, Family, find_family
from p2r_bench.types import Sampling, digest_of

RULES_VERSION = 4
"""Raised when the adapter's code changes what a model receives or what is read from its text."""

AnswerPolicy = Literal["tag", "whole", "tag_or_whole"]
TagPair = Literal["first", "last"]
TagCase = Literal["any", "exact"]
BoxRule = Literal["tolerant", "published"]


@dataclass(frozen=True)
class ImagePolicy:
    """Pixel budgets and the treatment of whole images and crops alike.

    Attributes:
        max_pixels, min_pixels: Area in pixels after resizing.
        second_min_pixels: Floor of a processor that resizes a second time; 0 for none.
        exif: "apply" or "ignore" the EXIF orientation.
        alpha: "white" flattens transparency on white, "drop" discards the channel.
        route: Pixel route: "exact" is Pillow bicubic, "fast" torch bicubic, which differs by a level here and there.
        transport: "lossless", "jpeg:QUALITY" or "webp:QUALITY", between the first resize and the second.
        max_bytes: Most bytes of an image's file where images are sent to a server; 0 for no cap. A larger one is an error.
    """

    max_pixels: int
    min_pixels: int
    second_min_pixels: int
    exif: Literal["apply", "ignore"]
    alpha: Literal["white", "drop"]
    route: str
    transport: str
    max_bytes: int = 0


@dataclass(frozen=True)
class AnnotatePolicy:
    """Outlines of boxes: colours in turn; width max(min_width, floor(width_fraction * image width)) pixels."""

    colours: tuple[str, ...]
    min_width: int
    width_fraction: float


@dataclass(frozen=True)
class CropPolicy:
    """Crops of the first `count` boxes, each side moved out by min(pad_fraction, pad_pixels / side) of the side."""

    count: int
    pad_fraction: float
    pad_pixels: int


@dataclass(frozen=True)
class AnswerPolicies:
    """Part of a text in which the answer of each role is looked for; see `extract_answer`.

    Attributes:
        pair: Which `<answer>…</answer>` pair counts.
        tag_case: "any" also reads `<Answer>`; "exact" lower case only.
    """

    reason: AnswerPolicy
    think: AnswerPolicy
    answer: AnswerPolicy
    pair: TagPair
    tag_case: TagCase

    def for_role(self, role: str) -> AnswerPolicy:
        """Policy of a role; roles that a third-party mode adds are read like `reason`."""
        policies: dict[str, AnswerPolicy] = {"think": self.think, "answer": self.answer}
        return policies.get(role, self.reason)


@dataclass(frozen=True)
class SamplingPolicies:
    """Sampling and token caps per role. The seed is the run's, not the profile's."""

    perceive: Sampling
    reason: Sampling
    think: Sampling
    answer: Sampling

    def for_role(self, role: str) -> Sampling:
        """Sampling of a role; roles that a third-party mode adds are sampled like `reason`."""
        known: dict[str, Sampling] = {
            "perceive": self.perceive,
            "think": self.think,
            "answer": self.answer,
        }
        return known.get(role, self.reason)


@dataclass(frozen=True)
class Profile:
    """One protocol, complete. `name` is a label; `hash` is the identity.

    Attributes:
        structured_boxes: Ask the engine to enforce the JSON schema of boxes on the perceiver.
        newline_after_image: Put a newline behind every image of a request.
        option_style: "block" or "published"; see `PromptPack.question`.
        family: Name of the model family, or "auto" for the checkpoint's.
        thoughts: Whether thoughts are cut before answers and boxes are read; see `thoughts.said`.
        boxes: Rule by which the perceiver's text is read; see `parse_boxes`.
    """

    name: str
    family: str
    image: ImagePolicy
    annotate: AnnotatePolicy
    crop: CropPolicy
    answers: AnswerPolicies
    sampling: SamplingPolicies
    structured_boxes: bool
    newline_after_image: bool
    option_style: OptionStyle
    thoughts: ThoughtPolicy
    boxes: BoxRule
    pack: PromptPack

    @cached_property
    def hash(self) -> str:
        """SHA-256 hex over everything that can change a number; the names of profile and pack are not in it."""
        return digest_of(self.identity)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Values that the hash covers, as plain data."""
        values = asdict(self)
        del values["name"], values["pack"]["name"]
        values["family"] = dict(self.model_family.rules)
        return {"rules_version": RULES_VERSION, **values}

    @cached_property
    def model_family(self) -> Family:
        """The model family; with "auto", the default one until a run has taken the checkpoint's."""
        return find_family(self.family)

    @property
    def budget(self) -> Budget:
        """Pixels of one image."""
        return Budget(self.image.min_pixels, self.image.max_pixels)

    @property
    def max_images(self) -> int:
        """Most images one request of a built-in mode holds: the annotated image and the crops."""
        return 1 + self.crop.count

    def visual_tokens(self, role: str) -> int | None:
        """Return the most visual tokens that one request of a role holds; None when not known."""
        images = self.max_images if role == "reason" else 1
        each = self.model_family.most_visual_tokens(self.budget)
        return None if each is None else images * each

    def with_family(self, name: str) -> Profile:
        """Return the same protocol for another model family."""
        return self.replace(family=name)

    def with_route(self, route: str) -> Profile:
        """Return the same protocol on another pixel route, which changes the hash."""
        return self.replace(image=dataclasses.replace(self.image, route=route))

    def replace(self, **changes: Any) -> Profile:
        """Return a copy with other values, for tests and derived profiles."""
        return dataclasses.replace(self, **changes)


def diff_profiles(left: Profile, right: Profile) -> list[tuple[str, Any, Any]]:
    """Fields in which two profiles differ, as (dotted name, left value, right value)."""

    def flat(value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return {
                k: v
                for key, item in value.items()
                for k, v in flat(item, f"{prefix}{key}.").items()
            }
        return {prefix[:-1]: value}

    a, b = flat(left.identity, ""), flat(right.identity, "")
    return [(key, a.get(key), b.get(key)) for key in sorted(a | b) if a.get(key) != b.get(key)]
