"""Checks of a configuration's values against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from p2r_bench.errors import UserError

if TYPE_CHECKING:
    from p2r_bench_pra_grpo.config import Config
    from p2r_bench_pra_grpo.stage import StageRole


def check(config: Config) -> None:
    """Refuse values that contradict each other.

    Raises:
        UserError: Two values contradict each other; the message names the key and the contradiction.
    """
    if not config.data:
        raise UserError("data: no source; add a table [[data]]")
    if not config.stages:
        raise UserError("stages: empty; name one or more of perceiver, reasoner, baseline")
    for role in config.stages:
        if config.stages.count(role) > 1:
            raise UserError(
                f"stages: {role} is listed {config.stages.count(role)} times; a round trains each role once, and "
                "`rounds` sets the number of rounds"
            )
    for source, data in enumerate(config.data):
        if data.format == "p2r-10k" and data.path is None:
            raise UserError(
                f"data[{source}].path: missing; format p2r-10k needs a file or a folder"
            )
    services = {"reasoner": config.services.reasoner, "perceiver": config.services.perceiver}
    if config.services.verifier is not None:
        services["verifier"] = config.services.verifier
        if config.services.verifier.kind == "engine":
            raise UserError(
                'services.verifier.kind is "engine", but the verifier is a server: use "start" or "url"'
            )
        if len(config.services.verifier.urls) > 1:
            raise UserError(
                "services.verifier.urls: more than one; the verifier is one server, or the address of what divides "
                "requests among several"
            )
        if not config.services.verifier.model:
            raise UserError(
                "services.verifier.model: missing; the name under which the verifier is served. Its verdicts are "
                "kept under this name, so every model needs one of its own"
            )
    for name, service in services.items():
        if service.kind == "start" and not service.command:
            raise UserError(
                f"services.{name}.command: missing; kind start needs the server's command"
            )
        if service.kind == "url" and not service.urls:
            raise UserError(f"services.{name}.urls: missing; kind url needs at least one")
    _check_ports(config)
    for role in config.stages:
        grpo = config.grpo_for(role)
        if grpo.batch_size % grpo.prompts_per_update:
            raise UserError(
                f"grpo.mini_batch_size = {grpo.mini_batch_size}: does not divide the batch of {grpo.batch_size} ({role})"
            )
    if config.backend == "verl" and any(
        s.kind == "engine" for n, s in services.items() if n != "verifier"
    ):
        needed = [r for r in config.stages if r != "baseline"]
        if needed:
            raise UserError(
                'services: the verl backend reaches frozen models over HTTP; set kind = "start" or "url" '
                "for services.reasoner and services.perceiver"
            )


def _check_ports(config: Config) -> None:
    """Refuse the verifier's port for a frozen model: both run at once. Frozen models take turns and may share a port."""
    verifier = config.services.verifier
    if verifier is None or verifier.kind != "start":
        return
    other: Mapping[StageRole, str] = {"perceiver": "reasoner", "reasoner": "perceiver"}
    for role, name in other.items():
        frozen = config.service_for(role)
        if role in config.stages and frozen.kind == "start" and frozen.port == verifier.port:
            raise UserError(
                f"services.verifier.port = {verifier.port}: services.{name} has the same, and both run at once; "
                "choose another"
            )
