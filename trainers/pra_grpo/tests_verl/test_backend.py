"""A stage's plan, and verl's run followed from its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from making import At, config_of, samples_of, stage_of
from p2r_bench_pra_grpo.backends.verl import process
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.journal import DOWN, Journal, Place
from p2r_bench_pra_grpo.backends.verl.merge import LATEST
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.progress import VERL_KEYS, Progress
from p2r_bench_pra_grpo.metrics import METRICS, ROLLOUTS, StepFile
from p2r_bench_pra_grpo.stage import Reward, ServiceDown, Stage
from pra_grpo_testing import write_interpreter

from p2r_bench.errors import UserError
from p2r_bench.testing.samples import tiny_sample
from p2r_bench.types import Completion, Evidence, Prediction, Verdict

FIGURES = {key: 1.5 + n for n, key in enumerate(VERL_KEYS.values())}


def reward_of(sample: Any, value: float) -> Reward:
    boxes = sample.boxes or ()
    return Reward(
        value,
        {"answer": value, "overlap": 0.0, "label": 0.0},
        Prediction(
            sample.id, answer="B", evidence=Evidence(boxes=boxes), completions=(Completion("x"),)
        ),
        Verdict(sample.id, "strict", "1", "", correct=value > 0),
    )


def fake_verl(folder: Path, script: str, version: str = "0.9.1") -> str:
    """An interpreter that runs this script in place of verl; `argv` holds the overrides by name."""
    file = folder / "fake_verl.py"
    head = "import json, pathlib, sys, time\nargv = dict(w.split('=', 1) for w in sys.argv if '=' in w)\n"
    file.write_text(head + textwrap.dedent(script))
    versions = {"verl": version, "flash-attn": "2.8.3"}
    run = f'exec {sys.executable} {file} "$@"'
    return str(write_interpreter(folder / f"python-{version}", versions, run))


def test_the_plan_is_the_command_and_does_nothing(tmp_path: Path) -> None:
    backend = VerlBackend(config_of(tmp_path))
    stage = stage_of(backend.config, "perceiver")
    train, merge = plan = list(backend.plan(stage))
    json.dumps(plan)
    assert plan == list(backend.plan(stage)) and not any(tmp_path.iterdir())
    assert train["command"] == backend.command(stage, StagePaths.next(stage))
    assert train["command"][1:3] == ["-m", "verl.trainer.main_ppo"]
    assert merge["command"][1:3] == ["-m", "verl.model_merger"]
    assert (train["gpus"], merge["gpus"]) == ("4 that Ray chooses", [])
    assert all(str(stage.folder.resolve()) in path for path in train["files"].values())


def test_steps_are_told_once_with_verls_figures_and_the_rewards(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    stage, sample = stage_of(config, "perceiver"), tiny_sample()
    paths = StagePaths(tmp_path / "verl", 1)
    journal = Journal(paths.journals, stage, keep=1.0)
    for rollout, value in enumerate((1.0, 0.0, 1.0)):
        journal.rewarded(Place(1, "a", rollout, 0), sample, reward_of(sample, value))
    journal.failed(Place(1, "a", 3, 0), sample, "timeout", "too slow")
    progress = Progress(stage, [sample], paths)
    assert list(progress.new_steps()) == [], "verl has not finished the step"
    paths.log.write_bytes(json.dumps({"step": 1, "data": FIGURES}).encode() + b'\n{"step": 2,')
    ((row, kept),) = progress.new_steps()
    assert list(progress.new_steps()) == []
    assert row["reward_mean"] == pytest.approx(2 / 3) and row["reward_answer"] == row["reward_mean"]
    assert row["failed_share"] == FIGURES["training/failed_share"]
    assert row["kl"] == FIGURES["actor/kl_loss"] and row["box_count_mean"] == 1
    assert row["iou_mean"] == pytest.approx(1.0)
    StepFile(stage.metrics, METRICS).append(row)
    StepFile(stage.rollouts, ROLLOUTS).append(*kept)
    assert [r["repeat"] for r in StepFile(stage.rollouts, ROLLOUTS).rows] == [0, 1, 2]


def train(tmp_path: Path, script: str, role: Any = "baseline") -> tuple[Stage, list[Any], Any]:
    config = config_of(tmp_path, rows=4, verl={"python": fake_verl(tmp_path, script)})
    backend, stage = VerlBackend(config), stage_of(config, role)
    seen: list[Any] = []

    def go() -> None:
        frozen = None if role == "baseline" else At(None)
        backend.train(stage, samples_of(config), frozen, seen.append)  # type: ignore[arg-type]

    return stage, seen, go


STEPS = """
    log = pathlib.Path(json.loads(argv['+ray_kwargs.ray_init.runtime_env.env_vars']
        .replace('{', '{"').replace(':', '":"', 1).replace('}', '"}'))['VERL_FILE_LOGGER_PATH'])
    out = pathlib.Path(argv['trainer.default_local_dir'])
    out.mkdir(parents=True, exist_ok=True)
    latest = out / 'latest_checkpointed_iteration.txt'
    first = int(latest.read_text()) + 1 if latest.exists() else 1
    with log.open('w') as file:
        for step in range(first, int(argv['trainer.total_training_steps']) + 1):
            file.write(json.dumps({'step': step, 'data': {'actor/kl_loss': step / 10}}) + '\\n')
            file.flush()
            latest.write_text(str(step))
