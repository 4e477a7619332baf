"""The reference figures: published ones as printed, and complete runs of the bundled models."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from p2r_bench.store.reference import reference_path, reference_rows
from p2r_bench.store.schema import LEADERBOARD
from tools.reference import updated

ROOT = Path(__file__).parents[2]
REPORTED = [row for row in reference_rows() if row["source"] == "reported"]
MEASURED = [row for row in reference_rows() if row["source"] == "measured"]


def test_figures_are_as_printed() -> None:
    rows = {(r["model"], r["task"], r["subset"], r["category"]): r["value"] for r in REPORTED}
    assert len(rows) == len(REPORTED) == 200
    assert rows["P2R-4B", "V-Star", None, None] == 0.932
    assert rows["P2R-8B", "HR-Bench", "4K", None] == 0.815
    assert rows["P2R-8B", "HR-Bench", "8K", "cross"] == 0.708
    assert rows["P2R-2B", "MME-RealWorld-lite", None, "Reasoning/AD"] == 0.355
    assert rows["o3", "V-Star", None, None] == 0.957


def test_published_figures_are_shares_and_belong_to_no_run() -> None:
    for row in REPORTED:
        assert 0 < row["value"] < 1
        assert row["category"] != "overall"
        assert (row["run_id"], row["complete"], row["data_digest"]) == (None, None, None)


def test_measured_figures_are_complete_runs_of_the_bundled_models() -> None:
    assert {row["model"] for row in MEASURED} == {"p2r-tiny", "p2r-tiny-base"}
    assert all(row["complete"] and not row["mixed"] for row in MEASURED)


def test_the_wheel_ships_the_file_that_the_checkout_has() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    shipped = build["targets"]["wheel"]["force-include"]
    assert shipped == {"results/reference.parquet": "p2r_bench/store/reference.parquet"}
    assert reference_path() == ROOT / "results" / "reference.parquet"


def test_git_ignores_what_runs_write_and_keeps_the_reference() -> None:
    ignored = (ROOT / "results" / ".gitignore").read_text("utf-8").split("\n")
    assert {"/runs/", "/leaderboard.parquet*"} <= {*ignored}
    listed = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:  # not in an sdist
        assert "results/reference.parquet" in listed.stdout
        assert "leaderboard.parquet" not in listed.stdout


def test_new_measurements_replace_the_old_ones_and_leave_the_published() -> None:
    rows = updated(reference_rows(), MEASURED[:3])
    assert rows == [*REPORTED, *MEASURED[:3]]


@pytest.mark.parametrize("fault", [{"complete": False}, {"mixed": True}])
def test_incomplete_and_mixed_runs_are_no_reference(fault: dict[str, bool]) -> None:
    with pytest.raises(SystemExit, match="incomplete or mixed"):
        updated(reference_rows(), [{**dict.fromkeys(LEADERBOARD.names), **MEASURED[0], **fault}])
