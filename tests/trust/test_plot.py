"""`plot`: points of stored runs, and the picture."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.report.cost_plot import draw
from p2r_bench.store.costs import points_of
from p2r_bench.store.reader import find_run
from p2r_bench.testing import write_bench
from tests.trust.runs import invoke, json_of, run_with


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("bench")
    data = write_bench(folder / "data", questions=3)
    runs = [
        run_with(data, folder, lambda n: n < 9, look='[{"bbox_2d": [100, 100, 300, 300]}]'),
        run_with(data, folder, lambda n: n < 3, "default"),
    ]
    return folder, [run.run_id for run in runs]


def test_points_have_value_interval_and_costs(bench: tuple[Path, list[str]]) -> None:
    out, runs = bench
    p2r, default = json_of("plot", *runs, "--out", out)
    assert (p2r["value"], p2r["n"], p2r["mode"], p2r["subset"]) == (0.75, 12, "p2r", "4K")
    assert p2r["low"] < 0.75 < p2r["high"]
    assert p2r["costs"]["visual_tokens"] > default["costs"]["visual_tokens"] > 0


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_drawn(bench: tuple[Path, list[str]], tmp_path: Path, ending: str) -> None:
    out, runs = bench
    picture = tmp_path / f"plot.{ending}"
    done = invoke("plot", *runs, "--cost", "visual_tokens", "--out", out, "--picture", picture)
    assert done.exit_code == 0 and f"{picture}: 2 points of 2 runs" in done.output
    if ending == "png":
        with Image.open(picture) as image:
            assert len(image.getcolors(1 << 20) or ()) > 20
    else:
        assert picture.read_text().count('<g id="axes_') == 1


def test_a_cost_that_no_run_has_is_refused(bench: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, runs = bench
    points = [replace(p, costs={}) for p in points_of([find_run(runs[0], out)])]
    with pytest.raises(UserError, match="does not report them"):
        draw(points, ["tokens"], tmp_path / "p.png")


def test_without_matplotlib_the_way_out_is_named(
    bench: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = invoke("plot", bench[1][0], "--out", bench[0])
    assert done.exit_code == 2 and "pip install 'p2r-bench[plot]'" in done.output


def test_a_format_that_does_not_exist_is_refused(
    bench: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, runs = bench
    place = tmp_path / "plot.xyz"
    done = invoke("plot", runs[0], "--cost", "visual_tokens", "--out", out, "--picture", place)
    assert done.exit_code == 2 and "plot.xyz" in done.output
