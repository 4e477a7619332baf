"""Launchers for all runs of a command. Replicas are shared by several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.resolve import Resolved
from p2r_bench.run.schedule.launcher import Launcher, LocalLauncher
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity
from p2r_bench.types import Judge

if TYPE_CHECKING:
    from p2r_bench.run.ray.cluster import Cluster


class Launchers:
    """Factory of launchers.

    Args:
        engines: The engines of this process.
    """

    def __init__(self, engines: EngineSet) -> None:
        self._engines = engines
        self._cluster: Cluster | None = None

    async def of(
        self, resolved: Resolved, identity: RunIdentity, judges: Sequence[Judge]
    ) -> Launcher:
        """Return the launcher of a spec, not started.

        Raises:
            UserError: Options of another launcher.
        """
        spec = resolved.spec
        if spec.launcher == "local":
            _check_local(spec)
            return LocalLauncher(
                spec, resolved.mode, resolved.profile, resolved.choices, judges, self._engines
            )
        from p2r_bench.run.ray.launcher import RayLauncher, job_of

        return RayLauncher(await self._cluster_of(spec), job_of(resolved, identity), judges)

    async def close(self) -> None:
        """End the replicas; the engines of this process stay. Safe to call twice."""
        if self._cluster is not None:
            await self._cluster.close()
            self._cluster = None

    async def _cluster_of(self, spec: RunSpec) -> Cluster:
        """Return the cluster of a spec; keep the replicas while the specs ask for equal ones."""
        from p2r_bench.run.ray.cluster import Cluster

        wanted = Cluster(
            spec.replicas, spec.ray_address, spec.replica_resources, self._engines.max_images
        )
        if self._cluster != wanted:
            await self.close()
            self._cluster = wanted
        return self._cluster


def _check_local(spec: RunSpec) -> None:
    given = {
        "--replicas": spec.replicas != 1,
        "--ray-address": spec.ray_address is not None,
        "--replica-resources": spec.replica_resources is not None,
    }
    if any(given.values()):
        name = next(name for name, there in given.items() if there)
        raise UserError(f"{name} belongs to --launcher ray")
