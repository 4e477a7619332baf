"""`compare` on stored runs: what is paired, what is refused, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2r_bench.stats.comparison import compared
from p2r_bench.stats.paired import paired_difference
from p2r_bench.testing import write_bench
from tests.trust.runs import invoke, json_of, run_with


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """Data of 48 rows of 12 images; runs that are right in 12, 40 and 41 rows."""
    folder = tmp_path_factory.mktemp("bench")
    data, out = write_bench(folder / "data", questions=12), folder / "results"
    runs = [
        run_with(data, out, lambda n: n % 4 == 0, "default"),
        run_with(data, out, lambda n: n >= 8, "thinking"),
        run_with(data, out, lambda n: n >= 8 or n == 1, "p2r"),
    ]
    return data, out, [run.run_id for run in runs]


def test_every_pair_is_compared_row_by_row(bench: tuple[Path, Path, list[str]]) -> None:
    _, out, runs = bench
    found = json_of("compare", *runs, "--out", out)
    (cell,) = found["comparisons"]
    assert (cell["n"], cell["n_clusters"], len(cell["pairs"])) == (48, 12, 3)
    first, _, last = cell["pairs"]
    assert (first["gained"], first["lost"]) == (30, 2)
    assert first["lost_samples"] == [["4K/0", 0], ["4K/4", 0]]
    assert first["difference"] == pytest.approx(28 / 48)
    assert first["significant"] and first["p_holm"] >= first["p"]
    assert last["gained_samples"] == [["4K/1", 0]] and not last["significant"]
    rows = [f"4K/{n}" for n in range(48)]
    expected = paired_difference(
        {row: n % 4 == 0 for n, row in enumerate(rows)},
        {row: n >= 8 for n, row in enumerate(rows)},
        {row: str(n // 4) for n, row in enumerate(rows)},
    )
    assert (first["low"], first["high"], first["p"]) == pytest.approx(
        (expected.low, expected.high, expected.p)
    )
    assert [s["rank"] for s in cell["standings"]] == [[3, 3], [1, 2], [1, 2]]


def test_the_table_names_runs_ranks_and_samples(bench: tuple[Path, Path, list[str]]) -> None:
    _, out, runs = bench
    done = invoke("compare", *runs, "--out", out, "--limit", 2)
    assert done.exit_code == 0
    for line in (
        f"A  scripted · default · {runs[0]}",
        "4K: 48 samples of 12 images",
        "C − B gained: 4K/1",
        "and 28 more (--limit)",
    ):
        assert line in done.output
    assert " 1–2  C scripted · p2r" in done.output


def test_categories_are_compared_where_wanted(bench: tuple[Path, Path, list[str]]) -> None:
    _, out, runs = bench
    found = json_of("compare", *runs[:2], "--out", out, "--by-category")
    categories = {(c["subset"], c["category"]): c["n"] for c in found["comparisons"]}
    assert categories[("4K", None)] == 48
    assert sum(n for (_, category), n in categories.items() if category) == 48


def test_runs_over_other_data_are_refused(
    bench: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    _, out, runs = bench
    other = run_with(write_bench(tmp_path / "data", questions=3), tmp_path, lambda n: True, "p2r")
    done = invoke("compare", runs[0], other.path, "--out", out)
    assert done.exit_code == 2
    assert "different data digests" in done.output and other.run_id in done.output


def test_runs_judged_by_other_rules_are_refused(
    bench: tuple[Path, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out, runs = bench
    monkeypatch.setattr("p2r_bench.judges.strict.Strict.version", "0")
    older = run_with(data, out, lambda n: True, "oracle")
    done = invoke("compare", runs[0], older.run_id, "--out", out)
    assert done.exit_code == 2
    assert "judged by different rules" in done.output and "p2r-bench score" in done.output


def test_profiles_that_differ_are_explained_by_field(
    bench: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    data, out, runs = bench
    (tmp_path / "mine.toml").write_text('extends = "p2r"\n[crop]\ncount = 1\n')
    other = run_with(data, out, lambda n: True, profile=str(tmp_path / "mine.toml"))
    done = invoke("compare", runs[2], other.run_id, "--out", out)
    assert "profile.crop.count: A 3; B 1" in done.output
    found = json_of("compare", runs[2], other.run_id, "--out", out)
    assert {"field": "profile.crop.count", "values": [3, 1]} in found["differs"]


def test_only_samples_that_both_have_scored_count(
    bench: tuple[Path, Path, list[str]],
) -> None:
    data, out, runs = bench
    part = run_with(data, out, lambda n: True, "default", limit=6, seed=7)
    found = json_of("compare", runs[0], part.run_id, "--out", out)
    assert found["comparisons"][0]["n"] == 6
    assert found["left_out"] == [{}, {"not run": 42}]
    assert (
        "left out because of B: 42 not run"
        in invoke("compare", runs[0], part.run_id, "--out", out).output
    )


@pytest.mark.parametrize("arguments", [(), ("latest",), ("latest", "latest")])
def test_two_different_runs_have_to_be_named(
    bench: tuple[Path, Path, list[str]], arguments: tuple[str, ...]
) -> None:
    done = invoke("compare", *arguments, "--out", bench[1])
    assert (done.exit_code == 2 and "two" in done.output) or "twice" in done.output


def test_an_unknown_scorer_is_named_with_those_that_exist(
    bench: tuple[Path, Path, list[str]],
) -> None:
    _, out, runs = bench
    done = invoke("compare", *runs, "--out", out, "--scorer", "strictest")
    assert done.exit_code == 2 and "original" in done.output and "strict" in done.output


def test_three_equal_runs_share_all_ranks() -> None:
    keys = [(str(n), 0) for n in range(40)]
    scores = [{key: float(rng) for key, rng in zip(keys, np.tile([0, 1], 20), strict=True)}] * 3
    found = compared(scores, {key: key[0] for key in keys}, keys)
    assert [s.rank for s in found.standings] == [(1, 3)] * 3
    assert all(pair.p_holm == 1.0 for pair in found.pairs)
