"""Profiles from files: extending, reading again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.errors import UserError
from p2r_bench.types import Sampling

EVAL, P2R, TINY = load_profile("original-eval"), load_profile("p2r"), load_profile("tiny")


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
        ("crops = 3", "crops: no such field; known here are name, family"),
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
        ("[answers]\npair = 'both'", "answers.pair: 'both' is not one of first, last"),
        ("thoughts = 'drop'", "thoughts: 'drop' is not one of cut, opened, keep"),
        ("boxes = 'strict'", "boxes: 'strict' is not one of tolerant, published"),
        (
            "[sampling.reason]\nstop = ['</answer>']",
            "sampling.reason.stop: must not hold </answer>",
        ),
        ("[image]\nfactor = 32", "image.factor: no such field"),
        ("[image]\nmin_pixels = 0", "image.min_pixels: must be at least 1"),
        ("[image]\nmax_pixels = 65536", "image.max_pixels: min_pixels must not be above 32768"),
        (
            "[image]\nsecond_min_pixels = 4194304",
            "image.max_pixels: min_pixels must not be above 2097152",
        ),
        ("family = 'qwen'", "family: no family is called 'qwen'"),
        ("family = 'internvl'\nstructured_boxes = true", "structured_boxes: boxes of the family"),
        ("[image]\nsecond_min_pixels = -1", "image.second_min_pixels: must not be negative"),
        ("[image]\nexif = 'drop'", "image.exif: 'drop' is not one of apply, ignore"),
        ("[image]\nroute = 'warp'", "image.route: known are exact, fast"),
        ("[image]\ntransport = 'jpeg'", 'image.transport: must be "lossless", '),
        ("[image]\ntransport = 'jpeg:075'", 'image.transport: must be "lossless", '),
        ("[image]\ntransport = 'jpeg:101'", 'image.transport: must be "lossless", '),
        ("[image]\ntransport = 'webp:0'", 'image.transport: must be "lossless", '),
        ("[image]\nmax_bytes = -1", "image.max_bytes: must be at least 1, or 0"),
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
        ("[sampling.reason]\ntop_k = -1", "sampling.reason.top_k: must be at least 1, or 0"),
        ("[sampling.reason]\ntop_k = 20.0", "sampling.reason.top_k: must be int, not 20.0"),
        ("[sampling.reason]\nmin_p = 1.5", "sampling.reason.min_p: must be from 0 to 1"),
        (
            "[sampling.think]\npresence_penalty = 2.5",
            "sampling.think.presence_penalty: must be from -2 to 2",
        ),
        (
            "[sampling.think]\nfrequency_penalty = nan",
            "sampling.think.frequency_penalty: must be from -2 to 2",
        ),
        ("[sampling.answer]\nstop = ['']", "sampling.answer.stop: an empty string would"),
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
    with pytest.raises(UserError, match=r"mine\.toml: family: missing"):
        written(tmp_path, 'prompts = "default"')
    with pytest.raises(UserError, match=r"mine\.toml: image\.second_min_pixels: missing"):
        written(
            tmp_path,
            'prompts = "default"\nfamily = "auto"\n[image]\nmax_pixels = 9999999\nmin_pixels = 1024',
        )
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
    with pytest.raises(UserError, match=r"there is no profile .*original-eval.*tiny"):
        load_profile(name)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle_of_extensions_is_refused(length: int, tmp_path: Path) -> None:
    for i in range(length):
        (tmp_path / f"{i}.toml").write_text(f'extends = "./{(i + 1) % length}.toml"')
    with pytest.raises(UserError, match=r"0\.toml: extends: a circle") as refused:
        load_profile(tmp_path / "0.toml")
    assert str(refused.value).count("→") == length


def test_a_circle_through_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "a.toml").write_text('extends = "again/a.toml"')
    with pytest.raises(UserError, match="a circle"):
        load_profile(tmp_path / "real" / "a.toml")


def test_colour_order_is_part_of_the_hash(tmp_path: Path) -> None:
    profile = written(tmp_path, 'extends = "p2r"\n[annotate]\ncolours = ["green", "red"]')
    swapped = written(tmp_path, 'extends = "p2r"\n[annotate]\ncolours = ["red", "green"]')
    assert profile.hash != swapped.hash


def test_an_empty_extension_and_whole_numbers_keep_the_hash(tmp_path: Path) -> None:
    assert written(tmp_path, 'extends = "p2r"').hash == P2R.hash
    assert written(tmp_path, 'extends = "p2r"\n[sampling.reason]\ntop_p = 1').hash == P2R.hash
