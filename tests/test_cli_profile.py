"""`p2r-bench profile`: what a profile holds, and what tells two apart."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from p2r_bench.adapter import builtin_profiles, load_profile
from p2r_bench.cli import main


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["profile", *args])


def test_list_has_every_builtin_with_its_hash() -> None:
    listed = json.loads(run("list", "--json").output)
    assert {p["name"]: p["hash"] for p in listed} == {
        n: load_profile(n).hash for n in builtin_profiles()
    }
    assert all(name in run("list").output for name in builtin_profiles())


def test_show_resolves_bases_and_wording() -> None:
    shown = json.loads(run("show", "original-eval", "--json").output)
    profile = load_profile("original-eval")
    assert shown["hash"] == profile.hash
    assert shown["sampling"]["perceive"]["max_tokens"] == 256
    assert shown["crop"]["count"] == 3
    assert shown["pack"]["perceive"] == profile.pack.perceive
    text = run("show", "original-eval").output
    assert (
        text.startswith(f"original-eval  {profile.hash}\n")
        and "sampling.perceive.max_tokens = 256" in text
    )


def test_diff_names_each_field_that_differs_and_no_other() -> None:
    told = json.loads(run("diff", "p2r", "original-eval", "--json").output)
    fields = {f["field"]: (f["left"], f["right"]) for f in told["fields"]}
    assert fields["sampling.perceive.max_tokens"] == (512, 256)
    assert fields["image.min_pixels"] == (65536, 16384)
    assert "crop.count" not in fields
    text = run("diff", "p2r", "original-eval").output
    assert "sampling.perceive.max_tokens\n  - 512\n  + 256\n" in text


def test_diff_of_a_file_that_only_renames_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nextends = "p2r"\n', "utf-8")
    assert (
        run("diff", "p2r", str(file)).output
        == f"p2r and mine are the same: {load_profile('p2r').hash}\n"
    )


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    result = run("show", "p2")
    assert result.exit_code == 2 and "original-eval" in result.output
