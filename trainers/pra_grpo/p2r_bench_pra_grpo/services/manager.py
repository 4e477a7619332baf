"""Servers of a training: started when needed, and all stopped at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.rewarding import judge_params
from p2r_bench_pra_grpo.services.naming import served_name
from p2r_bench_pra_grpo.services.server import Say, Server, stop_recorded
from p2r_bench_pra_grpo.services.verifier import try_verifier
from p2r_bench_pra_grpo.stage import FROZEN_ROLE, Stage

VERIFIED_FORMS = frozenset({"free", "caption"})

_SERVED_AS: Mapping[str, str] = {"reason": "reasoner", "perceive": "perceiver"}


class ServiceManager:
    """Manager of the servers of a training.

    Args:
        samples: Training samples; their answer forms decide whether the verifier is needed.
    """

    def __init__(self, config: Config, samples: Sequence[Sample], say: Say) -> None:
        self._config = config
        self._folder = config.out.resolve() / "services"
        self._say = say
        self._running: dict[str, Server] = {}
        self._verifies = any(s.answer_form in VERIFIED_FORMS for s in samples)

    def ensure_frozen(self, stage: Stage) -> None:
        """Start or adopt the server of the stage's frozen model, if it has one.

        Raises:
            UserError: The server does not start.
        """
        role = frozen_name(stage)
        if role is None or stage.frozen is None:
            return
        service = self._config.service_for(stage.role)
        if service.kind == "engine":
            return
        server = frozen_server(role, service, stage.frozen, self._folder, self._say)
        other = self._running.get(role)
        if other is not None and other.name != server.name:
            other.stop()
        self._running[role] = server
        server.ensure()

    def ensure_verifier(self) -> None:
        """Start or adopt the verifier's server, and check one verdict, if a verifier is configured and needed.

        Raises:
            UserError: The server does not start, or decides wrongly.
        """
        service = self._config.services.verifier
        if service is None or not self._verifies:
            return
        if "verifier" not in self._running:
            server = verifier_server(service, self._folder, self._say)
            self._running["verifier"] = server
            server.ensure()
            try:
                asyncio.run(try_verifier(judge_params(self._config)["verifier"]))
            except EngineError as error:
                raise UserError(f"verifier: {error}") from error

    def stop_frozen(self, stage: Stage) -> None:
        """Stop the stage's frozen model, if it was started here."""
        role = frozen_name(stage)
        if role is None or stage.frozen is None:
            return
        server = self._running.pop(role, None)
        service = self._config.service_for(stage.role)
        if server is None and service.kind == "start":  # left by a process that died
            server = frozen_server(role, service, stage.frozen, self._folder, self._say)
        if server is not None and server.service.kind == "start":
            server.stop()

    def close(self) -> None:
        """Stop every server of this training, also those of a process that died."""
        for server in self._running.values():
            if server.service.kind == "start":
                server.stop()
        self._running.clear()
        for record in self._folder.glob("*.json"):
            stop_recorded(record)


def frozen_name(stage: Stage) -> str | None:
    """Return the frozen role as in `services`: "reasoner" or "perceiver"; None without a frozen model."""
    role = FROZEN_ROLE[stage.role]
    return None if role is None else _SERVED_AS[role]


def frozen_server(role: str, service: ServiceConfig, model: Path, folder: Path, say: Say) -> Server:
    """Return the server of a frozen model."""
    return Server(role, service, str(model), served_name(model, service), folder, say)


def verifier_server(service: ServiceConfig, folder: Path, say: Say) -> Server:
    """Return the verifier's server."""
    if service.model is None:
        raise RuntimeError("a verifier has a name: contradictions.check sees to it")
    return Server("verifier", service, service.model, service.model, folder, say)
