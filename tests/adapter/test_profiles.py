"""Profiles: the built-in values, what the hash covers, and loading files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.adapter import (
    Profile,
    PromptPack,
    builtin_profiles,
    diff_profiles,
    load_profile,
)
from p2r_bench.errors import UserError
from p2r_bench.types import ROLES, Sampling, digest_of

K = 32 * 32
EVAL, ROLLOUT, SERVICE = (
    load_profile(f"original-{name}") for name in ("eval", "train-rollout", "train-service")
)
P2R, TINY = load_profile("p2r"), load_profile("tiny")
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "magenta")


# --- the built-in values -------------------------------------------------------------------------


def test_five_profiles_come_with_the_package_and_p2r_is_the_default() -> None:
    assert builtin_profiles() == (
        "original-eval", "original-train-rollout", "original-train-service", "p2r", "tiny",
    )  # fmt: skip
    assert load_profile() == P2R


@pytest.mark.parametrize("name", builtin_profiles())
def test_every_built_in_profile_has_the_published_geometry(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert dataclasses.astuple(profile.annotate) == (COLOURS, 3, 0.003)
    assert dataclasses.astuple(profile.crop) == (3, 0.1, 600)
    assert profile.image.factor == 32
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
    ("profile", "newline"), [(P2R, False), (EVAL, False), (ROLLOUT, True), (SERVICE, False)]
)
def test_newline_after_each_image_in_rollouts_only(profile: Profile, newline: bool) -> None:
    assert profile.newline_after_image is newline


@pytest.mark.parametrize(
    ("profile", "reasoning"),
    [
        (P2R, "tag"),
        (TINY, "tag"),
        (EVAL, "tag"),
        (ROLLOUT, "tag_or_whole"),
        (SERVICE, "tag_or_whole"),
    ],
)
def test_where_answers_are_looked_for(profile: Profile, reasoning: str) -> None:
    assert dataclasses.astuple(profile.answers) == (reasoning, reasoning, "whole")


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


# --- the hash ------------------------------------------------------------------------------------


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


CHANGED = dict(changed_one_by_one(P2R))
NAMES = {"name", "pack.name"}


@pytest.mark.parametrize("field", sorted(set(CHANGED) - NAMES))
def test_the_hash_changes_with_every_field_that_can_change_a_number(field: str) -> None:
    assert CHANGED[field].hash != P2R.hash
    assert [name for name, _, _ in diff_profiles(P2R, CHANGED[field])] == [
        field if field.split(".")[-1] not in ("endings", "bare_endings") else f"{field}.choice"
    ]


@pytest.mark.parametrize("field", sorted(NAMES))
def test_the_hash_does_not_change_with_names(field: str) -> None:
    assert CHANGED[field].hash == P2R.hash
    assert diff_profiles(P2R, CHANGED[field]) == []


def test_the_hash_covers_the_version_of_the_rules() -> None:
    assert digest_of({**P2R.identity, "rules_version": 2}) != digest_of(P2R.identity) == P2R.hash


def test_hashes_of_the_built_in_profiles_differ() -> None:
    assert len({load_profile(name).hash for name in builtin_profiles()}) == 5


def test_colour_order_is_part_of_the_hash(tmp_path: Path) -> None:
    profile = written(tmp_path, 'extends = "p2r"\n[annotate]\ncolours = ["green", "red"]')
    swapped = written(tmp_path, 'extends = "p2r"\n[annotate]\ncolours = ["red", "green"]')
    assert profile.hash != swapped.hash


def test_an_empty_extension_and_whole_numbers_keep_the_hash(tmp_path: Path) -> None:
    assert written(tmp_path, 'extends = "p2r"').hash == P2R.hash
    assert written(tmp_path, 'extends = "p2r"\n[sampling.reason]\ntop_p = 1').hash == P2R.hash


# --- loading -------------------------------------------------------------------------------------


def written(folder: Path, text: str, name: str = "mine.toml") -> Profile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_profile(path)


def test_an_extension_replaces_single_values(tmp_path: Path) -> None:
    profile = written(tmp_path, 'extends = "original-eval"\n[sampling.reason]\nmax_tokens = 7')
    assert profile.sampling.reason == Sampling(repetition_penalty=1.05, max_tokens=7)
    assert profile.sampling.think == EVAL.sampling.think
    assert profile.image == EVAL.image


def test_a_profile_is_named_by_itself_or_its_file_but_not_by_its_base(tmp_path: Path) -> None:
    assert written(tmp_path, 'extends = "p2r"').name == "mine"
    assert written(tmp_path, 'extends = "p2r"\nname = "ours"').name == "ours"


def test_chains_resolve_paths_beside_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = Path(__file__).parents[2] / "p2r_bench" / "adapter" / "packs" / "default.toml"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "words.toml").write_text(pack.read_text().replace("Look at", "Inspect"))
    (tmp_path / "a" / "base.toml").write_text(
        'extends = "tiny"\nprompts = "words.toml"\n[crop]\ncount = 2\n[image]\nexif = "ignore"'
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "middle.toml").write_text('extends = "../a/base.toml"\n[crop]\ncount = 1')
    (tmp_path / "leaf.toml").write_text('extends = "b/middle.toml"\nnewline_after_image = true')
    monkeypatch.chdir(tmp_path / "b")
    profile = load_profile("../leaf.toml")
    assert "Inspect" in profile.pack.reason_whole
    assert (profile.crop.count, profile.image.exif, profile.newline_after_image) == (
        1,
        "ignore",
        True,
    )
    assert profile.image.max_pixels == TINY.image.max_pixels


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    first = written(tmp_path, 'extends = "p2r"\n[crop]\ncount = 1')
    second = written(tmp_path, 'extends = "p2r"\n[crop]\ncount = 2')
    assert (first.crop.count, second.crop.count) == (1, 2)


def test_a_relative_path_is_read_where_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, count in (("a", 1), ("b", 2)):
        written(tmp_path / folder, f'extends = "p2r"\n[crop]\ncount = {count}')
    counts = []
    for folder in ("a", "b"):
        monkeypatch.chdir(tmp_path / folder)
        counts.append(load_profile("mine.toml").crop.count)
    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop = 3", "crop: must be a table"),
        ("crops = 3", "crops: no such field; known here are name, image"),
        ("pack = {}", "pack: no such field; `prompts` names the prompt pack"),
        ("name = 3", "name: must be str, not 3"),
        ("prompts = 3", "prompts: name a prompt pack"),
        ('prompts = "defualt"', "prompts: there is no prompt pack 'defualt'"),
        ("structured_boxes = 1", "structured_boxes: must be bool, not 1"),
        ("newline_after_image = 'no'", "newline_after_image: must be bool, not 'no'"),
        ("option_style = 'list'", "option_style: 'list' is not one of block, published"),
        ("option_style = ['block']", "option_style: ['block'] is not one of block, published"),
        ("[crop]\nnumber = 3", "crop.number: no such field; known here are count"),
        ("[crop]\ncount = 2.5", "crop.count: must be int, not 2.5"),
        ("[crop]\ncount = true", "crop.count: must be int, not True"),
        ("[crop]\ncount = 0", "crop.count: must be at least 1"),
        ("[crop]\npad_fraction = nan", "crop.pad_fraction: must be from 0 to 1"),
        ("[crop]\npad_fraction = -0.1", "crop.pad_fraction: must be from 0 to 1"),
        ("[crop]\npad_pixels = -1", "crop.pad_pixels: must not be negative"),
        ("[annotate]\ncolours = []", "annotate.colours: at least one"),
        ("[annotate]\ncolours = 'red'", "annotate.colours: must be a list of strings"),
        ("[annotate]\ncolours = [1]", "annotate.colours: must be a list of strings"),
        ("[annotate]\ncolours = ['redd']", "annotate.colours: 'redd' is not a colour"),
        ("[annotate]\nmin_width = 0", "annotate.min_width: must be at least 1"),
        ("[annotate]\nwidth_fraction = inf", "annotate.width_fraction: must be from 0 to 1"),
        (
            "[answers]\nreason = 'tags'",
            "answers.reason: 'tags' is not one of tag, whole, tag_or_whole",
        ),
        ("[answers]\nperceive = 'tag'", "answers.perceive: no such field"),
        ("[image]\nfactor = 0", "image.factor: must be at least 1"),
        ("[image]\nfactor = -32", "image.factor: must be at least 1"),
        ("[image]\nmin_pixels = 1023", "image.min_pixels: must be at least factor², 1024"),
        ("[image]\nmax_pixels = 65536", "image.max_pixels: must be at least twice min_pixels"),
        (
            "[image]\nsecond_min_pixels = 4194304",
            "image.max_pixels: must be at least twice second_min_pixels",
        ),
        ("[image]\nsecond_min_pixels = -1", "image.second_min_pixels: must not be negative"),
        ("[image]\nexif = 'drop'", "image.exif: 'drop' is not one of apply, ignore"),
        ("[image]\nroute = 'warp'", "image.route: known are exact"),
        ("[image]\ntransport = 'jpeg'", 'image.transport: must be "lossless" or'),
        ("[image]\ntransport = 'jpeg:075'", 'image.transport: must be "lossless" or'),
        ("[image]\ntransport = 'jpeg:101'", 'image.transport: must be "lossless" or'),
        ("[sampling.perceive]\nseed = 1", "sampling.perceive.seed: belongs to the run"),
        (
            "[sampling.perceive]\ntemperature = -1",
            "sampling.perceive.temperature: must be a number from 0",
        ),
        (
            "[sampling.perceive]\ntemperature = nan",
            "sampling.perceive.temperature: must be a number from 0",
        ),
        ("[sampling.reason]\ntop_p = 0", "sampling.reason.top_p: must be above 0"),
        ("[sampling.think]\ntop_p = nan", "sampling.think.top_p: must be above 0"),
        (
            "[sampling.answer]\nrepetition_penalty = inf",
            "sampling.answer.repetition_penalty: must be",
        ),
        ("[sampling.answer]\nmax_tokens = 0", "sampling.answer.max_tokens: must be at least 1"),
        ("[sampling.answer]\nmax_tokens = '9'", "sampling.answer.max_tokens: must be int, not '9'"),
        ("[sampling.answer]\nstop = '.'", "sampling.answer.stop: must be a list of strings"),
        (
            "[sampling.verify]\nmax_tokens = 9",
            "sampling.verify: no such field; known here are perceive",
        ),
    ],
)
def test_a_bad_value_is_refused_by_file_and_field(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        written(tmp_path, f'extends = "p2r"\n{text}')
    file, _, rest = str(refused.value).partition(": ")
    assert file.startswith(str(tmp_path / "mine.toml"))
    assert file.endswith("p2r.toml)")
    assert rest.startswith(message)


def test_a_file_without_a_base_must_set_every_field(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.toml: image: missing"):
        written(tmp_path, 'prompts = "default"')
    with pytest.raises(UserError, match=r"mine\.toml: image\.factor: missing"):
        written(tmp_path, 'prompts = "default"\n[image]\nmax_pixels = 9999999\nmin_pixels = 1024')
    with pytest.raises(UserError, match=r"mine\.toml: prompts: name a prompt pack"):
        written(tmp_path, "")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.toml: not valid TOML"):
        written(tmp_path, "extends =")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"bytes\.toml: cannot be read"):
        load_profile(tmp_path / "bytes.toml")
    with pytest.raises(UserError, match=r"mine\.toml: extends: must be the name or the path"):
        written(tmp_path, "extends = 3")
    with pytest.raises(UserError, match=r"mine\.toml: extends: there is no profile '.*gone\.toml'"):
        written(tmp_path, 'extends = "gone.toml"')
    (tmp_path / "words.toml").write_text("")
    with pytest.raises(UserError, match=r"mine\.toml.*: prompts: .*words\.toml: system: missing"):
        written(tmp_path, 'extends = "p2r"\nprompts = "words.toml"')


@pytest.mark.parametrize("name", ["p2rr", "", ".", "no/such.toml", "a\0b"])
def test_a_profile_that_does_not_exist_names_the_built_in_ones(name: str) -> None:
    with pytest.raises(UserError, match="there is no profile .*original-eval.*tiny"):
        load_profile(name)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle_of_extensions_is_refused(length: int, tmp_path: Path) -> None:
    for i in range(length):
        (tmp_path / f"{i}.toml").write_text(f'extends = "./{(i + 1) % length}.toml"')
    with pytest.raises(UserError, match=r"0\.toml: extends: goes round in a circle: .*→"):
        load_profile(tmp_path / "0.toml")


def test_a_circle_through_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "real" / "again")
    (tmp_path / "real" / "a.toml").write_text('extends = "again/a.toml"')
    with pytest.raises(UserError, match="goes round in a circle"):
        load_profile(tmp_path / "real" / "a.toml")


def test_the_pack_is_the_only_wording_in_a_profile() -> None:
    kinds = {spec.name: type(getattr(P2R, spec.name)) for spec in dataclasses.fields(P2R)}
    assert kinds["pack"] is PromptPack
    assert [name for name, kind in kinds.items() if kind is str] == ["name", "option_style"]
