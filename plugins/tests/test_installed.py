"""Run by `nox -s plugins`: core, zoom and a new plugin of each kind, all installed from wheels, nothing from the source tree."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

import p2r_bench_zoom
import pandas as pd
import pytest
from PIL import Image

import p2r_bench
from p2r_bench.testing import write_bench

NEW = {
    "p2r-bench-majority": ("modes", "majority"),
    "p2r-bench-signs": ("tasks", "signs"),
    "p2r-bench-lenient": ("judges", "lenient"),
    "p2r-bench-blind": ("engines", "blind"),
    "p2r-bench-ladder": ("trainers", "ladder"),
}
ZOOM = "p2r-bench-zoom"
SEES = 'perceive:reply=[{"bbox_2d":[125,250,375,750],"label":"square"}]'


def p2r(*args: str | Path, folder: Path) -> str:
    """Return the output of the installed command."""
    command = [str(Path(sysconfig.get_path("scripts")) / "p2r-bench"), *map(str, args)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def run(folder: Path, *args: str | Path) -> list[dict[str, Any]]:
    """Results of `p2r-bench run` with the new engine, by the tiny profile."""
    fixed = ("--engine", "blind", "--model", "none", "--profile", "tiny", "--json")
    results: list[dict[str, Any]] = json.loads(p2r("run", *args, *fixed, folder=folder))
    assert all(result["complete"] for result in results)
    return results


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write_bench(tmp_path / "bench")


def test_nothing_comes_from_the_source_tree() -> None:
    installed = Path(sysconfig.get_path("purelib"))
    for package in (p2r_bench, p2r_bench_zoom):
        assert Path(package.__file__ or "").is_relative_to(installed)


def test_all_are_listed_with_their_versions(tmp_path: Path) -> None:
    listed = {
        plugin["name"]: plugin for plugin in json.loads(p2r("plugins", "--json", folder=tmp_path))
    }
    assert {"p2r-bench", ZOOM, *NEW} <= set(listed)
    assert {plugin["status"] for plugin in listed.values()} == {"loaded"}
    for name, (kind, registered) in {**NEW, ZOOM: ("modes", "zoom-tools")}.items():
        assert listed[name]["version"] == metadata.version(name)
        assert listed[name]["provides"] == {kind: [registered]}


def test_run_uses_the_new_mode_and_the_new_engine(tmp_path: Path, bench: Path) -> None:
    (result,) = run(
        tmp_path,
        "--mode",
        "majority",
        "--tasks",
        "HR-Bench",
        "--data-dir",
        bench,
        "--engine-arg",
        SEES,
    )
    rows = pd.read_parquet(Path(tmp_path, result["path"]) / "samples.parquet")
    assert set(rows.n_calls) == {4} and set(rows.extracted_answer) == {"A"}
    assert all(len(crops) == 1 for crops in rows.crops)
    (overall,) = [
        m
        for m in result["metrics"]
        if m["headline"] and m["category"] is None and m["metric"] == "accuracy"
    ]
    assert (overall["value"], overall["n"]) == (0.25, 8)
    assert overall["mode_version"] == "p2r-bench-majority 0.1.0"


def test_zoom_tools_stands_beside_p2r(tmp_path: Path, bench: Path) -> None:
    run(
        tmp_path,
        "--mode",
        "p2r,zoom-tools",
        "--tasks",
        "HR-Bench",
        "--data-dir",
        bench,
        "--engine-arg",
        SEES,
    )
    printed = p2r("leaderboard", "--source", "measured", "--wide", folder=tmp_path)
    assert "zoom-tools" in printed and " calls " in printed
    table = pd.read_parquet(tmp_path / "results" / "leaderboard.parquet")
    rows = table[
        (table.source == "measured")
        & table.headline
        & table.category.isna()
        & (table.metric == "accuracy")
    ]
    assert dict(zip(rows["mode"], rows.calls_per_sample, strict=True)) == {
        "p2r": 2.0,
        "zoom-tools": 1.0,
    }
    assert (rows.output_tokens_per_sample > 0).all() and (rows.seconds_per_sample > 0).all()


def test_run_uses_the_new_task_and_the_new_judge(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "sign.png")
    row = {"image": "sign.png", "question": "Which?", "options": {"A": "left", "B": "right"}}
    lines = [
        json.dumps({"id": number, "answer": answer, **row}) for number, answer in enumerate("AB")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    task = ("--mode", "default", "--tasks", "signs", "--data-dir", tmp_path)
    (result,) = run(tmp_path, *task, "--scorer", "lenient", "--engine-arg", "reply=it must be a")
    (overall,) = [m for m in result["metrics"] if m["headline"]]
    assert (overall["scorer"], overall["value"]) == ("lenient", 0.5)


def test_train_uses_the_new_trainer(tmp_path: Path) -> None:
    (tmp_path / "ladder.toml").write_text(f'output = "{tmp_path}/steps"\nsteps = 2\n', "utf-8")
    p2r("train", "ladder", "--config", "ladder.toml", folder=tmp_path)
    status = json.loads(
        p2r("train", "status", "ladder", "--config", "ladder.toml", "--json", folder=tmp_path)
    )
    assert status == {"steps": 2, "done": 2}


def test_same_command_again_runs_nothing_twice(tmp_path: Path, bench: Path) -> None:
    command = ("--mode", "zoom-tools", "--tasks", "HR-Bench", "--data-dir", bench)
    assert [r["added"] for r in run(tmp_path, *command)] == [8]
    assert [r["added"] for r in run(tmp_path, *command)] == [0]
