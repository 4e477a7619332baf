"""Settings that decide a training's result cannot change during it; all others can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.backends.verl.settings import VerlSettings
from p2r_bench_pra_grpo.config import GRPO, DataConfig, load_config
from p2r_bench_pra_grpo.data.load import samples_digest
from p2r_bench_pra_grpo.identity import FREE, identity_of, verifier_model
from p2r_bench_pra_grpo.preset_files import merged
from p2r_bench_pra_grpo.rounds.state import State

from p2r_bench import UserError
from p2r_bench.types import ImageRef, Sample

HERE: Mapping[str, Any] = {
    "model": "m",
    "out": "o",
    "data": [{"format": "p2r-10k", "path": "a", "weight": 0.5}],
    "judges": {"verifier": {"url": "http://a/v1", "model": "big"}},
    "services": {"reasoner": {"engine_args": {"dtype": "float32"}}},
    "evaluation": {"tasks": ["V-Star"], "task_params": {"rows": 4}},
}
SERVED = {"kind": "url", "urls": ["http://a/v1"]}
CLUSTER: Mapping[str, Any] = {
    **HERE,
    "backend": "verl",
    "services": {"reasoner": SERVED, "perceiver": SERVED, "verifier": {**SERVED, "model": "big"}},
}
FOUND = {"profile_hash": "p", "start_digest": "s", "data_digest": "d", "verifier_model": "big"}


def begin(folder: Path, values: Mapping[str, Any]) -> State:
    State.read(folder).identify(identity_of(load_config(values)), FOUND)
    return State.read(folder)


@pytest.mark.parametrize(
    ("begun", "changes", "message"),
    [
        (HERE, {"model": "n"}, "model: m before, n now"),
        (HERE, {"seed": 1}, "seed: 0 before, 1 now"),
        (HERE, {"stages": ["reasoner"]}, "['perceiver', 'reasoner'] before, ['reasoner'] now"),
        (HERE, {"grpo": {"perceiver": {"beta": 0.5}}}, "grpo.perceiver.beta: 0.01 before, 0.5 now"),
        (HERE, {"grpo": {"max_steps": 9}}, "grpo.reasoner.max_steps: not set before, 9 now"),
        (HERE, {"judges": {"x": {"y": 1}}}, "judges.x.y: not set before, 1 now"),
        (HERE, {"judges": {"verifier": {"model": "small"}}}, "judges.verifier.model: big before"),
        (HERE, {"embedded": {"num_iterations": 2}}, "embedded.num_iterations: 1 before, 2 now"),
        (HERE, {"reward": {"label": {"rule": "log"}}}, "reward.label.rule: veto before, log now"),
        (HERE, {"evaluation": {"scorer": "original"}}, "evaluation.scorer: strict before"),
        (HERE, {"evaluation": {"tasks": ["X"]}}, "evaluation.tasks: ['V-Star'] before, ['X'] now"),
        (HERE, {"evaluation": {"modes": ["default"]}}, "evaluation.modes: ['p2r'] before"),
        (HERE, {"evaluation": {"limit": 5}}, "evaluation.limit: not set before, 5 now"),
        (HERE, {"evaluation": {"seed": 5}}, "evaluation.seed: 0 before, 5 now"),
        (HERE, {"evaluation": {"task_params": {"rows": 8}}}, "task_params.rows: 4 before, 8 now"),
        (HERE, {"services": {"reasoner": {"engine": "vllm"}}}, "services.reasoner.engine: transf"),
        (
            HERE,
            {"services": {"perceiver": SERVED}},
            "services.perceiver.engine: transformers before",
        ),
        (
            HERE,
            {"services": {"reasoner": {"engine_args": {"lora": "x"}}}},
            "services.reasoner.engine_args.lora: not set before, x now",
        ),
        (
            HERE,
            {"data": [{"format": "p2r-10k", "path": "a"}]},
            "data[0].weight: 0.5 before, 1.0 now",
        ),
        (
            HERE,
            {"data": [*HERE["data"], {"format": "synth-hr"}]},
            "data[1].format: not set before, synth-hr now",
        ),
        (CLUSTER, {"verl": {"overrides": ["a=1"]}}, "verl.overrides: [] before, ['a=1'] now"),
        (
            CLUSTER,
            {"services": {"verifier": {"model": "small"}}},
            "services.verifier.model: big before, small now",
        ),
        (
            CLUSTER,
            {"services": {"reasoner": {"model": "other"}}},
            "services.reasoner.model: not set before, other now",
        ),
    ],
)
def test_what_decides_the_result_is_refused_in_both_directions(
    tmp_path: Path, begun: Mapping[str, Any], changes: Mapping[str, Any], message: str
) -> None:
    changed = merged(begun, changes)
    state = begin(tmp_path / "there", begun)
    with pytest.raises(UserError, match="choose another `out`, or restore") as caught:
        state.identify(identity_of(load_config(changed)))
    assert message in str(caught.value)
    with pytest.raises(UserError, match="begun with another configuration"):
        begin(tmp_path / "back", changed).identify(identity_of(load_config(begun)))


@pytest.mark.parametrize(
    ("begun", "changes"),
    [
        (HERE, {"rounds": 3, "about": "a note"}),
        (HERE, {"grpo": {"save_steps": 1}}),
        (
            HERE,
            {
                "grpo": {"num_generations": 8, "perceiver": {"beta": 0.01}},
                "embedded": {"num_iterations": 1},
            },
        ),
        (HERE, {"judges": {"numeric": {}, "verifier": {"url": "http://b/v1", "timeout": 3}}}),
        (HERE, {"data": [{"format": "p2r-10k", "path": "b", "images": "c", "weight": 0.5}]}),
        (HERE, {"embedded": {"device": "cuda", "threads": 4, "micro_batch": 1}}),
        (HERE, {"services": {"concurrency": 2, "timeout": 9.0, "retries": 0, "pause_after": 3}}),
        (HERE, {"services": {"reasoner": {"engine_args": {"device": "cuda:1"}, "port": 1}}}),
        (HERE, {"evaluation": {"engine": "vllm", "engine_args": {"gpu_memory": 0.5}}}),
        (HERE, {"evaluation": {"data_dir": "x", "out": "y", "stop_after": 2, "gain": 1.0}}),
        (CLUSTER, {"verl": {"gpus_per_node": 2, "offload": True, "logger": ["wandb"]}}),
        (CLUSTER, {"services": {"reasoner": {"kind": "start", "command": ["serve"], "port": 9}}}),
        (CLUSTER, {"services": {"verifier": {"kind": "start", "command": ["serve", "/x"]}}}),
    ],
)
def test_where_it_runs_and_how_long_may_change(
    tmp_path: Path, begun: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    state = begin(tmp_path, begun)
    before = (tmp_path / "state.json").read_bytes()
    state.identify(identity_of(load_config(merged(begun, changes))))
    state.identify(identity_of(load_config(merged(begun, changes))), FOUND)
    assert (tmp_path / "state.json").read_bytes() == before


@pytest.mark.parametrize(
    ("table", "kind"),
    [("grpo", GRPO), ("data", DataConfig), ("embedded", Settings), ("verl", VerlSettings)],
)
def test_what_may_change_are_keys(table: str, kind: type) -> None:
    assert FREE[table] <= {field.name for field in fields(kind)}


def test_a_role_that_is_not_trained_decides_nothing(tmp_path: Path) -> None:
    alone = {**HERE, "stages": ["perceiver"]}
    changes = {"grpo": {"reasoner": {"beta": 0.5}}, "services": {"perceiver": SERVED}}
    begin(tmp_path, alone).identify(identity_of(load_config(merged(alone, changes))), FOUND)


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_is_compared_when_it_is_known(tmp_path: Path, name: str) -> None:
    state, given = begin(tmp_path, HERE), identity_of(load_config(HERE))
    state.identify(given)
    for other in ("other", None):
        with pytest.raises(UserError, match=rf"{name} \(the .*\): {FOUND[name]} before, "):
            state.identify(given, {**FOUND, name: other})


def test_a_verifier_named_in_the_environment_is_found_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = Sample("1", "t", ImageRef(data=b""), "What?", "a fox", answer_form="free")
    choice = replace(free, answer_form="choice", options={"A": "x", "B": "y"}, answer="A")
    config = load_config({key: value for key, value in HERE.items() if key != "judges"})
    monkeypatch.delenv("P2R_BENCH_VERIFIER_MODEL", raising=False)
    assert verifier_model(config, [free]) is None
    monkeypatch.setenv("P2R_BENCH_VERIFIER_MODEL", "from-outside")
    assert verifier_model(config, [choice, free]) == "from-outside"
    assert verifier_model(config, [choice]) is None
    assert verifier_model(load_config(HERE), [free]) == "big"


def test_data_that_are_judged_otherwise_are_other_data() -> None:
    one = Sample("1", "t", ImageRef(data=b""), "What?", "a fox", answer_form="free")
    assert samples_digest([one]) != samples_digest([replace(one, answer_form="word")])
