"""The profile: the frozen record of everything in our hands that can change a number."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from p2r_bench.adapter.prompts import OptionStyle, PromptPack, load_pack
from p2r_bench.errors import UserError
from p2r_bench.types import ROLES, Role, Sampling, digest_of

RULES_VERSION = 1
"""Raised when the adapter's code changes what a model receives or what is read from its text."""

AnswerPolicy = Literal["tag", "whole", "tag_or_whole"]


@dataclass(frozen=True)
class ImagePolicy:
    """Pixel budgets and the treatment of whole images and crops alike.

    Attributes:
        max_pixels, min_pixels: Area in pixels after resizing.
        factor: Sides become multiples of it; patch size times merge size of the model family.
        second_min_pixels: Floor of a processor that resizes a second time; 0 for none.
        exif: "apply" or "ignore" the EXIF orientation.
        alpha: "white" flattens transparency on white, "drop" discards the channel.
        route: Pixel route, "exact" for Pillow bicubic.
        transport: "lossless" or "jpeg:QUALITY".
    """

    max_pixels: int
    min_pixels: int
    factor: int
    second_min_pixels: int
    exif: Literal["apply", "ignore"]
    alpha: Literal["white", "drop"]
    route: str
    transport: str


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
    """Where the answer of each role's text is looked for; see `extract_answer`."""

    reason: AnswerPolicy
    think: AnswerPolicy
    answer: AnswerPolicy

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
        known: dict[str, Sampling] = {"perceive": self.perceive, "think": self.think, "answer": self.answer}
        return known.get(role, self.reason)


@dataclass(frozen=True)
class Profile:
    """One protocol, complete. `name` is a label; `hash` is the identity.

    Attributes:
        structured_boxes: Ask the engine to enforce the JSON schema of boxes on the perceiver.
        newline_after_image: Put a newline behind every image of a request.
        option_style: "block" or "published"; see `PromptPack.question`.
    """

    name: str
    image: ImagePolicy
    annotate: AnnotatePolicy
    crop: CropPolicy
    answers: AnswerPolicies
    sampling: SamplingPolicies
    structured_boxes: bool
    newline_after_image: bool
    option_style: OptionStyle
    pack: PromptPack

    @cached_property
    def hash(self) -> str:
        """SHA-256 hex over everything that can change a number; the names of profile and pack are not in it."""
        return digest_of(self.identity)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the hash covers, as plain values."""
        values = asdict(self)
        del values["name"], values["pack"]["name"]
        return {"rules_version": RULES_VERSION, **values}

    @property
    def max_images(self) -> int:
        """Most images one request of a built-in mode holds: the annotated image and the crops."""
        return 1 + self.crop.count

    def visual_tokens(self, role: str) -> int:
        """Most visual tokens one request of a role holds."""
        images = self.max_images if role == "reason" else 1
        return images * self.image.max_pixels // 1024

    def replace(self, **changes: Any) -> Profile:
        """A copy with other values, for tests and derived profiles."""
        return dataclasses.replace(self, **changes)


def builtin_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with the package."""
    folder = resources.files("p2r_bench.adapter") / "profiles"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def load_profile(name_or_path: str | Path = "p2r") -> Profile:
    """A built-in profile by name, or one from a TOML file.

    A file may name a base with `extends = "p2r"`; what it sets replaces the base's value, table by table.

    Raises:
        UserError: No such profile, or a field that is missing, unknown or of the wrong type; the message
            names the file and the field.
    """
    values, origin = _read(name_or_path, seen=())
    name = values.pop("name", None) or Path(str(name_or_path)).stem
    prompts = values.pop("prompts", None)
    if not isinstance(prompts, str):
        raise UserError(f"{origin}: prompts: name a prompt pack or a file, such as \"default\"")
    pack_path = Path(origin).parent / prompts
    pack = load_pack(pack_path if prompts.endswith(".toml") else prompts)
    profile = _build(Profile, {**values, "name": name, "pack": pack}, origin, "")
    assert isinstance(profile, Profile)
    _check(profile, origin)
    return profile


