"""A stage from its start to a model folder, with interruptions and failures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from p2r_bench_pra_grpo.backends.embedded.backend import EmbeddedBackend
from p2r_bench_pra_grpo.backends.embedded.checkpoints import read_checkpoint
from p2r_bench_pra_grpo.backends.embedded.frozen import Gathered
from p2r_bench_pra_grpo.backends.embedded.training import Training
from p2r_bench_pra_grpo.boxes import BoxStore, StoredBoxes
from p2r_bench_pra_grpo.config import GRPO, Config, profile_of
from p2r_bench_pra_grpo.data.load import load_samples
from p2r_bench_pra_grpo.metrics import METRICS, ROLLOUTS, StepFile
from p2r_bench_pra_grpo.stage import Reward, Stage, StageRole
from safetensors.torch import load_file

from p2r_bench.bundled import resolve_model
from p2r_bench.engines.model_folder import model_digest
from p2r_bench.errors import EngineError, P2RError, UserError
from p2r_bench.types import Completion, Request, Sample

MODEL = Path(resolve_model("p2r-tiny-base"))


def stage_of(config: Config, role: StageRole = "perceiver", name: str = "stage") -> Stage:
    frozen = None if role == "baseline" else MODEL
    return Stage(1, role, MODEL, frozen, config.out / name, seed=0)


def trained(config: Config, stage: Stage) -> list[dict[str, object]]:
    """Train a stage to its end; the rows that were viewed."""
    rows: list[dict[str, object]] = []
    samples = load_samples(config)
    frozen = None
    if stage.role == "reasoner":
        store = BoxStore(stage.boxes, model_digest(MODEL), profile_of(config))

        async def says(request: Request) -> Completion:
            text = '[{"bbox_2d": [100, 100, 500, 600], "label": "square"}]'
            return Completion(text, request=request)

        asyncio.run(store.fill(samples, says, 2))
        frozen = StoredBoxes(store)
    EmbeddedBackend(config).train(stage, samples, frozen, lambda row: rows.append(dict(row)))
    return rows


def steady(path: Path) -> list[dict[str, object]]:
    """Rows of a metrics file without what differs from run to run."""
    volatile = {column.name for column in METRICS.columns if column.volatile}
    return [{k: v for k, v in row.items() if k not in volatile} for row in StepFile(path).rows]


def assert_equal_ends(one: Path, other: Path) -> None:
    """Two stages have the same weights and the same optimiser, to the bit."""
    ends = [read_checkpoint(folder) for folder in (one, other)]
    assert ends[0] is not None and ends[1] is not None
    for name, values in ends[0].parameters.items():
        assert torch.equal(values, ends[1].parameters[name]), name
    states = [end.optimizer["state"] for end in ends if end is not None]
    for number, state in states[0].items():
        assert all(torch.equal(v, states[1][number][k]) for k, v in state.items())


@pytest.mark.parametrize("role", ["perceiver", "reasoner", "baseline"])
def test_a_stage_trains_and_becomes_a_model_folder(config: Config, role: StageRole) -> None:
    stage = stage_of(config, role)
    rows = trained(config, stage)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in StepFile(stage.metrics).rows] == [1, 2, 3]
    assert all(row["failed_share"] == 0 and row["groups_skipped"] == 0 for row in rows)
    shown = StepFile(stage.rollouts, ROLLOUTS).rows
    assert {(row["step"], row["repeat"]) for row in shown} == {
        (s, n) for s in (1, 2, 3) for n in range(3)
    }
    model = EmbeddedBackend(config).merge(stage)
    weights, before = load_file(model / "model.safetensors"), load_file(MODEL / "model.safetensors")
    assert weights.keys() == before.keys()
    changed = {name for name in weights if not torch.equal(weights[name], before[name])}
    assert changed and not [name for name in changed if "visual" in name]
    assert {value.dtype for value in weights.values()} == {torch.float16}
    for name in (
        "tokenizer.json",
        "chat_template.jinja",
        "preprocessor_config.json",
        "p2r_bench.json",
    ):
        assert (model / name).read_bytes() == (MODEL / name).read_bytes()
    assert EmbeddedBackend(config).facts(stage)["steps"] == 3


def test_a_stage_in_bfloat16_keeps_its_weights_in_float32(config: Config) -> None:
    embedded = {**config.embedded, "dtype": "bfloat16"}
    config = replace(config, embedded=embedded, grpo=replace(config.grpo, max_steps=1))
    stage = stage_of(config)
    assert len(trained(config, stage)) == 1
    checkpoint = read_checkpoint(stage.folder)
    assert checkpoint is not None
    assert {values.dtype for values in checkpoint.parameters.values()} == {torch.float32}
    weights = load_file(EmbeddedBackend(config).merge(stage) / "model.safetensors")
    assert {values.dtype for values in weights.values()} == {torch.float16}, "the start model's own"


def test_a_finished_stage_is_not_trained_again(config: Config) -> None:
    stage = stage_of(config)
    trained(config, stage)
    times = {path: path.stat().st_mtime_ns for path in stage.folder.iterdir()}
    assert trained(config, stage) == []
    assert {path: path.stat().st_mtime_ns for path in stage.folder.iterdir()} == times


class Killed(BaseException):
    """As if the process had ended."""


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("save_steps", [1, 2])
def test_a_stage_that_was_cut_off_ends_as_if_it_had_not_been(
    config: Config, monkeypatch: pytest.MonkeyPatch, after: int, save_steps: int
) -> None:
    config = replace(config, grpo=replace(config.grpo, save_steps=save_steps))
    undisturbed = stage_of(config, name="undisturbed")
    trained(config, undisturbed)
    cut, step = replace(undisturbed, folder=config.out / "cut"), Training.step

    async def killed(self: Training, number: int) -> object:
        if number == after + 1:
            raise Killed
        return await step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", killed)
        with pytest.raises(Killed):
            trained(config, cut)
    trained(config, cut)
    assert_equal_ends(cut.folder, undisturbed.folder)
    assert steady(cut.metrics) == steady(undisturbed.metrics)


KILLED = """
import json, os, sys
from pathlib import Path
import torch
from p2r_bench_pra_grpo.backends.embedded.backend import EmbeddedBackend
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.data.load import load_samples
from p2r_bench_pra_grpo.stage import Stage