"""


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    stage, seen, go = train(tmp_path, STEPS)
    go()
    assert [row["step"] for row in seen] == [1, 2]
    assert [row["kl"] for row in StepFile(stage.metrics).rows] == [0.1, 0.2]
    go()
    assert len(seen) == 2 and len(StepFile(stage.metrics).rows) == 2
    assert len(StagePaths.attempts(stage)) == 1


def test_rows_after_the_last_checkpoint_are_written_again(tmp_path: Path) -> None:
    stage, _, go = train(tmp_path, STEPS)
    go()
    (StagePaths.attempts(stage)[0].checkpoints / LATEST).write_text("1")
    go()
    assert [row["step"] for row in StepFile(stage.metrics).rows] == [1, 2]
    assert len(StagePaths.attempts(stage)) == 2


def test_a_failed_run_says_where_its_output_is(tmp_path: Path) -> None:
    _, _, go = train(tmp_path, "print('no GPU here'); sys.exit(3)")
    with pytest.raises(UserError, match=r"status 3.*verl\.log(.|\n)*no GPU here"):
        go()


def test_a_service_that_a_worker_gives_up_ends_the_run_at_once(tmp_path: Path) -> None:
    script = f"""
    stage = json.loads(pathlib.Path(argv['+data.p2r_stage']).read_text())
    (pathlib.Path(stage['journals']) / '{DOWN}').write_text('the frozen reasoner is gone')
    time.sleep(3600)
    """
    _, _, go = train(tmp_path, script, "perceiver")
    with pytest.raises(ServiceDown, match="the frozen reasoner is gone"):
        go()


def test_a_stage_goes_on_when_the_service_is_back(tmp_path: Path) -> None:
    gone = f"""
    stage = json.loads(pathlib.Path(argv['+data.p2r_stage']).read_text())
    (pathlib.Path(stage['journals']) / '{DOWN}').write_text('the frozen reasoner is gone')
    sys.exit(1)
    """
    stage, seen, go = train(tmp_path, gone, "perceiver")
    with pytest.raises(ServiceDown):
        go()
    fake_verl(tmp_path, STEPS)
    go()
    assert (
        [row["step"] for row in seen] == [1, 2] == [r["step"] for r in StepFile(stage.metrics).rows]
    )


def test_facts_are_those_of_the_environment_that_trained(tmp_path: Path) -> None:
    def backend(version: str) -> VerlBackend:
        table = {"python": fake_verl(tmp_path, STEPS, version), "remove_padding": "auto"}
        return VerlBackend(config_of(tmp_path / "out", rows=4, verl=table))

    first, second, later = backend("0.9.1"), backend("0.9.2"), VerlBackend(config_of(tmp_path))
    stage = stage_of(first.config, "baseline")
    samples = samples_of(first.config)
    first.train(stage, samples, None, lambda row: None)
    facts = later.facts(stage)
    assert (facts["verl"], facts["flash-attn"], facts["torch"]) == ("0.9.1", "2.8.3", None)
    assert facts["use_remove_padding"] is True and "earlier_attempts" not in facts
    (StagePaths.attempts(stage)[0].checkpoints / LATEST).write_text("1")
    second.train(stage, samples, None, lambda row: None)
    facts = later.facts(stage)
    assert facts["verl"] == "0.9.2"
    assert [one["verl"] for one in facts["earlier_attempts"]] == ["0.9.1"]


def test_too_few_samples_for_a_batch_are_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path, rows=4, grpo={"batch_size": 8, "num_generations": 2})
    backend = VerlBackend(config)
    with pytest.raises(UserError, match=r"lower grpo\.batch_size"):
        backend.train(stage_of(config, "baseline"), samples_of(config), None, lambda row: None)


def test_a_killed_trainer_takes_verl_with_it(tmp_path: Path) -> None:
    marks = tmp_path / "alive"
    child = f"""
    import pathlib, time
    while True:
        pathlib.Path({str(marks)!r}).write_text(str(time.time()))
        time.sleep(0.05)
    """
    (tmp_path / "child.py").write_text(textwrap.dedent(child))
    parent = f"""
    import pathlib, sys
    from p2r_bench_pra_grpo.backends.verl import process
    process.run([sys.executable, {str(tmp_path / "child.py")!r}], pathlib.Path({str(tmp_path / "log")!r}), {{}}, lambda: None)
    """
    running = subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)])
    while not marks.exists():
        assert running.poll() is None
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        before = marks.read_text()
        time.sleep(0.5)
        if marks.read_text() == before:
            return
    raise AssertionError("the child outlived its parent")


def test_an_error_while_following_stops_verl(tmp_path: Path) -> None:
    def fail() -> None:
        raise UserError("the disk is full")

    begun = time.monotonic()
    with pytest.raises(UserError, match="disk is full"):
        process.run(
            [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log", {}, fail
        )
    assert time.monotonic() - begun < 300