def diff_profiles(left: Profile, right: Profile) -> list[tuple[str, Any, Any]]:
    """Fields in which two profiles differ, as (dotted name, left value, right value)."""

    def flat(value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for key, item in value.items() for k, v in flat(item, f"{prefix}{key}.").items()}
        return {prefix[:-1]: value}

    a, b = flat(left.identity, ""), flat(right.identity, "")
    return [(key, a.get(key), b.get(key)) for key in sorted(a | b) if a.get(key) != b.get(key)]


def _read(name_or_path: str | Path, seen: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    text, origin = _text(str(name_or_path))
    if origin in seen:
        raise UserError(f"{origin}: extends: the profile extends itself by way of {', '.join(seen)}")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from error
    base = values.pop("extends", None)
    if base is None:
        return values, origin
    if base not in builtin_profiles():
        base = str(Path(origin).parent / str(base))
    inherited, _ = _read(base, (*seen, origin))
    inherited.pop("name", None)
    return _merged(inherited, values), origin


def _text(name_or_path: str) -> tuple[str, str]:
    if name_or_path in builtin_profiles():
        file = resources.files("p2r_bench.adapter") / "profiles" / f"{name_or_path}.toml"
        return file.read_text("utf-8"), str(file)
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(
            f"there is no profile {name_or_path!r}: built in are {', '.join(builtin_profiles())}; "
            "a file of your own is given by its path"
        )
    return path.read_text("utf-8"), str(path)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _build(kind: type, values: Mapping[str, Any], origin: str, prefix: str) -> Any:
    """A dataclass from TOML values, every field required unless it has a default, unknown fields refused."""
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise UserError(
            f"{origin}: {prefix}{unknown[0]}: no such field; known here are {', '.join(hints)}"
        )
    built: dict[str, Any] = {}
    for spec in dataclasses.fields(kind):
        dotted = f"{prefix}{spec.name}"
        if spec.name not in values:
            if spec.default is dataclasses.MISSING:
                raise UserError(f"{origin}: {dotted}: missing")
            continue
        built[spec.name] = _value(hints[spec.name], values[spec.name], origin, dotted)
    return kind(**built)


def _value(hint: Any, value: Any, origin: str, dotted: str) -> Any:
    if hint is PromptPack:
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{origin}: {dotted}: must be a table")
        return _build(hint, value, origin, f"{dotted}.")  # type: ignore[arg-type]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UserError(f"{origin}: {dotted}: {value!r} is not one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f"{origin}: {dotted}: must be a list of strings")
        return tuple(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise UserError(f"{origin}: {dotted}: must be {hint.__name__}, not {value!r}")
    if hint == (int | None):
        raise UserError(f"{origin}: {dotted}: belongs to the run, not to the profile")
    return value


def _check(profile: Profile, origin: str) -> None:
    image, area = profile.image, profile.image.factor**2
    if not area <= image.min_pixels <= image.max_pixels:
        raise UserError(f"{origin}: image: factor² ≤ min_pixels ≤ max_pixels does not hold")
    if image.second_min_pixels > image.max_pixels:
        raise UserError(f"{origin}: image.second_min_pixels: above max_pixels")
    kind, _, quality = image.transport.partition(":")
    if image.transport != "lossless" and not (
        kind == "jpeg" and quality.isascii() and quality.isdigit() and 1 <= int(quality) <= 100
    ):
        raise UserError(f'{origin}: image.transport: must be "lossless" or "jpeg:QUALITY", 1 to 100')
    if not profile.annotate.colours:
        raise UserError(f"{origin}: annotate.colours: at least one is needed")
    if profile.crop.count < 1:
        raise UserError(f"{origin}: crop.count: must be at least 1")
    for role in ROLES:
        _check_sampling(profile.sampling.for_role(role), role, origin)


def _check_sampling(sampling: Sampling, role: Role, origin: str) -> None:
    where = f"{origin}: sampling.{role}"
    if sampling.temperature < 0:
        raise UserError(f"{where}.temperature: must not be negative")
    if not 0 < sampling.top_p <= 1:
        raise UserError(f"{where}.top_p: must be above 0 and at most 1")
    if sampling.repetition_penalty <= 0:
        raise UserError(f"{where}.repetition_penalty: must be above 0")
    if sampling.max_tokens < 1:
        raise UserError(f"{where}.max_tokens: must be at least 1")