save, saved = torch.save, []

def dies(value, path):
    saved.append(path)
    if len(saved) == 2:
        Path(path).write_bytes(b"half a file")
        os.kill(os.getpid(), 9)
    save(value, path)

torch.save = dies
torch.set_num_threads(1)
config = load_config(json.loads(sys.argv[1]))
start = Path(config.model)
stage = Stage(1, "baseline", start, None, config.out / "killed", seed=0)
EmbeddedBackend(config).train(stage, load_samples(config), None, lambda row: None)
"""


def test_a_process_killed_while_it_writes_a_checkpoint_leaves_the_one_before(
    values: dict[str, Any], config: Config
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(values)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = read_checkpoint(config.out / "killed")
    assert left is not None and left.step == 1
    trained(config, stage_of(config, "baseline", "killed"))
    trained(config, stage_of(config, "baseline", "whole"))
    assert_equal_ends(config.out / "killed", config.out / "whole")


def test_other_settings_do_not_take_up_a_checkpoint(config: Config) -> None:
    stage = stage_of(config)
    trained(config, stage)
    other = replace(config, grpo=replace(config.grpo, learning_rate=5e-4, max_steps=4))
    with pytest.raises(UserError, match="other settings"):
        trained(other, stage)
    judged = replace(config, evaluation=replace(config.evaluation, scorer="original"))
    with pytest.raises(UserError, match="other settings"):
        trained(judged, stage)
    assert trained(replace(config, embedded={**config.embedded, "frozen_batch": 2}), stage) == []
    longer = replace(config, grpo=replace(config.grpo, max_steps=4))
    assert [row["step"] for row in trained(longer, stage)] == [4]


def test_rewards_dealt_out_anew_teach_something_else(config: Config) -> None:
    control = replace(config, embedded={**config.embedded, "shuffle_rewards": True})
    stages = [stage_of(config, "baseline", "plain"), stage_of(control, "baseline", "control")]
    rows = [trained(c, s)[0] for c, s in zip((config, control), stages, strict=True)]
    assert rows[0]["reward_mean"] == rows[1]["reward_mean"], (
        "the rewards themselves are told as they are"
    )


def test_failed_rollouts_leave_their_group_and_a_lone_one_teaches_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2r_bench_pra_grpo.backends.embedded.rewards import Rewards

    learned: list[int] = []
    one, groups_of = Rewards._one, Training._groups
    calls = 0

    async def fails(self: Rewards, *args: object) -> Reward:
        nonlocal calls
        calls += 1
        if calls in (2, 4, 5):  # one of the first group, two of the second
            raise EngineError("gone", kind="test")
        return await one(self, *args)  # type: ignore[arg-type]

    def noted(self: Training, *args: object) -> object:
        groups = groups_of(self, *args)  # type: ignore[arg-type]
        learned.extend(len(group.rollouts) for group in groups)
        return groups

    monkeypatch.setattr(Rewards, "_one", fails)
    monkeypatch.setattr(Training, "_groups", noted)
    first = trained(
        replace(config, grpo=replace(config.grpo, max_steps=1)), stage_of(config, "baseline")
    )
    assert learned == [2]
    assert first[0]["failed_share"] == pytest.approx(0.5)
    assert first[0]["groups_skipped"] == 1


def test_a_step_without_any_reward_ends_the_stage_with_the_cause(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2r_bench_pra_grpo.backends.embedded.rewards import Rewards

    async def fails(self: Rewards, *args: object) -> Reward:
        raise EngineError("the card has fallen off the bus", kind="test")

    monkeypatch.setattr(Rewards, "_one", fails)
    with pytest.raises(UserError, match="fallen off the bus"):
        trained(config, stage_of(config, "baseline"))
    assert read_checkpoint(config.out / "stage") is None


def test_too_few_samples_are_said_to_be() -> None:
    with pytest.raises(UserError, match=r"grpo\.batch"):
        GRPO(batch_size=8).steps(7)
    assert GRPO(batch_size=8, num_epochs=2).steps(31) == 6
    assert GRPO(batch_size=8, max_steps=4, num_epochs=2).steps(31) == 4


def test_unknown_and_contradicting_settings_are_refused(config: Config) -> None:
    with pytest.raises(UserError, match=r"embedded\.treads"):
        EmbeddedBackend(replace(config, embedded={"treads": 1}))
    with pytest.raises(UserError, match="top_p"):
        EmbeddedBackend(replace(config, grpo=replace(config.grpo, top_p=0.9)))


def test_callers_that_wait_together_are_answered_together(samples: Sequence[Sample]) -> None:
    from p2r_bench.adapter import TwoStage, load_profile

    two, seen = TwoStage(load_profile("tiny")), []

    def answer(requests: Sequence[Request]) -> list[Completion | P2RError]:
        seen.append([request.sample_id for request in requests])
        return [
            EngineError("no", kind="test") if n == 1 else Completion("yes")
            for n, _ in enumerate(requests)
        ]

    async def caller(gathered: Gathered, sample: Sample, times: int) -> str:
        try:
            for _ in range(times):
                await gathered.ask(two.perceive_request(sample))
            return "answered"
        except EngineError:
            return "failed"
        finally:
            gathered.leave()

    async def run() -> list[str]:
        gathered = Gathered(3, answer)
        times = (2, 1, 0)
        return await asyncio.gather(
            *(caller(gathered, s, n) for s, n in zip(samples[:3], times, strict=True))
        )

    assert asyncio.run(run()) == ["answered", "failed", "answered"]
    assert seen == [[samples[0].id, samples[1].id], [samples[0].id]]
