"""`--set`: profiles derived on the command line, with names and hashes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.adapter import load_profile
from p2r_bench.adapter.profile_changes import derived_profile
from p2r_bench.errors import UserError
from p2r_bench.run.pairs import changes_of
from p2r_bench.run.resolve import profile_of
from p2r_bench.run.sweep import read_sweep, specs_of
from p2r_bench.store.reader import RunReader
from p2r_bench.testing import write_bench
from tests.trust.runs import run_with

P2R = load_profile("p2r")


def test_every_combination_is_a_profile_of_its_own() -> None:
    sets = ("image.max_pixels=1048576,2097152,4194304", "crop.count=1,3")
    specs = specs_of({"tasks": "Synth-HR", "profile": "p2r", "sets": sets})
    profiles = [profile_of(spec) for spec in specs]
    assert [p.name for p in profiles] == [
        "p2r+image.max_pixels=1048576+crop.count=1",
        "p2r+image.max_pixels=1048576",
        "p2r+image.max_pixels=2097152+crop.count=1",
        "p2r+image.max_pixels=2097152",
        "p2r+crop.count=1",
        "p2r",
    ]
    assert len({p.hash for p in profiles}) == 6
    assert profiles[-1].hash == P2R.hash, "a value that the profile has makes no other profile"
    assert (profiles[0].image.max_pixels, profiles[0].crop.count) == (1_048_576, 1)


def test_a_derived_profile_is_the_one_that_a_file_makes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'extends = "p2r"\nstructured_boxes = true\n[image]\ntransport = "jpeg:75"\n'
        "[sampling.reason]\nmax_tokens = 99\n"
    )
    sets = ("structured_boxes=true", "image.transport=jpeg:75", "sampling.reason.max_tokens=99")
    (changes,) = changes_of(sets)
    derived = derived_profile(P2R, changes)
    assert derived.hash == load_profile(tmp_path / "mine.toml").hash
    assert derived.name == "p2r+" + "+".join(sets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop.cnt=1", "crop.cnt: no such field; known here are count"),
        ("crop=1", "crop: is a table; name a field, such as crop.count"),
        ("crop.count.x=1", "crop.count.x: count has no fields"),
        ("crop.count=two", "crop.count: must be int, not 'two'"),
        ("image.exif=rotate", "image.exif: 'rotate' is not one of apply, ignore"),
        ("name=mine", "name: no such field"),
        ("sampling.reason.seed=1", "sampling.reason.seed: no such field"),
        ("image.min_pixels=99999999", "min_pixels"),
        ("crop.count", "write it as FIELD=VALUE"),
        ("crop.count=", "write it as FIELD=VALUE"),
    ],
)
def test_what_is_no_field_or_no_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        (changes,) = changes_of([text])
        derived_profile(P2R, changes)
    assert "--set" in str(refused.value) and message in str(refused.value)


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="given twice"):
        changes_of(["crop.count=1", "crop.count=2"])


@given(
    st.dictionaries(st.from_regex(r"[a-z]+(\.[a-z_]+)?", fullmatch=True),
                    st.lists(st.integers(0, 9), min_size=1, max_size=3), max_size=3)
)  # fmt: skip
def test_combinations_are_the_product(choices: dict[str, list[int]]) -> None:
    found = changes_of(f"{k}={','.join(map(str, v))}" for k, v in choices.items())
    expected = 1
    for values in choices.values():
        expected *= len(values)
    assert len(found) == expected
    assert all(one.keys() == choices.keys() for one in found)
    assert all(one[key] in choices[key] for one in found for key in one)


def test_a_sweep_file_may_derive_profiles(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('tasks = "Synth-HR"\nset = ["crop.count=1,3"]\n')
    (options,) = read_sweep(tmp_path / "sweep.toml", {})
    assert [dict(spec.profile_changes) for spec in specs_of(options)] == [
        {"crop.count": 1},
        {"crop.count": 3},
    ]


def test_a_run_stores_the_derived_profile(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=1)
    plain = run_with(data, tmp_path, lambda n: True)
    derived = run_with(data, tmp_path, lambda n: True, profile_changes={"crop.count": 1})
    labels = RunReader(derived.path).manifest.content["labels"]
    assert labels["profile"] == "p2r+crop.count=1"
    assert derived.run_id != plain.run_id
    same = run_with(data, tmp_path, lambda n: True, profile_changes={"crop.count": 3})
    assert (same.run_id, same.added) == (plain.run_id, 0)
