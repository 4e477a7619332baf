"""Replicas as Ray actors: the only code that calls Ray."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run.ray_handout import Key
from p2r_bench.run.ray_messages import Delivery, Job, Place, Prepared, ReplicaLost
from p2r_bench.run.ray_replica import Replica

_LAST_WORDS_S = 20.0
"""How long a replica may take to close its engines before it is ended."""
_OBJECT_STORE_BYTES = 128 << 20
"""Of a cluster that is started here: messages are small."""


@dataclass(frozen=True)
class RayCluster:
    """Where the replicas of a fleet run, and what each of them reserves. See `Cluster`.

    Attributes:
        replicas: How many.
        address: Of a running cluster, or "local" for a new one on this machine. None: the cluster that
            RAY_ADDRESS names or that runs on this machine, else a new one.
        resources: Resource to amount, for each replica. None: a GPU where the cluster has any, and one CPU.
        max_images: See `Replica`.
    """

    replicas: int = 1
    address: str | None = None
    resources: Mapping[str, float] | None = None
    max_images: int = 4

    def join(self) -> bool:
        """Connect this process, unless it is; whether it was not.

        Raises:
            UserError: Ray is not installed, no cluster answers, or it is too small.
        """
        ray = _ray()
        joined = not ray.is_initialized()
        if joined:
            _join(ray, self.address)
        try:
            self._check_size(ray)
        except UserError:
            if joined:
                ray.shutdown()
            raise
        return joined

    def spawn(self) -> ActorLink:
        """A new replica, wherever the cluster has room."""
        ray = _ray()
        kind = ray.remote(Replica).options(**_actor_options(self._each(ray)))
        return ActorLink(ray, kind.remote(self.max_images))

    def leave(self) -> None:
        """Disconnect; a cluster that `join` started ends."""
        _ray().shutdown()

    def _each(self, ray: Any) -> Mapping[str, float]:
        if self.resources is not None:
            return self.resources
        return {"CPU": 1.0, "GPU": 1.0} if ray.cluster_resources().get("GPU") else {"CPU": 1.0}

    def _check_size(self, ray: Any) -> None:
        has = ray.cluster_resources()
        for name, amount in self._each(ray).items():
            if amount * self.replicas > has.get(name, 0.0):
                raise UserError(
                    f"{self.replicas} replicas with {name}={amount:g} each need {name}="
                    f"{amount * self.replicas:g}, and the cluster has {has.get(name, 0.0):g}: use fewer "
                    "--replicas, other --replica-resources, or a larger cluster"
                )


class ActorLink:
    """A replica that is a Ray actor. See `Link`."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor

    async def describe(self) -> Place:
        """See `Link.describe`."""
        errors = self._ray.exceptions
        try:
            place: Place = await self._call(self._actor.describe.remote())
        except errors.RayTaskError as error:
            raise UserError(
                f"no replica can be made on the node it was given: {_one_line(error)}. Install the same "
                "p2r-bench on every node"
            ) from error
        return place

    async def prepare(self, job: Job) -> Prepared:
        """See `Link.prepare`."""
        prepared: Prepared = await self._call(self._actor.prepare.remote(job))
        return prepared

    async def exchange(self, keys: Sequence[Key]) -> Delivery:
        """See `Link.exchange`."""
        delivery: Delivery = await self._call(self._actor.exchange.remote(keys))
        return delivery

    async def close(self) -> None:
        """See `Link.close`."""
        with suppress(ReplicaLost, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._call(self._actor.close.remote())
        self.kill()

    def kill(self) -> None:
        """See `Link.kill`."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor, no_restart=True)

    async def _call(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return await reference
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from error
            raise
        except errors.RayError as error:
            raise ReplicaLost(_one_line(error)) from error


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints what happens to its workers on standard output, which is for results; losses are logged here.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            "--launcher ray needs Ray, which is not installed: pip install 'p2r-bench[ray]'"
        ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _join(ray: Any, address: str | None) -> None:
    if address is not None and address.startswith("ray://"):
        raise UserError(
            f"--ray-address {address}: Ray Client is not supported; run the command on a machine of the "
            "cluster, or through `ray job submit`"
        )
    quiet = {"configure_logging": False, "log_to_driver": False, "logging_level": "ERROR"}
    begin = partial(
        ray.init,
        address="local",
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        **quiet,
    )
    if address == "local":
        _begin(ray, begin)
        return
    try:
        ray.init(address=address or "auto", **quiet)
    except ConnectionError as error:
        if address or os.environ.get("RAY_ADDRESS"):
            wanted = address or os.environ["RAY_ADDRESS"]
            raise UserError(
                f"no Ray cluster answers at {wanted}: {_one_line(error)}. Start one with `ray start --head`, "
                "or leave out --ray-address and RAY_ADDRESS to start one on this machine"
            ) from error
        _begin(ray, begin)


def _begin(ray: Any, begin: Callable[[], object]) -> None:
    """Start a cluster; a machine that is busy may need a second try, as Ray waits 30 seconds and no longer."""
    for last in (False, True):
        try:
            begin()
            return
        except Exception as error:
            ray.shutdown()
            if last:
                raise UserError(
                    f"Ray could not be started on this machine: {_one_line(error)}. Its logs are in "
                    "ray/session_latest/logs of the temporary folder"
                ) from error


def _actor_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Options of a Ray actor that is lost when its process is: this project starts it again itself."""
    others = {k: v for k, v in resources.items() if k not in ("CPU", "GPU", "memory")}
    options: dict[str, Any] = {
        "num_cpus": resources.get("CPU", 0),
        "num_gpus": resources.get("GPU", 0),
        "resources": others,
        "max_restarts": 0,
        "max_task_retries": 0,
        "scheduling_strategy": "SPREAD",
    }
    return options | ({"memory": resources["memory"]} if "memory" in resources else {})


def _one_line(error: BaseException) -> str:
    """What Ray's message says of the reason; it runs over many lines, with general advice at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "dead because" in line or "exit detail" in line]
    reason = (telling or lines or [type(error).__name__])[0]
    return reason.partition(" Some common causes")[0][:400]
