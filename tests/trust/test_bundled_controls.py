"""The controls on the bundled model: its answers come from crops in the right places."""

from __future__ import annotations

import pytest

from p2r_bench import evaluate

MODES = ("p2r", "blind", "p2r-blank", "p2r-random")
CHANCE = 0.25
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Accuracy of p2r-tiny by mode, on 40 rows of 10 images."""
    out = tmp_path_factory.mktemp("results")
    results = evaluate(MODES, "Synth-HR", out=out, task_params={"rows": 40})
    return {result.overall[0]["mode"]: result.overall[0]["value"] for result in results}


def test_p2r_reads_what_the_crops_show(values: dict[str, float]) -> None:
    assert values["p2r"] >= 0.8


@pytest.mark.parametrize("mode", ["blind", "p2r-blank"])
def test_without_image_or_crops_the_model_guesses(values: dict[str, float], mode: str) -> None:
    assert abs(values[mode] - CHANCE) <= 0.15


def test_boxes_elsewhere_are_well_under_p2r(values: dict[str, float]) -> None:
    assert values["p2r-random"] <= values["p2r"] - 0.3
