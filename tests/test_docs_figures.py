"""The README's figures are those of results/reference.parquet, and its picture is made from a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2r_bench.report import picture
from p2r_bench.store.reader import RunReader
from p2r_bench.store.reference import reference_rows
from p2r_bench.testing import scripted_run, write_bench
from tests.documents import ROOT
from tools.readme_figures import BEGIN, END, figures


def row(**changes: Any) -> dict[str, Any]:
    """A measured, complete headline row."""
    return {
        "model": "m",
        "mode": "p2r",
        "task": "Synth-HR",
        "subset": "4K",
        "category": None,
        "metric": "accuracy",
        "headline": True,
        "source": "measured",
        "complete": True,
        "value": 0.875,
        "ci_low": 0.8,
        "ci_high": 0.925,
        "n": 400,
        **changes,
    }


def test_figures_stand_by_model_mode_and_benchmark() -> None:
    table = figures([row(), row(mode="default", value=0.25), row(mode="default", subset="8K")])
    assert table.splitlines() == [
        "| model | mode | Synth-HR 4K, n = 400 | Synth-HR 8K, n = 400 |",
        "| --- | --- | ---: | ---: |",
        "| `m` | `default` | 25.0 [80.0, 92.5] | 87.5 [80.0, 92.5] |",
        "| `m` | `p2r` | 87.5 [80.0, 92.5] | – |",
    ]


def test_reported_and_incomplete_rows_are_no_figures_of_ours() -> None:
    table = figures([row(source="reported"), row(complete=False), row(category="single")])
    assert table == ""


def test_the_readme_shows_the_reference_figures() -> None:
    _, _, rest = (ROOT / "README.md").read_text("utf-8").partition(BEGIN)
    written = figures(reference_rows())
    assert rest.partition(END)[0] == written, "run `python -m tools.readme_figures`"


def test_the_picture_has_every_call_of_the_sample(tmp_path: Path) -> None:
    replies = {
        "perceive": '[{"bbox_2d": [125, 250, 375, 750], "label": "square"}]',
        "reason": "<answer>A</answer>",
    }
    data = write_bench(tmp_path / "data", questions=1)
    run = scripted_run("p2r", replies, out=tmp_path, data_dir=data)
    stored, verdicts = RunReader(run.path).find("4K/0")
    parts = list(picture.blocks(stored, verdicts))
    assert len(parts) == 2 + 3 * 2 + 1
    assert picture.page(parts).width == picture.WIDTH
    assert picture.crop_colours(
        stored,
        {r["digest"]: picture.recipe_from_json(r["recipe"]) for r in stored["recipes"]},
    ) == ["red"]
