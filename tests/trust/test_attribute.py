"""`attribute`: localisation, the table of p2r against oracle, and curves over box area."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.stats.attribution import (
    Case,
    by_area,
    counts,
    localised,
    outcome_shares,
)
from p2r_bench.store.attributed import cases_of
from p2r_bench.store.reader import RunReader
from p2r_bench.store.scored import read_scored
from p2r_bench.testing import write_bench
from tests.trust.runs import invoke, json_of, run_with

HELD = '[{"bbox_2d": [125, 250, 375, 750], "label": "square"}]'
BESIDE = '[{"bbox_2d": [800, 800, 900, 900], "label": "nothing"}]'


@pytest.mark.parametrize(
    ("crops", "held"),
    [
        ([(0, 0, 100, 100)], True),
        ([(19, 0, 100, 100)], True),
        ([(20, 0, 100, 100)], False),
        ([(10, 10, 55, 110), (55, 10, 110, 110)], False),
        ([], False),
    ],
)
def test_a_box_is_localised_when_one_crop_holds_nine_tenths_of_it(
    crops: list[tuple[float, float, float, float]], held: bool
) -> None:
    """A box of 100 × 100 at (10, 10) is at most 90 % inside a crop up to 100; halves in two crops do not add up."""
    box = (10.0, 10.0, 100.0, 100.0)
    assert localised([box], crops) == held


def test_every_box_has_to_be_held() -> None:
    crop = (0.0, 0.0, 50.0, 50.0)
    assert localised([(1.0, 1.0, 5.0, 5.0), (10.0, 10.0, 20.0, 20.0)], [crop])
    assert not localised([(1.0, 1.0, 5.0, 5.0), (60.0, 10.0, 70.0, 20.0)], [crop])


@pytest.mark.parametrize(
    ("right", "held", "oracle", "outcome"),
    [
        (True, True, False, "right"),
        (True, False, True, "right without localisation"),
        (False, False, True, "perception error"),
        (False, False, False, "perception and reasoning error"),
        (False, True, True, "reasoning error"),
        (False, True, None, "reasoning error"),
        (False, False, None, "wrong without localisation"),
    ],
)
def test_outcomes(right: bool, held: bool, oracle: bool | None, outcome: str) -> None:
    assert Case("image", 0.1, right, held, oracle).outcome == outcome


cases = st.lists(
    st.builds(
        Case,
        cluster=st.sampled_from("abcd"),
        area=st.floats(0.001, 0.5),
        right=st.booleans(),
        localised=st.booleans(),
        oracle=st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@given(cases, st.integers(1, 6))
def test_outcomes_and_bins_hold_every_sample_once(found: list[Case], bins: int) -> None:
    assert sum(share.count for share in outcome_shares(found).values()) == len(found)
    assert sum(counts(found).values()) == len(found)
    curve = by_area(found, bins)
    assert sum(one.samples for one in curve) == len(found)
    assert all(a.high < b.low for a, b in pairwise(curve))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str]]:
    """48 rows: localised in the first 24; p2r is right in rows 0 to 19 and 24 to 29, oracle in all but the last 8."""
    folder = tmp_path_factory.mktemp("bench")
    data, out = write_bench(folder / "data", questions=12), folder / "results"
    p2r = run_with(
        data, out, lambda n: n < 20 or 24 <= n < 30, "p2r", lambda n: HELD if n < 24 else BESIDE
    )
    oracle = run_with(data, out, lambda n: n < 40, "oracle")
    return data, out, {"p2r": p2r.run_id, "oracle": oracle.run_id}


def test_the_table_counts_runs_against_the_oracle(
    bench: tuple[Path, Path, dict[str, str]],
) -> None:
    _, out, runs = bench
    (found,) = json_of("attribute", runs["p2r"], "--out", out)
    assert found["oracle_run_id"] == runs["oracle"], "the oracle run is found in OUT"
    assert (found["n"], found["n_clusters"], found["left_out"]) == (48, 12, {})
    assert {name: one["count"] for name, one in found["outcomes"].items()} == {
        "right": 20,
        "right without localisation": 6,
        "perception error": 10,
        "reasoning error": 4,
        "perception and reasoning error": 8,
    }
    cells = {(r["right"], r["localised"], r["oracle_right"]): r["n"] for r in found["table"]}
    assert cells[False, False, False] == 8 and sum(cells.values()) == 48
    assert found["by_area"][0]["oracle"]["value"] == pytest.approx(40 / 48)
    text = invoke("attribute", runs["p2r"], runs["oracle"], "--out", out).output
    assert "perception error" in text and "oracle right" in text


def test_without_an_oracle_run_the_command_says_how_to_make_it(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=2)
    run = run_with(data, tmp_path, lambda n: n < 3, "p2r", BESIDE)
    done = invoke("attribute", run.run_id, "--out", tmp_path)
    assert done.exit_code == 0 and "p2r-bench run --mode oracle" in done.output
    assert "wrong without localisation" in done.output


@pytest.mark.parametrize("mode", ["default", "thinking"])
def test_a_mode_without_boxes_is_refused(
    bench: tuple[Path, Path, dict[str, str]], mode: str
) -> None:
    data, out, _ = bench
    run = run_with(data, out, lambda n: True, mode)
    done = invoke("attribute", run.run_id, "--out", out)
    assert done.exit_code == 2 and "48 without evidence" in done.output
    assert "names boxes" in done.output


def test_the_oracle_alone_is_refused(bench: tuple[Path, Path, dict[str, str]]) -> None:
    _, out, runs = bench
    done = invoke("attribute", runs["oracle"], "--out", out)
    assert done.exit_code == 2 and "besides the oracle" in done.output


def test_an_oracle_under_another_profile_is_not_used(
    bench: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    data, out, _ = bench
    (tmp_path / "mine.toml").write_text('extends = "p2r"\n[crop]\ncount = 1\n')
    run = run_with(data, out, lambda n: True, "p2r", HELD, profile=str(tmp_path / "mine.toml"))
    (found,) = json_of("attribute", run.run_id, "--out", out)
    assert found["oracle_run_id"] is None


def test_areas_are_shares_of_the_image(bench: tuple[Path, Path, dict[str, str]]) -> None:
    _, out, runs = bench
    run = read_scored(RunReader(out / "runs" / runs["p2r"]))
    found, _ = cases_of(run, None)
    assert {round(case.area, 6) for case in found} == {0.125}
