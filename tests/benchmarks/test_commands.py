"""Every benchmark runs to its end on a few rows, and its last line is one JSON object with the documented keys."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import figures
from benchmarks.data import with_comment
from tests.documents import ROOT

README = ROOT / "benchmarks" / "README.md"
SLEEPING = ("--speed", "400", "--resolution", "4k")

COMMANDS: dict[str, tuple[str, ...]] = {
    "schedules": ("--rows", "8", *SLEEPING),
    "floor": ("--rows", "8", *SLEEPING),
    "images": ("--rows", "4", "--resolution", "4k"),
    "memory": ("--rows", "4,8", *SLEEPING),
    "pipeline": ("--rows", "20,40", "--repeats", "1"),
    "aggregate": ("--rows", "20,40"),
    "comparing": ("--rows", "40"),
    "coverage": ("--draws", "3"),
    "start_up": ("--runs", "1"),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def documented_keys(name: str) -> set[str]:
    """The keys that the page lists for a benchmark."""
    (line,) = re.findall(rf"^\| `{name}` \|.*$", README.read_text("utf-8"), re.MULTILINE)
    return set(re.findall(r"`(\w+)`", line.split("|")[3]))


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_ends_with_its_documented_figures(
    name: str,
    as_json: bool,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if not as_json and name in ("memory", "start_up", "images"):
        return  # the table is printed by the same code; these take seconds
    arguments = [*COMMANDS[name], *(["--json"] if as_json else [])]
    if name not in ("comparing", "coverage", "start_up"):
        arguments += ["--cache-dir", str(cache)]
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    importlib.import_module(f"benchmarks.{name}").main()
    lines = capfd.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    assert found["benchmark"] == name
    assert documented_keys(name) <= set(found)
    assert set(found["machine"]) >= {"cpu", "cores", "load", "python"}
    assert (len(lines) == 1) == as_json
    _, say = figures.COMMANDS[name]
    assert say(found)
    if name == "schedules":
        assert (found["equal_texts"], found["differences"]) == (1.0, [])
    if name == "images":
        assert found["exact_equal"]


def test_memory_is_measured_with_a_server_in_another_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = ("--engine", "openai", "--latency", "0.01")
    arguments = [*engine, "--rows", "8", "--resolution", "4k", "--cache-dir", str(cache), "--json"]
    monkeypatch.setattr(sys, "argv", ["memory", *arguments])
    importlib.import_module("benchmarks.memory").main()
    found = json.loads(capfd.readouterr().out)
    assert found["cpu_s_per_row"] > 0 and found["peak_mb_by_rows"].keys() == {"8"}


def test_the_script_for_a_gpu_runs_to_its_end_without_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small = ("--rows", "4", "--large-rows", "4", "--resolution", "4k", "--architecture", "tiny")
    arguments = ["accelerator", "--device", "cpu", *small, "--cache-dir", str(cache)]
    monkeypatch.setattr(sys, "argv", arguments)
    importlib.import_module("benchmarks.accelerator").main()
    *table, last = capfd.readouterr().out.splitlines()
    found = json.loads(last)
    assert (found["equal_texts"], found["differences"], found["rows"]) == (1.0, [], 4)
    assert found["busy_share"] is None and 0 < found["engine_busy_share"] <= 1
    assert found["rows_per_s"] > 0 and found["rows_per_s_barrier"] > 0
    lines = [line for line in table if line.startswith("|")]
    assert len(lines) == 6 and all(line.count("|") == 3 for line in lines)
    assert "100.0 % equal texts" in lines[2] and "device busy unavailable" in lines[3]


def test_every_benchmark_is_on_the_page_in_make_and_here() -> None:
    page = set(re.findall(r"^\| `(\w+)` \|", README.read_text("utf-8"), re.MULTILINE))
    (made,) = re.findall(
        r"^BENCHMARKS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    assert set(COMMANDS) == page == set(made.split()) == set(figures.COMMANDS)


def test_a_copy_of_an_image_file_is_another_file_of_the_same_picture(cache: Path) -> None:
    from p2r_bench.adapter import decode
    from p2r_bench.synth import iter_rows

    jpeg = next(iter_rows(0, 1, "4k")).image
    copy = with_comment(jpeg, "copy 1")
    assert copy != jpeg
    assert decode(copy).tobytes() == decode(jpeg).tobytes()


def test_figures_replace_their_own_lines_and_leave_the_rest() -> None:
    begin, end = figures.BEGIN, figures.END
    page = f"before\n{begin}| command | outcome | machine |\n|---|---|---|\n"
    page += f"| `python -m benchmarks.floor` | old floor | m |\n| `python -m benchmarks.images` | old | m |\n{end}after\n"
    new = figures.replaced(page, {"images": "| `python -m benchmarks.images` | new | m |"})
    assert new.startswith("before\n") and new.endswith(f"{end}after\n")
    assert "old floor" in new and "| new |" in new and "| old |" not in new
    assert figures.replaced(new, {}) == new
