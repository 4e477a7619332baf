"""The profile: the frozen record of all settings that can change a number."""

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
"""Incremented when the adapter's code changes a model's input or the reading of its output."""

AnswerPolicy = Literal["tag", "whole", "tag_or_whole"]
TagPair = Literal["first", "last"]
TagCase = Literal["any", "exact"]
BoxRule = Literal["tolerant", "published"]


@dataclass(frozen=True)
class ImagePolicy:
    """Pixel budgets and processing of whole images and crops.

    Attributes:
        max_pixels, min_pixels: Area in pixels after resizing.
        second_min_pixels: Smallest area after a processor's second resize; 0 for none.
        exif: "apply" or "ignore" the EXIF orientation.
        alpha: "white" flattens transparency on white, "drop" discards the channel.
        route: Pixel route: "exact" is Pillow bicubic, "fast" is torch bicubic, which differs by single levels.
        transport: "lossless", "jpeg:QUALITY" or "webp:QUALITY", between the first resize and the second.
        max_bytes: Largest image file sent to a server, in bytes; 0 for no cap. A larger one is an error.
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
    """Outlines of boxes. The colours alternate. The width is max(min_width, floor(width_fraction * image width))
    pixels.
    """

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
    """Part of a reply that holds the answer, by role; see `extract_answer`.

    Attributes:
        pair: The `<answer>…</answer>` pair that counts, "first" or "last".
        tag_case: "any" also reads `<Answer>`; "exact" lower case only.
    """

    reason: AnswerPolicy
    think: AnswerPolicy
    answer: AnswerPolicy
    pair: TagPair
    tag_case: TagCase

    def for_role(self, role: str) -> AnswerPolicy:
        """Return the policy of a role; roles of third-party modes have that of `reason`."""
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
        """Return the sampling of a role; roles of third-party modes have that of `reason`."""
        known: dict[str, Sampling] = {
            "perceive": self.perceive,
            "think": self.think,
            "answer": self.answer,
        }
        return known.get(role, self.reason)


@dataclass(frozen=True)
class Profile:
    """A complete protocol. `name` is only a label; `hash` identifies the profile by the values of `identity`.

    Attributes:
        structured_boxes: Ask the engine to enforce the JSON schema of boxes on the perceiver.
        newline_after_image: Put a newline after every image of a request.
        option_style: "block" or "published"; see `PromptPack.question`.
        family: Name of the model family, or "auto" for the checkpoint's.
        thoughts: Treatment of thoughts before answers and boxes are read; see `thoughts.said`.
        boxes: Rule for reading the perceiver's text; see `parse_boxes`.
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
        """SHA-256 hex digest of all that can change a number, without the names of profile and pack."""
        return digest_of(self.identity)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return the values covered by the hash, as plain data."""
        values = asdict(self)
        del values["name"], values["pack"]["name"]
        values["family"] = dict(self.model_family.rules)
        return {"rules_version": RULES_VERSION, **values}

    @cached_property
    def model_family(self) -> Family:
        """The model family; for "auto" the default family until a run sets the checkpoint's."""
        return find_family(self.family)

    @property
    def budget(self) -> Budget:
        """Pixel budget of one image."""
        return Budget(self.image.min_pixels, self.image.max_pixels)

    @property
    def max_images(self) -> int:
        """The most images in one request of a built-in mode: the annotated image and the crops."""
        return 1 + self.crop.count

    def visual_tokens(self, role: str) -> int | None:
        """Return the most visual tokens in one request of a role; None when not known."""
        images = self.max_images if role == "reason" else 1
        each = self.model_family.most_visual_tokens(self.budget)
        return None if each is None else images * each

    def with_family(self, name: str) -> Profile:
        """Return the profile for another model family."""
        return self.replace(family=name)

    def with_route(self, route: str) -> Profile:
        """Return the profile with another pixel route, which changes the hash."""
        return self.replace(image=dataclasses.replace(self.image, route=route))

    def replace(self, **changes: Any) -> Profile:
        """Return a copy with other values, for tests and derived profiles."""
        return dataclasses.replace(self, **changes)


def dotted(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by their dotted names, each beginning with `prefix`."""
    if not isinstance(value, dict):
        return {prefix.removesuffix("."): value}
    return {
        name: leaf
        for key, item in value.items()
        for name, leaf in dotted(item, f"{prefix}{key}.").items()
    }


def diff_profiles(left: Profile, right: Profile) -> list[tuple[str, Any, Any]]:
    """Return the fields in which two profiles differ, as (dotted name, left value, right value)."""
    a, b = dotted(left.identity), dotted(right.identity)
    return [(key, a.get(key), b.get(key)) for key in sorted(a | b) if a.get(key) != b.get(key)]
