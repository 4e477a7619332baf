"""A trained model asks for the profile that it was trained under, and for no other that has its name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from p2r_bench_pra_grpo.checkpoint import write_manifest
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.rounds import evaluation
from p2r_bench_pra_grpo.stage import Stage
from pra_grpo_testing import write_model

from p2r_bench.adapter import load_profile
from p2r_bench.bundled import model_profile

SMALL = 'extends = "p2r"\n[image]\nmax_pixels = 1048576\n'


def labelled(folder: Path, profile: str | Path, start: str | None) -> str | None:
    """Return the profile that a model names after its training under `profile`, from a start that named `start`."""
    stage = Stage(1, "perceiver", folder / "start", None, folder / "stage", seed=0)
    label = write_model(stage.model) / "p2r_bench.json"
    if start is not None:
        label.write_text(json.dumps({"profile": start}), "utf-8")
    config = load_config({"model": "m", "out": "o", "data": [{"format": "synth-hr"}]})
    write_manifest(stage, config, load_profile(profile), {})
    assert json.loads((stage.model / "training.json").read_text())["profile"]["hash"]
    return model_profile(stage.model)


def profile_file(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("start", [None, "tiny", "p2r", "no-such-profile"])
def test_a_built_in_profile_is_named(tmp_path: Path, start: str | None) -> None:
    assert labelled(tmp_path, "tiny", start) == "tiny"


@pytest.mark.parametrize("start", [None, "tiny", "p2r", "no-such-profile"])
def test_another_profile_of_a_built_in_ones_name_is_not(tmp_path: Path, start: str | None) -> None:
    mine = profile_file(tmp_path / "p2r.toml", SMALL)
    assert load_profile(mine).name == "p2r"
    assert labelled(tmp_path, mine, start) is None


def test_a_copy_of_a_built_in_profile_is_named_as_that(tmp_path: Path) -> None:
    copy = profile_file(tmp_path / "mine.toml", 'extends = "tiny"\n')
    assert labelled(tmp_path, copy, None) == "tiny"


def test_a_start_models_own_profile_stays(tmp_path: Path) -> None:
    mine = profile_file(write_model(tmp_path / "stage" / "model") / "mine.toml", SMALL)
    assert labelled(tmp_path, mine, "mine.toml") == str(mine)


def test_every_round_is_evaluated_under_the_start_models_own_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = write_model(tmp_path / "start")
    mine = profile_file(start / "p2r.toml", SMALL)
    (start / "p2r_bench.json").write_text(json.dumps({"profile": "./p2r.toml"}), "utf-8")
    values = {"model": str(start), "out": "o", "data": [{"format": "synth-hr"}]}
    config = load_config(values)
    asked: list[str] = []

    class Asked(Exception):
        """Nothing more is to be seen."""

    def note(*_: object, profile: str, **__: object) -> None:
        asked.append(profile)
        raise Asked

    monkeypatch.setattr(evaluation, "evaluate", note)
    for given in (config, replace(config, profile="tiny")):
        with pytest.raises(Asked):
            evaluation.evaluate_model(given, "a/trained/model")
    assert asked == [str(mine), "tiny"]
