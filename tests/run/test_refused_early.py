"""Refusals of `run` come before the rows are read, and name the option and the way out."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from p2r_bench.cli import main


def refused(data: Path, *arguments: str) -> str:
    common = ["run", "--tasks", "HR-Bench", "--mode", "default", "--data-dir", str(data)]
    result = CliRunner().invoke(main, [*common, *arguments])
    assert result.exit_code == 2, result.output
    return result.output


@pytest.mark.parametrize("inside", ["", "runs", "deeper/still"])
def test_out_that_is_a_file(bench: Path, tmp_path: Path, inside: str) -> None:
    file = tmp_path / "out"
    if inside == "runs":
        file.mkdir()
    (file / inside if inside == "runs" else file).write_text("a file")
    out = file if inside == "runs" else file / inside
    text = refused(bench, "--out", str(out))
    assert f"--out {out}: " in text and "is not a folder; name another folder" in text
    assert "reading rows" not in text


def test_out_where_nothing_can_be_written(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("p2r_bench.run.resolve.mkdtemp", refuse)
    out = tmp_path / "new" / "out"
    text = refused(bench, "--out", str(out))
    assert f"--out {out}: no folder can be made in {tmp_path} (Permission denied); name" in text
    assert "reading rows" not in text and not out.parent.exists()


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_model_s_path_that_does_not_exist(bench: Path, tmp_path: Path, engine: str) -> None:
    text = refused(
        bench, "--model", "./nomodel", "--engine", engine, "--out", str(tmp_path / "out")
    )
    assert "--model ./nomodel: neither a folder nor a hub id" in text
    assert "reading rows" not in text and not (tmp_path / "out").exists()


def test_data_without_rows_says_the_way_out(bench: Path, tmp_path: Path) -> None:
    (file,) = bench.glob("*.parquet")
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    text = refused(bench, "--out", str(tmp_path / "out"))
    assert f"HR-Bench: no rows in {bench}; fetch the data again (p2r-bench data fetch" in text
    assert "--data-dir" in text
