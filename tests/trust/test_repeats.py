"""`repeats`: avg@k, and the spread within and between samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2r_bench.stats.repeats import spread
from p2r_bench.testing import Script, scripted_run, write_bench
from tests.trust.runs import invoke, json_of, run_with


def test_variance_components_of_a_worked_example() -> None:
    """Three samples run twice: means 1, 0, 1/2 with variance 1/4; variances 0, 0, 1/2 with mean 1/6."""
    found = spread({"a": [1, 1], "b": [0, 0], "c": [1, 0]}, {"a": "a", "b": "b", "c": "c"})
    assert (found.mean, found.samples, found.repeats) == (0.5, 3, 2)
    assert found.within**2 == pytest.approx(1 / 6)
    assert found.between**2 == pytest.approx(1 / 4 - 1 / 12)
    assert (found.always, found.never, found.mixed) == (1, 1, 1)
    assert found.low < 0.5 < found.high


def test_the_true_components_are_found() -> None:
    rng = np.random.default_rng(0)
    shares = rng.beta(2, 2, 4000)
    scores = {str(n): list(rng.binomial(1, p, 8).astype(float)) for n, p in enumerate(shares)}
    found = spread(scores, {name: name for name in scores})
    assert found.between == pytest.approx(shares.std(), abs=0.01)
    assert found.within == pytest.approx(np.sqrt((shares * (1 - shares)).mean()), abs=0.01)


@pytest.mark.parametrize("scores", [{}, {"a": [1.0]}, {"a": [1.0, 0.0], "b": [1.0]}])
def test_what_has_no_spread_is_refused(scores: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="two repeats"):
        spread(scores, {"a": "a", "b": "b"})


def test_a_stored_run_with_repeats(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=2)
    script = Script({"answer": ["A", "B"]})
    run = scripted_run("default", script.text, out=tmp_path, data_dir=data, repeats=2)
    (found,) = json_of("repeats", run.run_id, "--out", tmp_path)
    assert (found["samples"], found["repeats"], found["left_out"]) == (8, 2, 0)
    assert found["mean"] == pytest.approx(0.25)
    assert (found["never"], found["mixed"]) == (4, 4)
    assert "avg@k" in invoke("repeats", run.run_id, "--out", tmp_path).output


def test_a_run_without_repeats_is_refused(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=1)
    run = run_with(data, tmp_path, lambda n: True)
    done = invoke("repeats", run.run_id, "--out", tmp_path)
    assert done.exit_code == 2 and "--repeats 3" in done.output
