"""The Ray cluster that replicas run on."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run.ray.replica import Replica

RESTARTS = 3
"""Restarts by Ray of one replica within a command."""
CLOSING_S = 20.0
_QUIET = {"configure_logging": False, "log_to_driver": False, "logging_level": "ERROR"}
_NEW = {"include_dashboard": False, "object_store_memory": 128 << 20}


@dataclass
class Cluster:
    """A connection to Ray and the replicas started on it; both outlive a run.

    Attributes:
        replicas: Number of actors.
        address: Address of a running cluster, or "local" for a new one on this machine. None: the cluster that
            RAY_ADDRESS names or that runs on this machine, else a new one.
        resources: Amounts by resource, for each replica. None: one CPU, and a GPU if the cluster has any.
        max_images: Most images in one request of any run of the command.
    """

    replicas: int = 1
    address: str | None = None
    resources: Mapping[str, float] | None = None
    max_images: int = 4
    actors: list[Any] = field(default_factory=list, compare=False)
    _connected: bool = field(default=False, compare=False)

    def open(self) -> list[Any]:
        """Return the replicas' actor handles; connect to Ray and start them the first time.

        Raises:
            UserError: Ray is not installed, no cluster answers, or it is too small.
        """
        if not self.actors:
            ray = import_ray()
            if not ray.is_initialized():
                connect(ray, self.address)
                self._connected = True
            try:
                options = actor_options(self._fitting(ray.cluster_resources()))
            except UserError:
                self._disconnect()
                raise
            kind = ray.remote(Replica).options(**options)
            self.actors = [kind.remote(self.max_images) for _ in range(self.replicas)]
        return self.actors

    async def close(self) -> None:
        """Close the replicas' engines, end them, and disconnect; safe to call twice."""
        actors, self.actors = self.actors, []
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                calls = [actor.close.remote() for actor in actors]
                await asyncio.gather(*calls, return_exceptions=True)
        for actor in actors:
            import_ray().kill(actor, no_restart=True)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected:
            import_ray().shutdown()
            self._connected = False

    def _fitting(self, has: Mapping[str, float]) -> Mapping[str, float]:
        each = self.resources or {"CPU": 1.0, **({"GPU": 1.0} if has.get("GPU") else {})}
        for name, amount in each.items():
            needed, there = amount * self.replicas, has.get(name, 0.0)
            if needed > there:
                raise UserError(
                    f"{self.replicas} replicas with {name}={amount:g} each need {name}={needed:g}, and the "
                    f"cluster has {there:g}: use fewer --replicas, other --replica-resources, or a larger cluster"
                )
        return each


def import_ray() -> Any:
    """Return the module `ray`, with its output on stdout disabled. Raises UserError without it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            "--launcher ray needs Ray, which is not installed: pip install 'p2r-bench[ray]'"
        ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def connect(ray: Any, address: str | None) -> None:
    """Connect to a running cluster, or start one on this machine. Raises UserError when neither works."""
    wanted = address or os.environ.get("RAY_ADDRESS")
    if address is not None and address.startswith("ray://"):
        raise UserError(
            f"--ray-address {address}: Ray Client is not supported; run the command on a machine of the "
            "cluster, or through `ray job submit`"
        )
    if address != "local":
        try:
            ray.init(address=address or "auto", **_QUIET)
            return
        except ConnectionError as error:
            if wanted:
                raise UserError(
                    f"no Ray cluster answers at {wanted}: {one_line(error)}. Start one with `ray start "
                    "--head`, or leave out --ray-address and RAY_ADDRESS to start one on this machine"
                ) from error
    try:
        ray.init(address="local", **_NEW, **_QUIET)
    except Exception as error:
        ray.shutdown()
        raise UserError(
            f"Ray could not be started on this machine: {one_line(error)}. Its logs are in "
            "ray/session_latest/logs of the temporary folder; a busy machine may need a second try"
        ) from error


def actor_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Return the Ray options of a replica: Ray restarts the actor, and the driver repeats its lost calls elsewhere."""
    others = {k: v for k, v in resources.items() if k not in ("CPU", "GPU", "memory")}
    return {
        "num_cpus": resources.get("CPU", 0),
        "num_gpus": resources.get("GPU", 0),
        "resources": others,
        "max_restarts": RESTARTS,
        "max_task_retries": 0,
        "scheduling_strategy": "SPREAD",
        **({"memory": resources["memory"]} if "memory" in resources else {}),
    }


def one_line(error: BaseException) -> str:
    """Return the reason from one of Ray's long messages, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if "dead because" in line or "exit detail" in line]
    reason = (reasons or lines or [type(error).__name__])[0]
    return reason.partition(" Some common causes")[0][:400]
