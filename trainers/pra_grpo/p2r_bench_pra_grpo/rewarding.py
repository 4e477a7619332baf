"""Rewarder of a configuration, the same in every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench.judges.select import make_judges
from p2r_bench.judges.verifier import Verifier
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.reward import Rewarder
from p2r_bench_pra_grpo.services.verifier import guard


def make_rewarder(
    config: Config, profile: Profile, samples: Sequence[Sample], workers: int = 1
) -> Rewarder:
    """Return a rewarder with the core's judges, and with the verifier behind a circuit breaker.

    Args:
        samples: Samples to judge; their answer forms decide which judges are needed.
        workers: Number of processes with such a rewarder, which share the requests in flight.

    Raises:
        UserError: A judge that is needed is not set up.
    """
    scorer = config.evaluation.scorer or "strict"
    params = judge_params(config)
    judges = make_judges(params, samples, scorer)
    for judge in judges:
        if isinstance(judge, Verifier):
            guard(judge, params.get("verifier", {}), config.services, workers)
    return Rewarder(profile, judges, config.reward, scorer)


def judge_params(config: Config) -> dict[str, Mapping[str, Any]]:
    """Return the keyword arguments of the judges; the verifier's include the address of its service."""
    params: dict[str, Mapping[str, Any]] = {name: dict(own) for name, own in config.judges.items()}
    service = config.services.verifier
    if service is not None:
        address = {
            "url": verifier_url(service),
            "model": service.model,
            "timeout": config.services.timeout,
            "retries": config.services.retries,
            "concurrency": config.services.concurrency,
        }
        params["verifier"] = {**address, **params.get("verifier", {})}
    return params


def verifier_url(service: ServiceConfig) -> str:
    """Return the base URL of the verifier's server."""
    return service.urls[0] if service.kind == "url" else service.url
