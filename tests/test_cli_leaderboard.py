"""`p2r-bench leaderboard`: separate tables, marks, widths, and escaping."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.cli.table import width
from p2r_bench.store.leaderboard import update_leaderboard
from p2r_bench.store.schema import LEADERBOARD

LONG = "organisation/A-Model-With-A-Very-Long-Name-That-Fills-A-Terminal-Alone-72B-Instruct"


def leaderboard(out: Path, *options: str, **environment: str) -> Result:
    args = ["leaderboard", "--out", str(out), *options]
    return CliRunner().invoke(main, args, env=environment, catch_exceptions=False)


def figure(value: float | None = 0.75, **changes: Any) -> dict[str, Any]:
    """A headline row of a complete run on published data."""
    given = {
        **{"model": "m", "mode": "p2r", "task": "HR-Bench", "subset": "4K", "run_id": "run-1"},
        **{"metric": "accuracy", "per": "sample", "value": value, "ci_low": 0.7, "ci_high": 0.8},
        **{"n": 800, "complete": True, "mixed": False, "source": "measured", "headline": True},
        **{"scorer": "strict", "scorer_version": "2", "scorer_params_hash": "p"},
        **{"profile": "p2r", "profile_hash": "h", "data_digest": "d" * 64, "seed": 0},
        **{"data_kind": "published", "repeats": 1, "engine": "vllm", "seconds_per_sample": 2.5},
    }
    return {**dict.fromkeys(LEADERBOARD.names), **given, **changes}


def board(out: Path, *rows: dict[str, Any]) -> Path:
    numbered = [
        row if row["run_id"] != "run-1" else {**row, "run_id": f"run-{number}"}
        for number, row in enumerate(rows, start=1)
    ]
    update_leaderboard(out, numbered)
    return out


def tables(output: str) -> dict[str, list[str]]:
    """Title to the lines below it."""
    blocks = [block.splitlines() for block in output.strip().split("\n\n")]
    return {lines[0]: lines[1:] for lines in blocks}


def test_figures_on_synthetic_data_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    rows = [figure(0.99, model="toy", data_kind="synthetic"), figure(0.7, model="real")]
    out = tables(leaderboard(board(tmp_path, *rows), "--task", "HR-Bench").output)
    (real,) = (lines for title, lines in out.items() if title.startswith("HR-Bench 4K:"))
    (toy,) = (lines for title, lines in out.items() if "4K, synthetic data" in title)
    assert any("P2R-8B" in line for line in real) and not any("toy" in line for line in real)
    assert any("toy" in line for line in toy) and not any("P2R" in line for line in toy)


@pytest.mark.parametrize("kind", ["synthetic", "partial", None])
def test_other_than_published_data_is_never_ranked(tmp_path: Path, kind: str | None) -> None:
    out = board(tmp_path, figure(0.9, data_kind=kind))
    rows = json.loads(leaderboard(out, "--json", "--model", "m").output)
    assert [(r["rank"], r["unranked"]) for r in rows] == [(None, f"{kind or 'unknown'} data")]
    text = leaderboard(out, "--model", "m").output
    assert f"{kind or 'unknown'} data (not ranked" in text and "#" not in text


def test_measured_and_reported_rows_are_told_apart_and_only_one_is_ranked(tmp_path: Path) -> None:
    output = leaderboard(board(tmp_path, figure(0.7)), "--task", "HR-Bench").output
    lines = output.split("\n\n")[0].splitlines()
    (mine,) = (line.split() for line in lines if " m " in line)
    (theirs,) = (line.split() for line in lines if "P2R-8B" in line)
    assert mine[:4] == ["1", "m", "p2r", "70.0"] and "reported" not in mine
    assert theirs[0] == "-" and "reported" in theirs


def test_ranks_of_incomparable_rows_have_different_letters(tmp_path: Path) -> None:
    rows = [
        figure(0.7, model="a"),
        figure(0.6, model="b"),
        figure(0.8, model="c", profile_hash="i", profile="original-eval"),
    ]
    output = leaderboard(board(tmp_path, *rows), "--source", "measured", "--model", "?").output
    ranks = {line.split()[1]: line.split()[0] for line in output.splitlines()[3:6]}
    assert ranks == {"c": "1a", "a": "1b", "b": "2b"}
    assert "Ranks with different letters are not comparable" in output
    assert "original-eval" in output and "profile: " not in output


@pytest.mark.parametrize(
    ("column", "values", "header"),
    [
        ("seed", (0, 7), "seed"),
        ("repeats", (1, 4), "repeats"),
        ("engine", ("vllm", "openai"), "engine"),
        ("mode_params", (None, '{"crops": 5}'), "mode parameters"),
        ("scorer_version", ("2", "3"), "scorer"),
        ("scorer_params_hash", ("p1", "p2"), "scorer"),
        ("profile_hash", ("h1", "h2"), "profile"),
        ("model_digest", ("w1", "w2"), "weights"),
        ("data_digest", ("d1", "d2"), "data"),
        ("mode_version", ("p2r-bench 1", "p2r-bench 2"), "mode from"),
    ],
)
def test_what_differs_between_runs_is_a_column_and_what_does_not_is_not(
    tmp_path: Path, column: str, values: tuple[Any, Any], header: str
) -> None:
    rows = [figure(0.7, **{column: value}) for value in values]
    out = board(tmp_path, *rows)
    shown = leaderboard(out, "--model", "m").output.splitlines()
    (line,) = (line for line in shown if line.split()[:2] == ["#", "model"])
    assert header in line
    assert all(any(str(value) in text for text in shown) for value in values if value is not None)
    one = board(tmp_path / "one", rows[0])
    assert header not in leaderboard(one, "--model", "m").output.splitlines()[2]


def test_counts_are_shown_where_they_are_not_zero(tmp_path: Path) -> None:
    counts = {"n_no_answer": 3, "n_cut_off": 2, "n_unparsed_boxes": 0, "n_no_box": 0}
    out = board(tmp_path, figure(0.7, **counts), figure(0.6, n_no_box=0, n_errors=0))
    header = leaderboard(out, "--model", "m").output
    assert "no answer" in header and "cut off" in header
    assert "no box" not in header and "unparsed" not in header and "errors" not in header


def test_an_incomplete_row_shows_its_bounds_and_what_is_missing(tmp_path: Path) -> None:
    gaps = {"complete": False, "value_low": 0.5, "value_high": 0.9, "n_missing": 4, "n_errors": 1}
    out = board(tmp_path, figure(0.9, **gaps), figure(0.6, n_missing=0, n_errors=0))
    header, first, second = leaderboard(out, "--model", "m").output.splitlines()[2:5]
    assert "incomplete" in first and "50.0–90.0" in first
    assert first.split()[0] == "-" and second.split()[0] == "1"
    assert "bounds" in header and "missing" in header and "errors" in header


def test_every_value_has_its_interval_and_its_n(tmp_path: Path) -> None:
    rows = [figure(0.7), figure(0.8, category="single", n=400, run_id="run-1")]
    rows += [{**figure(0.4, metric="accuracy_all_rotations", per="question"), "n": 200}]
    numbered = [{**row, "run_id": "one"} for row in rows]
    output = leaderboard(board(tmp_path, *numbered), "--model", "m").output
    assert "single (n 400)" in output and "accuracy all rotations (n 200)" in output
    assert output.count("[70.0–80.0]") == 3


def test_the_chance_level_stands_in_the_table_at_its_place(tmp_path: Path) -> None:
    rows = [
        figure(0.7, model="better", chance=0.25),
        figure(0.2, model="worse", chance=0.25),
    ]
    out = board(tmp_path, *rows)
    lines = leaderboard(out, "--source", "measured", "--mode", "p2r", "--task", "HR-Bench").output
    order = [line.split()[1] for line in lines.splitlines()[3:6]]
    assert order == ["better", "(chance)", "worse"]
    assert "25.0" in lines.splitlines()[4]


@pytest.mark.parametrize("columns", [40, 80, 120, 160])
def test_tables_fit_the_terminal_and_say_what_was_left_out(tmp_path: Path, columns: int) -> None:
    rows = [
        {
            **figure(0.7, category=category, chance=0.25, n_no_answer=3),
            "run_id": run,
            "model": model,
        }
        for run, model in (("one", LONG), ("two", "short"))
        for category in (None, "single", "cross", "Perception/Remote Sensing")
    ]
    out = board(tmp_path, *rows)
    result = leaderboard(out, "--task", "HR-Bench", COLUMNS=str(columns))
    widest = max(width(line) for line in result.output.splitlines())
    assert widest <= columns or columns == 40
    for value in ("accuracy", "[70.0–80.0]", "800"):
        assert value in result.output
    assert "Columns left out" in result.output and "--wide" in result.output
    assert "left out" not in leaderboard(out, "--task", "HR-Bench", COLUMNS="300").output
    everything = leaderboard(out, "--task", "HR-Bench", "--wide", COLUMNS=str(columns)).output
    assert LONG in everything and "Perception/Remote Sensing" in everything
    assert "latency (s)" in everything and "left out" not in everything


def test_a_figure_that_cannot_be_computed_says_why(tmp_path: Path) -> None:
    rotations = figure(None, metric="accuracy_all_rotations", per="question", reason="no pairs")
    rows = [{**row, "run_id": "one"} for row in (figure(0.7, data_note="150 of 200"), rotations)]
    output = leaderboard(board(tmp_path, *rows), "--model", "m").output
    assert "accuracy_all_rotations: no pairs" in output and "about the data: 150 of 200" in output


def test_a_table_without_a_value_says_why(tmp_path: Path) -> None:
    out = board(tmp_path, figure(None, reason="every row was skipped", complete=False))
    output = leaderboard(out, "--model", "m").output
    assert "incomplete, no value" in output and "accuracy: every row was skipped" in output


def test_shortened_names_stay_different(tmp_path: Path) -> None:
    names = [f"organisation/Model-With-A-Long-Name-{size}-Instruct-In-A-Long-Form" for size in "48"]
    out = board(tmp_path, *(figure(0.7, model=name) for name in names))
    lines = leaderboard(out, "--model", "org*", COLUMNS="60").output.splitlines()
    shown = [line.split()[1] for line in lines if "Long-Form" in line]
    assert len(set(shown)) == 2 and all("…" in name for name in shown)


def test_columns_are_chosen_by_name_and_an_unknown_one_lists_them(tmp_path: Path) -> None:
    out = board(tmp_path, figure(0.7, n_no_box=0))
    output = leaderboard(out, "--model", "m", "--columns", "model,latency,accuracy").output
    assert output.splitlines()[2].split() == ["model", "latency", "(s)", "accuracy"]
    zero = leaderboard(out, "--model", "m", "--columns", "rank,mode,no_box,scorer").output
    assert zero.splitlines()[-1].split() == ["1", "p2r", "0", "strict", "2"]
    refused = leaderboard(out, "--model", "m", "--columns", "modell,latency")
    assert refused.exit_code == 2
    assert "modell" in refused.output and "accuracy" in refused.output and "seed" in refused.output
    as_csv = leaderboard(out, "--model", "m", "--columns", "model,value", "--format", "csv").output
    assert as_csv == "model,value\nm,0.75\n".replace("0.75", "0.7")
    assert leaderboard(out, "--columns", "modell", "--json").exit_code == 2


def test_json_and_csv_hold_every_figure(tmp_path: Path) -> None:
    out = board(tmp_path, figure(0.75))
    as_json = json.loads(leaderboard(out, "--json", "--model", "m").output)
    text = leaderboard(out, "--format", "csv", "--model", "m").output
    as_csv = list(csv.DictReader(io.StringIO(text)))
    columns = {*LEADERBOARD.names, "reference", "rank", "unranked"}
    assert set(as_json[0]) == columns == set(as_csv[0])
    assert [r["value"] for r in as_json] == [0.75] == [float(r["value"]) for r in as_csv]


HOSTILE = "=cmd|'/C calc'!A0\n\x1b[2J<b>&_%$#{}~^\\x"


@pytest.mark.parametrize("style", ["table", "markdown", "latex", "csv"])
def test_names_are_text_in_every_format(tmp_path: Path, style: str) -> None:
    row = figure(0.7, model=HOSTILE, mode="=x", engine="\x1b]0;t\x07", profile="a|b")
    output = leaderboard(board(tmp_path, row), "--mode", "=x", "--format", style).output
    assert (
        "\x1b" not in output
        and "\x07" not in output
        and r"\x1b" in output.replace(r"\textbackslash{}", "\\").replace("\\\\", "\\")
    )
    if style == "csv":
        (read,) = csv.DictReader(io.StringIO(output))
        assert read["model"].startswith("'=") and read["mode"] == "'=x"
    if style == "markdown":
        bars = {
            line.replace(r"\|", "").count("|") for line in output.splitlines() if line[:1] == "|"
        }
        assert len(bars) == 1 and "<b>" not in output
    if style == "latex":
        assert r"\_\%\$\#\{\}\textasciitilde{}\textasciicircum{}" in output


def test_latex_names_its_packages_and_fits_the_page(tmp_path: Path) -> None:
    out = board(tmp_path, figure(0.7), figure(0.6, model=LONG + LONG))
    text = leaderboard(out, "--source", "measured", "--mode", "p2r", "--format", "latex").output
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 1
    first = text.split(r"\end{table}")[0]
    assert first.startswith("% Needs \\usepackage{booktabs}, \\usepackage{graphicx}")
    assert r"\resizebox{\textwidth}{!}{%" in first and r"\end{tabular}}" in first
    narrow = leaderboard(board(tmp_path / "b", figure(0.7)), "--model", "m", "--format", "latex")
    assert narrow.output.startswith("% Needs \\usepackage{booktabs}\n")
    assert "resizebox" not in narrow.output and "% Columns left out" not in narrow.output


def test_without_a_leaderboard_the_reference_rows_are_shown(tmp_path: Path) -> None:
    result = leaderboard(tmp_path, "--model", "*4b*")
    assert "P2R-4B" in result.output and "Qwen3-VL-4B-Instruct" in result.output
    assert "GPT-4o" not in result.output and list(tmp_path.iterdir()) == []


def test_the_source_tells_this_folders_runs_from_the_bundled_models(tmp_path: Path) -> None:
    out = board(tmp_path, figure(0.7))
    models = {
        source: {
            r["model"] for r in json.loads(leaderboard(out, "--json", "--source", source).output)
        }
        for source in ("measured", "reference", "reported")
    }
    assert models["measured"] == {"m"} and models["reference"] == {"p2r-tiny", "p2r-tiny-base"}
    assert "P2R-8B" in models["reported"]
    output = leaderboard(tmp_path / "none", "--source", "measured").output
    assert "--source: no row with measured; there are: reference, reported" in output


def test_a_filter_that_nothing_passes_says_what_there_is(tmp_path: Path) -> None:
    result = leaderboard(tmp_path, "--task", "Nope")
    assert result.exit_code == 2 and "--task" in result.output and "V-Star" in result.output
