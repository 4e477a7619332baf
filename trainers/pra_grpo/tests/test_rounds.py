"""Rounds take up where they were cut off, and what comes out is what an undisturbed training leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from p2r_bench_pra_grpo.backends import make_backend
from p2r_bench_pra_grpo.checkpoint import BadCheckpoint, load_test
from p2r_bench_pra_grpo.config import Evaluation, load_config
from p2r_bench_pra_grpo.metrics import METRICS, ROLLOUTS
from p2r_bench_pra_grpo.rounds import evaluation
from p2r_bench_pra_grpo.rounds.machine import Rounds
from p2r_bench_pra_grpo.rounds.stage_steps import with_estimate
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.rounds.steps import stage_seed, stages, steps
from p2r_bench_pra_grpo.services.server import read_record, served_models
from p2r_bench_pra_grpo.stage import STAGE_ROLES
from p2r_bench_pra_grpo.trainer import PRAGRPO
from pra_grpo_testing import ScriptedBackend, tiny_training
from pra_grpo_testing.killing import killed_after, killed_at_every_moment

from p2r_bench import UserError, load_profile
from p2r_bench.bundled import resolve_model
from p2r_bench.store.equal import differences
from p2r_bench.store.schema import LEADERBOARD, Table

pytestmark = pytest.mark.usefixtures("scripted")


def contents(values: dict[str, Any]) -> dict[str, Any]:
    """Everything that a training leaves, without times and without where its folder is."""
    out = Path(values["out"])

    def text(path: Path) -> str:
        return path.read_text("utf-8").replace(str(out.parent.resolve()), "HERE")

    def table(path: Path, kind: Table) -> str:
        told = pd.read_parquet(path).drop(columns=[c.name for c in kind.columns if c.volatile])
        for column in told.columns.intersection(["stages", "model", "image_path"]):
            told = told.drop(columns=column)
        return str(told.sort_values(list(told.columns[:3])).to_json()).replace(str(out), "OUT")

    state = json.loads(text(out / "state.json"))
    left: dict[str, Any] = {
        "identity": state["identity"],
        "steps": {name: entry["result"] for name, entry in state["steps"].items()},
        "model": str((out / "model").readlink()),
        "leaderboard": table(out / "results" / "leaderboard.parquet", LEADERBOARD),
    }
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.suffix == ".safetensors" or path.name == "config.json":
            left[name] = path.read_bytes()
        elif path.name in ("training.json", "p2r_bench.json"):
            left[name] = text(path)
        elif path.name in ("metrics.parquet", "rollouts.parquet") and "results" not in path.parts:
            left[name] = table(path, METRICS if path.stem == "metrics" else ROLLOUTS)
        elif path.suffix == ".jsonl" and "results" not in path.parts:
            left[name] = sorted(text(path).splitlines())
    return left


def train(values: dict[str, Any]) -> dict[str, Any]:
    PRAGRPO(values).run()
    return contents(values)


def undisturbed_training(folder: Path) -> tuple[dict[str, Any], Path]:
    """Run a training that nothing kills, and return its results and its folder, moved aside."""
    left = train(tiny_training(folder / "here"))
    return left, (folder / "here").rename(folder / "undisturbed")


def assert_runs_are_equal(a: Path, b: Path) -> None:
    runs = [sorted((path / "out" / "results" / "runs").iterdir()) for path in (a, b)]
    assert len(runs[0]) == len(runs[1]) == 2
    for left, right in zip(*runs, strict=True):
        assert differences(left, right) == []


def test_killed_in_every_state_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    expected, undisturbed = undisturbed_training(tmp_path)
    killed = tiny_training(tmp_path / "here")
    moments = killed_at_every_moment(killed, tmp_path / "told")
    every = [s.name for s in steps(load_config(killed))]
    assert {m.rsplit(" ", 1)[0] for m in moments} >= set(every)
    assert len(moments) == 3 * len(every) + 4  # two steps in each of two stages
    assert contents(killed) == expected
    assert_runs_are_equal(undisturbed, tmp_path / "here")


def test_killed_at_any_time_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    begun = time.monotonic()
    expected, _ = undisturbed_training(tmp_path)
    whole = time.monotonic() - begun
    killed = tiny_training(tmp_path / "here")
    chance = random.Random(0)
    # At once, which no machine is too fast for, and then somewhere on the way.
    assert killed_after(killed, [0, *(chance.uniform(0, whole / 3) for _ in range(8))]) > 0
    assert contents(killed) == expected


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_a_server_outlives_its_trainer_is_adopted_and_stopped_at_the_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pra_grpo_testing.server", "--port", "{port}"]
    service = {"kind": "start", "command": [*command, "--model", "{name}"], "port": free_port()}
    values = tiny_training(tmp_path, services={"reasoner": service, "perceiver": service})
    told, folder = tmp_path / "told", tmp_path / "out" / "services"
    pids: list[int] = []

    def note(moment: str) -> None:
        record = read_record(folder / "reasoner.json")
        pids.append(record["pid"] if record else 0)

    moments = ("begins", "done", "recorded")
    spared = [f"{step.name} {m}" for step in steps(load_config(values)) for m in moments]
    spared += [f"1 reasoner step {n}" for n in (1, 2)]
    killed_at_every_moment(values, told, but=spared, killed=note)
    assert pids[0] == pids[1] != 0, "killed after steps 1 and 2 of the perceiver: the same server"
    assert served_models(f"http://127.0.0.1:{service['port']}/v1") is None
    assert list(folder.glob("*.json")) == []
    assert PRAGRPO(values).status()["state"] == "finished"


def test_a_stage_starts_from_the_result_of_the_one_before(tmp_path: Path) -> None:
    config = load_config(tiny_training(tmp_path, rounds=2))
    every = list(stages(config))
    assert [s.name for s in every] == [f"round-{n}/{r}" for n in (1, 2) for r in config.stages]
    assert every[0].start == (tmp_path / "start").resolve()
    assert all(b.start == b.frozen == a.model for a, b in pairwise(every))
    assert len({s.seed for s in every}) == 4


def test_stages_of_trainings_with_other_seeds_have_other_seeds() -> None:
    places = [(seed, n, role) for seed in range(50) for n in range(1, 20) for role in STAGE_ROLES]
    assert len({stage_seed(*place) for place in places}) == len(places)


def test_the_time_left_is_estimated_once_from_the_first_steps() -> None:
    rows: list[Any] = []
    said: list[str] = []
    view = with_estimate(rows.append, said.append, total=1810)
    for step in range(1, 31):
        view({"step": step, "seconds": 2.0})
    assert len(rows) == 30 and said == ["2.0 s a step; the 1800 steps left take about 1.0 h"]


def test_the_leaderboard_gets_a_row_with_digest_and_profile_after_every_round(
    tmp_path: Path,
) -> None:
    values = tiny_training(tmp_path, rounds=2, evaluation=None)
    del values["evaluation"]
    values["evaluation"] = tiny_training(tmp_path)["evaluation"]
    PRAGRPO(values).run()
    rows = pd.read_parquet(tmp_path / "out" / "results" / "leaderboard.parquet")
    overall = rows[rows.category.isna() & (rows.metric == "accuracy") & rows.headline]
    assert overall.model_digest.nunique() == 3 and overall.profile_hash.nunique() == 1
    state = State.read(tmp_path / "out").steps
    assert state["round-2/evaluate"]["runs"][0]["model_digest"] in set(overall.model_digest)


def test_a_training_can_be_prolonged(tmp_path: Path) -> None:
    values = tiny_training(tmp_path)
    train(values)
    first = State.read(tmp_path / "out").steps
    train({**values, "rounds": 2})
    second = State.read(tmp_path / "out").steps
    assert {name: second[name] for name in first} == first and len(second) > len(first)


def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    values = tiny_training(tmp_path)
    train(values)
    changed = PRAGRPO({**values, "grpo": {**values["grpo"], "beta": 0.02}})
    for refused in (changed.run, changed.plan):
        with pytest.raises(UserError, match=r"grpo\.perceiver\.beta: 0\.01 before, 0\.02 now"):
            refused()


def test_changed_data_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    values = tiny_training(tmp_path)

    def fail(*_: object) -> None:
        raise UserError("stop here")

    config = load_config(values)
    backend = make_backend(config)
    backend.train = fail  # type: ignore[method-assign, assignment]
    rounds = Rounds(config, backend, say=lambda line: None, view=lambda row: None)
    with pytest.raises(UserError, match="stop here"):
        rounds.run()
    picture = tmp_path / "data" / "images"
    (picture / "0.png").write_bytes((picture / "1.png").read_bytes())
    with pytest.raises(UserError, match="data_digest"):
        PRAGRPO(values).run()


def test_two_trainings_do_not_share_a_folder_at_once(tmp_path: Path) -> None:
    values = tiny_training(tmp_path)
    config = load_config(values)
    refused: list[str] = []

    def again(step: Any, moment: str) -> None:
        if not refused:
            with pytest.raises(UserError, match="is being written by process") as caught:
                PRAGRPO(values).run()
            refused.append(str(caught.value))

    backend = make_backend(config)
    Rounds(config, backend, say=lambda _: None, view=lambda _: None, watch=again).run()
    assert refused


def test_a_checkpoint_that_fails_its_load_test_is_merged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny_training(tmp_path)
    whole = ScriptedBackend.merge

    def torn(self: ScriptedBackend, stage: Any) -> Path:
        folder = whole(self, stage)
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-5])
        return folder

    monkeypatch.setattr(ScriptedBackend, "merge", torn)
    with pytest.raises(UserError, match=r"cut off .* merges the checkpoint again"):
        PRAGRPO(values).run()
    monkeypatch.setattr(ScriptedBackend, "merge", whole)
    PRAGRPO(values).run()
    assert PRAGRPO(values).status()["state"] == "finished"


def test_weights_that_are_not_finite_do_not_pass(tmp_path: Path) -> None:
    from p2r_bench_pra_grpo.checkpoint import tensors_not_finite
    from pra_grpo_testing import write_model

    assert list(tensors_not_finite(write_model(tmp_path / "a", [1.0, -3e38, 0.0]))) == []
    bad = write_model(tmp_path / "b", [1.0, float("nan")])
    assert list(tensors_not_finite(bad)) == ["model.safetensors: weights"]
    (bad / "model.safetensors").write_bytes(b"x" * 30)
    with pytest.raises(BadCheckpoint, match="not a safetensors file"):
        list(tensors_not_finite(bad))


def test_weights_that_do_not_all_load_fail_the_load_test(tmp_path: Path) -> None:
    import safetensors.torch as safetensors

    folder = Path(shutil.copytree(resolve_model("p2r-tiny"), tmp_path / "model"))
    tensors = safetensors.load_file(folder / "model.safetensors")
    name = sorted(tensors)[1]
    tensors["renamed"] = tensors.pop(name)
    safetensors.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = replace(
        load_config(tiny_training(tmp_path)), evaluation=Evaluation(engine_args={"device": "cpu"})
    )
    with pytest.raises(BadCheckpoint, match=rf"(?s)load test fails.*{name}.*renamed"):
        load_test(folder, config, load_profile("tiny"))


def test_the_manifest_says_how_the_model_was_made(tmp_path: Path) -> None:
    values = tiny_training(tmp_path)
    train(values)
    told = json.loads((tmp_path / "out" / "model" / "training.json").read_text("utf-8"))
    assert (
        told["role"] == "reasoner" and told["round"] == 1 and told["grpo"]["num_generations"] == 2
    )
    assert told["profile"]["name"] == "tiny" and len(told["profile"]["hash"]) == 64
    state = State.read(tmp_path / "out").steps
    assert (
        told["start_digest"]
        == told["frozen_digest"]
        == state["round-1/perceiver/load-test"]["digest"]
    )
    assert told["digest"] == state["round-1/reasoner/load-test"]["digest"]
    served = json.loads((tmp_path / "out" / "model" / "p2r_bench.json").read_text("utf-8"))
    assert served == {"profile": "tiny"}


@pytest.mark.parametrize(
    ("values", "rounds", "stopped_after"),
    [
        ([50, 60, 70], 3, None),
        ([50, 49], 3, None),
        ([50, 49, 48], 3, 2),
        ([50, 60, 60, 60], 5, 3),
        ([50, 51, 52, 53], 5, 3),
        ([50, 40, 30], 2, None),
    ],
)
def test_it_stops_when_rounds_bring_nothing(
    tmp_path: Path, values: list[float], rounds: int, stopped_after: int | None
) -> None:
    config = load_config({"model": "m", "out": "o", "data": [{"format": "synth-hr"}]})
    wanted = replace(config.evaluation, stop_after=2, gain=5.0)
    config = replace(config, rounds=rounds, evaluation=wanted)
    done: dict[str, Any] = {f"round-{n}/evaluate": {"value": v / 100} for n, v in enumerate(values)}
    done |= {f"round-{n}/plot": {} for n in range(1, len(values))}
    why = evaluation.reason_to_stop(config, done)
    assert (why is None) == (stopped_after is None)
    if stopped_after:
        assert f"stopped after round {stopped_after}" in str(why)
        assert evaluation.reason_to_stop(replace(config, evaluation=config.evaluation), done)


def test_a_stopped_training_plans_nothing_more(tmp_path: Path) -> None:
    values = tiny_training(tmp_path, rounds=3)
    values["evaluation"] = {**values["evaluation"], "stop_after": 1, "gain": 100.0}
    PRAGRPO(values).run()
    told = PRAGRPO(values).status()
    assert told["state"].startswith("stopped after round 1: no gain of 100 points")
    assert PRAGRPO(values).plan() == [] and told["next"] is None
    assert "round-2" not in json.dumps(State.read(tmp_path / "out").steps)


def test_the_plan_is_what_is_left(tmp_path: Path) -> None:
    values = tiny_training(tmp_path)
    whole = [row["step"] for row in PRAGRPO(values).plan()]

    def stop(step: Any, moment: str) -> None:
        if (step.name, moment) == ("round-1/perceiver/merge", "begins"):
            raise UserError("stop here")

    config = load_config(values)
    rounds = Rounds(
        config, make_backend(config), say=lambda _: None, view=lambda _: None, watch=stop
    )
    with pytest.raises(UserError, match="stop here"):
        rounds.run()
    left = [row["step"] for row in PRAGRPO(values).plan()]
    assert left == whole[whole.index("round-1/perceiver/merge") :]
    told = PRAGRPO(values).status()
    assert (told["done"], told["next"]) == (3, "round-1/perceiver/merge")
    assert told["state"] == "under way"


def test_a_termination_signal_stops_the_servers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pra_grpo_testing.server", "--port", "{port}"]
    service = {"kind": "start", "command": [*command, "--model", "{name}"], "port": free_port()}
    values = tiny_training(tmp_path, services={"reasoner": service, "perceiver": service})
    config = load_config(values)
    before = signal.getsignal(signal.SIGTERM)

    def terminate(step: Any, moment: str) -> None:
        if (step.name, moment) == ("round-1/perceiver/train", "begins"):
            assert served_models(f"http://127.0.0.1:{service['port']}/v1")
            os.kill(os.getpid(), signal.SIGTERM)

    rounds = Rounds(
        config, make_backend(config), say=lambda _: None, view=lambda _: None, watch=terminate
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            rounds.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert served_models(f"http://127.0.0.1:{service['port']}/v1") is None
    assert PRAGRPO(values).status()["next"] == "round-1/perceiver/train"


def test_services_can_be_moved(tmp_path: Path) -> None:
    values = tiny_training(tmp_path, judges={"verifier": {"url": "http://a/v1", "model": "m"}})
    train(values)
    moved = {**values, "judges": {"verifier": {"url": "http://b/v1", "model": "m"}}}
    PRAGRPO({**moved, "services": {**values["services"], "concurrency": 3}}).run()
    other = {**values, "judges": {"verifier": {"url": "http://a/v1", "model": "other"}}}
    with pytest.raises(UserError, match=r"judges\.verifier\.model"):
        PRAGRPO(other).run()
