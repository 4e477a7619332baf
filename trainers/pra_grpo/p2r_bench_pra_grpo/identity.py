"""Identity of a training: the parts of its configuration that decide its result and must not change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from p2r_bench.judges.headline import DEFAULT_SCORER
from p2r_bench.judges.select import make_judge
from p2r_bench.judges.verifier import Verifier
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.backends.verl.settings import VerlSettings
from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.reading import read
from p2r_bench_pra_grpo.rewarding import judge_params
from p2r_bench_pra_grpo.stage import FROZEN_ROLE

FREE: Mapping[str, frozenset[str]] = {
    "grpo": frozenset({"save_steps"}),
    "data": frozenset({"path", "images"}),
    "judges": frozenset({"url", "api_key", "cache_dir", "timeout", "retries", "concurrency"}),
    "engine_args": frozenset(
        {"device", "threads", "batch_size", "batch_tokens", "prefill_tokens"}
        | {"tensor_parallel", "data_parallel", "gpu_memory", "kv_cache_gb", "image_cache_gb"}
        | {"max_num_seqs", "max_batched_tokens", "enforce_eager", "prefix_caching"}
        | {"base_url", "api_key_env", "concurrency", "timeout", "retries", "png_level"}
    ),
    "embedded": frozenset({"device", "threads", "micro_batch", "frozen_batch", "image_workers"}),
    "verl": frozenset(
        {"nodes", "gpus_per_node", "gpus", "ray_address", "environment", "python"}
        | {"strategy", "tensor_parallel", "gpu_memory", "tokens_per_gpu", "offload"}
        | {"remove_padding", "keep_checkpoints", "logger", "project"}
        | {"rollout_workers", "reward_workers", "give_up_after"}
    ),
}
"""Keys of a table that may change during a training: devices, batch sizes of computation, time limits and logs.

These keys affect results by rounding at most. Every other key belongs to the identity, including new ones.
"""

_EVALUATED = ("tasks", "modes", "limit", "seed", "task_params")
"""Keys of `evaluation` that must be equal for two rounds to be comparable."""

_TABLES: Mapping[str, type] = {"embedded": Settings, "verl": VerlSettings}


def identity_of(config: Config) -> dict[str, Any]:
    """Return all deciding values by key, defaults included.

    Hyper-parameters are those of every trained role. The number of rounds and the addresses of servers are left
    out: a training can be extended and moved.
    """
    plain = _plain(config)
    evaluated = {key: plain["evaluation"][key] for key in _EVALUATED}
    return {
        **{key: plain[key] for key in ("model", "revision", "stages", "seed", "backend", "reward")},
        "data": [deciding("data", table) for table in plain["data"]],
        "grpo": {role: deciding("grpo", asdict(config.grpo_for(role))) for role in config.stages},
        "judges": {name: deciding("judges", own) for name, own in plain["judges"].items()},
        "services": _services(config),
        "evaluation": {**evaluated, "scorer": config.evaluation.scorer or DEFAULT_SCORER},
        config.backend: _backend(config),
    }


def reward_identity(config: Config) -> dict[str, Any]:
    """Return the part of the identity that decides rewards."""
    values = identity_of(config)
    parts = {name: values[name] for name in ("reward", "judges", "services")}
    return {**parts, "scorer": values["evaluation"]["scorer"]}


def deciding(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a table, without the keys that are free to change."""
    return {key: value for key, value in values.items() if key not in FREE[table]}


def verifier_model(config: Config, samples: Iterable[Sample]) -> str | None:
    """Return the verifier's model, if a sample needs one; its name may come from the environment."""
    judge = make_judge("verifier", judge_params(config).get("verifier", {}))
    applies = any(judge.applies(sample) for sample in samples)
    return judge.model if applies and isinstance(judge, Verifier) else None


def _backend(config: Config) -> dict[str, Any]:
    kind = _TABLES.get(config.backend)
    if kind is None:
        return {}
    table = getattr(config, config.backend)
    return deciding(config.backend, _plain(read(kind, table, config.backend)))


def _services(config: Config) -> dict[str, Any]:
    """Return the settings of the frozen models in use, and the verifier's model."""
    values = {
        "reasoner" if role == "perceiver" else "perceiver": _frozen(config.service_for(role))
        for role in config.stages
        if FROZEN_ROLE[role] is not None
    }
    verifier = config.services.verifier
    return {**values, "verifier": {"model": verifier.model}} if verifier else values


def _frozen(service: ServiceConfig) -> dict[str, Any]:
    """Return the settings of a frozen model: a server's model name, or engine and arguments."""
    if service.kind != "engine":
        return {"model": service.model}
    args = deciding("engine_args", service.engine_args)
    return {"engine": service.engine, "engine_args": args}


def _plain(value: Any) -> dict[str, Any]:
    """Return a dataclass as JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(value), default=str))
    return plain
