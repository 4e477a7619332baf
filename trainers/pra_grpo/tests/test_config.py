"""The user's TOML file is read strictly, and presets say where their figures come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest
from p2r_bench_pra_grpo.config import Config, load_config
from p2r_bench_pra_grpo.preset_files import merged, preset_names, read_preset
from p2r_bench_pra_grpo.reading import read

from p2r_bench import UserError

LEAST: Mapping[str, Any] = {"model": "m", "out": "o", "data": [{"format": "synth-hr"}]}
SERVERS = {
    "reasoner": {"kind": "url", "urls": ["http://a/v1"]},
    "perceiver": {"kind": "url", "urls": ["http://a/v1"]},
}


def test_little_needs_to_be_said() -> None:
    config = load_config(LEAST)
    assert config.stages == ("perceiver", "reasoner") and config.rounds == 1
    assert (
        config.grpo_for("perceiver").num_generations == 8 and config.reward.overlap.rule == "veto"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": "x"}, "modle: no such key; did you mean 'model'?"),
        ({"grpo": {"betas": 8}}, "grpo.betas: no such key; did you mean 'beta'?"),
        ({"grpo": {"group": 8}}, "grpo.group: no such key; it is now 'num_generations'"),
        ({"grpo": {"reasoner": {"kl": 0.1}}}, "grpo.reasoner.kl: no such key; it is now 'beta'"),
        ({"services": {"reasoner": {"ulrs": []}}}, "services.reasoner.ulrs: no such key; did you"),
        ({"data": [{"format": "synth-hr", "x": 1}]}, "data[0].x: no such key; known: format, path"),
        ({"grpo": {"perceiver": {"klx": 1}}}, "grpo.perceiver.klx"),
        (
            {"grpo": {"num_generations": 1}},
            "grpo.num_generations = 1: expected greater than or equal to 2",
        ),
        ({"grpo": {"learning_rate": 0}}, "greater than 0"),
        ({"grpo": {"learning_rate": float("nan")}}, "a finite number"),
        ({"grpo": {"beta": "0.1"}}, "grpo.beta = '0.1': expected a valid number"),
        ({"grpo": {"batch_size": True}}, "grpo.batch_size = True: expected a valid integer"),
        ({"grpo": {"batch_size": 6, "mini_batch_size": 4}}, "does not divide the batch of 6"),
        ({"rounds": 0}, "rounds = 0: expected greater than or equal to 1"),
        (
            {"stages": ["critic"]},
            "stages[0] = 'critic': expected 'perceiver', 'reasoner' or 'baseline'",
        ),
        ({"stages": []}, "stages: empty"),
        (
            {"stages": ["perceiver", "reasoner", "perceiver"]},
            "stages: perceiver is listed 2 times",
        ),
        ({"data": []}, "data: no source"),
        ({"data": [{"format": "p2r-10k"}]}, "data[0].path: missing"),
        ({"data": [{"format": "synth-hr", "weight": 0}]}, "data[0].weight = 0: expected greater"),
        ({"services": {"reasoner": {"kind": "start"}}}, "services.reasoner.command: missing"),
        ({"services": {"reasoner": {"kind": "url"}}}, "services.reasoner.urls: missing"),
        ({"services": {"verifier": {}}}, "the verifier is a server"),
        (
            {"services": {"verifier": {"kind": "url", "urls": ["http://a/v1"]}}},
            "services.verifier.model: missing",
        ),
        ({"backend": "verl"}, "reaches frozen models over HTTP"),
        ({"preset": "p2r-70b"}, "no such preset; known:"),
        ({"roles": {}}, "hyper-parameters of a role are in grpo.perceiver"),
    ],
)
def test_what_is_wrong_is_named(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config({**LEAST, **changes})
    assert message in str(caught.value)


def test_missing_keys_are_named() -> None:
    with pytest.raises(UserError, match="out: missing"):
        load_config({"model": "m", "data": [{"format": "synth-hr"}]})


def test_a_role_overrides_what_all_have() -> None:
    grpo = {"num_generations": 4, "beta": 0.02, "reasoner": {"num_generations": 6}}
    config = load_config({**LEAST, "grpo": grpo})
    assert config.grpo_for("perceiver").num_generations == 4
    assert (config.grpo_for("reasoner").num_generations, config.grpo_for("reasoner").beta) == (
        6,
        0.02,
    )


@pytest.mark.parametrize("name", [n for n in preset_names() if n.startswith("p2r-")])
def test_presets_are_complete_and_say_what_they_are(name: str) -> None:
    config = load_config({"preset": name, "out": "o", "data": LEAST["data"], "services": SERVERS})
    size = name.removeprefix("p2r-")
    assert config.model == f"Qwen/Qwen3-VL-{size.upper()}-Instruct"
    assert config.about.startswith("published" if size == "4b" else "derived")


def test_the_published_figures_are_those_of_4b() -> None:
    config = load_config(
        {"preset": "p2r-4b", "out": "o", "data": LEAST["data"], "services": SERVERS}
    )
    for role, tokens in (("perceiver", 1024), ("reasoner", 2048)):
        grpo = config.grpo_for(role)  # type: ignore[arg-type]
        assert (grpo.num_generations, grpo.batch_size, grpo.learning_rate, grpo.beta) == (
            8,
            64,
            1e-6,
            0.01,
        )
        assert (grpo.num_epochs, grpo.entropy_coef, grpo.max_response_tokens) == (1, 0.0, tokens)


def test_the_users_values_go_before_the_presets_table_by_table() -> None:
    values = {"preset": "p2r-4b", "out": "o", "data": LEAST["data"], "services": SERVERS}
    config = load_config({**values, "grpo": {"perceiver": {"num_generations": 4}}})
    grpo = config.grpo_for("perceiver")
    assert (grpo.num_generations, grpo.max_response_tokens) == (4, 1024)
    assert config.grpo_for("reasoner").num_generations == 8


def test_merging_changes_neither_side() -> None:
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merged(base, over) == {"a": {"b": 1, "c": 2}}
    assert (base, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_configuration_can_be_sent_to_another_process() -> None:
    values = read_preset("p2r-4b")
    config = load_config(
        {**values, "out": "o", "data": LEAST["data"], "services": SERVERS, "seed": 3}
    )
    sent = json.loads(json.dumps(asdict(config), default=str))
    assert read(Config, sent) == config
