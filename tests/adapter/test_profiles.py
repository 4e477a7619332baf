"""Profiles: the built-in values, and what the hash covers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from p2r_bench.adapter import (
    Profile,
    PromptPack,
    builtin_profiles,
    diff_profiles,
    load_profile,
)
from p2r_bench.types import ROLES, Sampling, digest_of

K = 32 * 32
EVAL, ROLLOUT, SERVICE = (
    load_profile(f"original-{name}") for name in ("eval", "train-rollout", "train-service")
)
P2R, TINY = load_profile("p2r"), load_profile("tiny")
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "magenta")


def test_seven_profiles_come_with_the_package_and_p2r_is_the_default() -> None:
    assert builtin_profiles() == (
        "original-eval", "original-train-rollout", "original-train-service", "p2r",
        "qwen3-vl-instruct", "qwen3-vl-thinking", "tiny",
    )  # fmt: skip
    assert load_profile() == P2R


@pytest.mark.parametrize("name", builtin_profiles())
def test_every_built_in_profile_has_the_published_geometry(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert dataclasses.astuple(profile.annotate) == (COLOURS, 3, 0.003)
    assert dataclasses.astuple(profile.crop) == (3, 0.1, 600)
    assert profile.model_family.name == "qwen3-vl"
    assert profile.image.route == "exact"
    assert not profile.structured_boxes
    assert [profile.sampling.for_role(role).seed for role in ROLES] == [None] * 4


@pytest.mark.parametrize(
    ("profile", "largest", "smallest", "second"),
    [
        (P2R, 4096 * K, 64 * K, 0),
        (EVAL, 4096 * K, 16 * K, 65_536),
        (ROLLOUT, 2_097_152, 4 * K, 65_536),
        (SERVICE, 2_097_152, 4 * K, 65_536),
    ],
)
def test_pixel_budgets(profile: Profile, largest: int, smallest: int, second: int) -> None:
    image = profile.image
    assert (image.max_pixels, image.min_pixels, image.second_min_pixels) == (
        largest,
        smallest,
        second,
    )


@pytest.mark.parametrize(
    ("profile", "transport", "exif", "alpha"),
    [
        (P2R, "lossless", "apply", "white"),
        (TINY, "lossless", "apply", "white"),
        (EVAL, "lossless", "ignore", "drop"),
        (ROLLOUT, "lossless", "ignore", "drop"),
        (SERVICE, "jpeg:75", "ignore", "drop"),
    ],
)
def test_transport_and_treatment_of_exif_and_alpha(
    profile: Profile, transport: str, exif: str, alpha: str
) -> None:
    assert (profile.image.transport, profile.image.exif, profile.image.alpha) == (
        transport,
        exif,
        alpha,
    )


@pytest.mark.parametrize(
    ("profile", "caps"),
    [
        (P2R, {"perceive": 512, "reason": 2048, "think": 2048, "answer": 32}),
        (EVAL, {"perceive": 256, "reason": 1024, "think": 1024, "answer": 16}),
        (ROLLOUT, {"perceive": 1024, "reason": 2048, "think": 2048}),
        (SERVICE, {"perceive": 2048, "reason": 2048, "think": 2048}),
    ],
)
def test_token_caps_per_role(profile: Profile, caps: dict[str, int]) -> None:
    assert {role: profile.sampling.for_role(role).max_tokens for role in caps} == caps


@pytest.mark.parametrize(
    ("profile", "temperature", "penalty"),
    [(P2R, 0, 1.0), (TINY, 0, 1.0), (EVAL, 0, 1.05), (ROLLOUT, 1.0, 1.0), (SERVICE, 0, 1.0)],
)
@pytest.mark.parametrize("role", ROLES)
def test_temperature_top_p_and_repetition_penalty(
    profile: Profile, temperature: float, penalty: float, role: str
) -> None:
    sampling = profile.sampling.for_role(role)
    drawn = (sampling.temperature, sampling.top_p, sampling.repetition_penalty)
    assert drawn == (temperature, 1, penalty)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        (
            "qwen3-vl-instruct",
            Sampling(temperature=0.7, top_p=0.8, top_k=20, presence_penalty=1.5, max_tokens=16384),
        ),
        ("qwen3-vl-thinking", Sampling(temperature=1.0, top_p=0.95, top_k=20, max_tokens=32768)),
    ],
)
@pytest.mark.parametrize("role", ROLES)
def test_the_families_profiles_draw_as_published(name: str, published: Sampling, role: str) -> None:
    profile = load_profile(name)
    assert profile.sampling.for_role(role) == published
    changed = {field.partition(".")[0] for field, _, _ in diff_profiles(P2R, profile)}
    assert changed <= {"sampling", "thoughts"}


@pytest.mark.parametrize(
    ("profile", "newline"), [(P2R, False), (EVAL, False), (ROLLOUT, True), (SERVICE, False)]
)
def test_newline_after_each_image_in_rollouts_only(profile: Profile, newline: bool) -> None:
    assert profile.newline_after_image is newline


@pytest.mark.parametrize(
    ("profile", "reasoning", "pair", "case", "thoughts", "boxes"),
    [
        (P2R, "tag", "last", "any", "cut", "tolerant"),
        (TINY, "tag", "last", "any", "cut", "tolerant"),
        (EVAL, "tag", "first", "exact", "keep", "published"),
        (ROLLOUT, "tag_or_whole", "first", "exact", "keep", "published"),
        (SERVICE, "tag_or_whole", "first", "exact", "keep", "published"),
    ],
)
def test_how_replies_are_read(
    profile: Profile, reasoning: str, pair: str, case: str, thoughts: str, boxes: str
) -> None:
    assert dataclasses.astuple(profile.answers) == (reasoning, reasoning, "whole", pair, case)
    assert (profile.thoughts, profile.boxes) == (thoughts, boxes)


@pytest.mark.parametrize(
    ("profile", "style"),
    [(P2R, "block"), (TINY, "block"), (EVAL, "published"), (ROLLOUT, "published")],
)
def test_how_options_are_written(profile: Profile, style: str) -> None:
    assert profile.option_style == style


def test_tiny_is_p2r_with_a_smaller_budget() -> None:
    fields = {name for name, _, _ in diff_profiles(P2R, TINY)}
    assert {name.split(".")[0] for name in fields} == {"image", "sampling"}
    assert {name.split(".")[-1] for name in fields} == {"max_pixels", "min_pixels", "max_tokens"}


def test_visual_tokens_of_a_request_are_one_per_tile_of_the_budget() -> None:
    assert P2R.visual_tokens("perceive") == 4096
    assert P2R.visual_tokens("reason") == 4 * 4096
    assert TINY.visual_tokens("reason") == 4 * 28


def other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case None:
            return 1
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case tuple():
            return (*value, "pink")
        case _:
            return {**value, next(iter(value)): "x"}


def changed_one_by_one(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted field, copy with only that field changed), for every leaf of a dataclass."""
    for spec in dataclasses.fields(value):
        old, dotted = getattr(value, spec.name), f"{path}{spec.name}"
        if dataclasses.is_dataclass(old):
            for name, new in changed_one_by_one(old, f"{dotted}."):
                yield name, dataclasses.replace(value, **{spec.name: new})
        else:
            yield dotted, dataclasses.replace(value, **{spec.name: other(old)})


