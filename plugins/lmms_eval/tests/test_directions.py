"""The same documents through both command lines, with the bundled model: same texts, same scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROWS

TASKS = ("vstar_local", "hrbench_local", "mme_local")
METRICS = {
    "vstar_local": "vstar_overall_acc",
    "hrbench_local": "average",
    "mme_local": "mme_realworld_score",
}


def run(*words: str, cwd: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def there(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`python -m lmms_eval --model p2r` over the three benchmarks."""
    folder = tmp_path_factory.mktemp("there")
    words = ["--model_args", "model=p2r-tiny,mode=p2r", "--tasks", ",".join(TASKS)]
    words += ["--include_path", str(theirs), "--output_path", "logs", "--log_samples"]
    run("lmms_eval", "--model", "p2r", *words, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def here(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`p2r-bench run --tasks lmms:…` over the same."""
    folder = tmp_path_factory.mktemp("here")
    words = ["--mode", "p2r", "--tasks", ",".join(f"lmms:{task}" for task in TASKS)]
    said = run("p2r_bench", "run", *words, "--task-arg", f"include_path={theirs}", cwd=folder)
    assert "DEBUG" not in said and "INFO" not in said, "lmms-eval's log lines are not ours"
    return folder


def results_of(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("*_results.json")
    results: dict[str, Any] = json.loads(path.read_text())
    return results


def samples_of(folder: Path, task: str) -> list[dict[str, Any]]:
    (path,) = folder.rglob(f"*_samples_{task}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(folder: Path, task: str) -> tuple[Path, pd.DataFrame]:
    (run_folder,) = folder.rglob(f"runs/*-lmms{task.replace('_', '')}-*")
    return run_folder, pd.read_parquet(run_folder / "samples.parquet")


@pytest.mark.parametrize("task", TASKS)
def test_the_same_samples_score_the_same(here: Path, there: Path, task: str) -> None:
    run_folder, _ = rows_of(here, task)
    verdicts = pd.read_parquet(run_folder / "verdicts.parquet")
    ours = verdicts[verdicts["scorer"] == "lmms"].set_index("sample_id")
    logged = samples_of(there / "logs", task)
    assert len(ours) == len(logged) == ROWS
    for sample in logged:
        verdict = ours.loc[str(sample["doc_id"])]
        assert sample["filtered_resps"] == (verdict["extracted"] or "Z")
    share = float(ours["correct"].astype(float).mean())
    figure = results_of(there / "logs")["results"][task][f"{METRICS[task]},none"]
    assert figure == pytest.approx(share * (100 if task == "vstar_local" else 1))
    board = pd.read_parquet(here / "results" / "leaderboard.parquet")
    own = board[(board["task"] == f"lmms:{task}") & board["headline"] & board["category"].isna()]
    assert list(own["scorer"]) == ["lmms"] and list(own["value"]) == [share]
    assert bool(own["complete"].all())


@pytest.mark.parametrize("task", TASKS)
def test_the_same_calls_are_made(here: Path, there: Path, task: str) -> None:
    _, ours = rows_of(here, task)
    path, theirs = rows_of(there, task)
    assert path.is_relative_to(there / "logs"), "the trace lies beside lmms-eval's samples"
    for mine, other in zip(ours["stages"], theirs["stages"], strict=True):
        assert [s["request_digest"] for s in mine] == [s["request_digest"] for s in other]
        assert [s["text"] for s in mine] == [s["text"] for s in other]


def test_an_exported_run_is_what_lmms_eval_would_have_written(
    here: Path, there: Path, theirs: Path
) -> None:
    task = "vstar_local"
    run_folder, _ = rows_of(here, task)
    words = [str(run_folder), "--out", "exported", "--include-path", str(theirs)]
    run("p2r_bench", "lmms", "export", *words, cwd=here)
    exported, original = results_of(here / "exported"), results_of(there / "logs")
    assert exported["results"][task] == original["results"][task]
    assert exported["task_hashes"][task] == original["task_hashes"][task]
    assert exported.keys() - original.keys() == set()
    assert samples_of(here / "exported", task) == samples_of(there / "logs", task)


def test_a_run_of_our_own_task_is_exported_with_our_verdicts(theirs: Path, tmp_path: Path) -> None:
    words = [
        "--mode",
        "default",
        "--tasks",
        "V-Star",
        "--data-dir",
        str(theirs / "vstar"),
        "--quiet",
    ]
    run("p2r_bench", "run", *words, cwd=tmp_path)
    (run_folder,) = (tmp_path / "results" / "runs").iterdir()
    run("p2r_bench", "lmms", "export", str(run_folder), "--out", "exported", cwd=tmp_path)
    metrics = pd.read_parquet(run_folder / "metrics.parquet")
    value = metrics[metrics["headline"] & metrics["category"].isna()]["value"].item()
    exported = results_of(tmp_path / "exported")
    assert exported["results"]["V-Star"]["accuracy,strict"] == value
    samples = samples_of(tmp_path / "exported", "V-Star")
    assert [sample["accuracy"] for sample in samples].count(1.0) == round(value * ROWS)
