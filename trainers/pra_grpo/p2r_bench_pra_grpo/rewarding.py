"""The rewarder of a configuration, made alike in every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench.judges.select import make_judges
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.reward import Rewarder

VERIFIER_NAME = "verifier"
"""Name under which a started verifier is served when none is configured."""


def make_rewarder(config: Config, profile: Profile, samples: Sequence[Sample]) -> Rewarder:
    """A rewarder with the core's judges, the verifier's address filled in.

    Args:
        samples: Their answer forms decide which judges are needed.

    Raises:
        UserError: A judge that is needed is not set up.
    """
    scorer = config.evaluation.scorer or "strict"
    judges = make_judges(judge_params(config), samples, scorer)
    return Rewarder(profile, judges, config.reward, scorer)


def judge_params(config: Config) -> dict[str, Mapping[str, Any]]:
    """Keyword arguments of the judges; the configured verifier service's address for the verifier."""
    params: dict[str, Mapping[str, Any]] = {name: dict(own) for name, own in config.judges.items()}
    service = config.services.verifier
    if service is not None:
        address = {
            "url": verifier_url(service),
            "model": service.model or VERIFIER_NAME,
            "timeout": config.services.timeout,
            "retries": config.services.retries,
            "concurrency": config.services.concurrency,
        }
        params["verifier"] = {**address, **params.get("verifier", {})}
    return params


def verifier_url(service: ServiceConfig) -> str:
    """Base URL of the verifier's server."""
    return service.urls[0] if service.kind == "url" else service.url