CHANGED = {**dict(changed_one_by_one(P2R)), "family": P2R.with_family("gemma")}
NAMES = {"name", "pack.name"}


@pytest.mark.parametrize("field", sorted(set(CHANGED) - NAMES))
def test_the_hash_changes_with_every_field_that_can_change_a_number(field: str) -> None:
    assert CHANGED[field].hash != P2R.hash
    found = [name for name, _, _ in diff_profiles(P2R, CHANGED[field])]
    first = {
        "endings": "choice",
        "bare_endings": "choice",
        "regions": "json",
        "scales": "thousandths",
    }
    inner = first.get(field.split(".")[-1])
    if field == "family":
        assert found == ["family.boxes.key", "family.boxes.order", "family.name"]
    else:
        assert found == [f"{field}.{inner}" if inner else field]


@pytest.mark.parametrize("field", sorted(NAMES))
def test_the_hash_does_not_change_with_names(field: str) -> None:
    assert CHANGED[field].hash == P2R.hash
    assert diff_profiles(P2R, CHANGED[field]) == []


def test_the_hash_covers_the_version_of_the_rules() -> None:
    assert digest_of({**P2R.identity, "rules_version": 1}) != digest_of(P2R.identity) == P2R.hash


def test_hashes_of_the_built_in_profiles_differ() -> None:
    assert len({load_profile(name).hash for name in builtin_profiles()}) == 7


def test_the_pack_is_the_only_wording_in_a_profile() -> None:
    kinds = {spec.name: type(getattr(P2R, spec.name)) for spec in dataclasses.fields(P2R)}
    assert kinds["pack"] is PromptPack
    assert [name for name, kind in kinds.items() if kind is str] == [
        *("name", "family", "option_style", "thoughts", "boxes"),
    ]
