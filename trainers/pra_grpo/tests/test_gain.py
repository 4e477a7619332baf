"""A training's gain is read from its evaluations, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from p2r_bench_pra_grpo.gain import gains, main, seconds
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.trainer import PRAGRPO
from pra_grpo_testing import tiny_training

from p2r_bench import UserError

pytestmark = pytest.mark.usefixtures("scripted")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    values = tiny_training(tmp_path)
    PRAGRPO(values).run()
    return Path(values["out"])


def test_the_gain_is_the_difference_of_the_evaluations(out: Path) -> None:
    steps = State.read(out).steps
    values = [steps[f"round-{n}/evaluate"]["value"] for n in (0, 1)]
    ((name, found),) = gains(out)
    assert name == "round 1, p2r HR-Bench 4K"
    assert (found.before, found.after) == pytest.approx(values)
    assert found.rows == steps["round-1/evaluate"]["runs"][0]["n"]
    assert found.gained - found.lost == round(found.rows * found.value)


def test_it_is_printed_with_the_time_it_took(out: Path) -> None:
    done = CliRunner().invoke(main, [str(out)])
    assert done.exit_code == 0
    assert "paired p = " in done.output
    assert "round-1/perceiver: 2 steps" in done.output
    assert list(seconds(out)) == ["round-1/perceiver", "round-1/reasoner"]


def test_before_the_first_round_is_evaluated_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluations of the start model"):
        gains(tmp_path)
    assert CliRunner().invoke(main, [str(tmp_path)]).exit_code == 2
