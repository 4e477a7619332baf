"""Which launcher a run gets, and what outlives a run: engines here, replicas elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.launcher import Launcher, LocalLauncher
from p2r_bench.run.resolve import Resolved
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity
from p2r_bench.types import Judge

if TYPE_CHECKING:
    from p2r_bench.run.ray_fleet import Fleet


class Launchers:
    """Makes the launchers of a command's runs.

    Args:
        engines: Those of this process.
    """

    def __init__(self, engines: EngineSet) -> None:
        self._engines = engines
        self._fleet: Fleet | None = None
        self._cluster: object = None

    async def of(
        self, resolved: Resolved, identity: RunIdentity, judges: Sequence[Judge]
    ) -> Launcher:
        """Who carries out the work that a spec asks for; not started.

        Raises:
            UserError: Options of another launcher.
        """
        spec = resolved.spec
        if spec.launcher == "local":
            _check_local(spec)
            return LocalLauncher(
                spec, resolved.mode, resolved.profile, resolved.choices, judges, self._engines
            )
        from p2r_bench.run.ray_launcher import RayLauncher, job_of

        return RayLauncher(await self._fleet_of(spec), job_of(resolved, identity), judges)

    async def close(self) -> None:
        """End the replicas; the engines stay as they are. Safe to call twice."""
        if self._fleet is not None:
            await self._fleet.close()
            self._fleet = None

    async def _fleet_of(self, spec: RunSpec) -> Fleet:
        """Replicas stay from run to run as long as the runs want the same of the cluster."""
        from p2r_bench.run.ray_cluster import RayCluster
        from p2r_bench.run.ray_fleet import Fleet

        cluster = RayCluster(
            spec.replicas, spec.ray_address, spec.replica_resources, self._engines.max_images
        )
        if self._fleet is None or cluster != self._cluster:
            await self.close()
            self._fleet, self._cluster = Fleet(spec.replicas, cluster), cluster
        return self._fleet


def _check_local(spec: RunSpec) -> None:
    given = {
        "--replicas": spec.replicas != 1,
        "--ray-address": spec.ray_address is not None,
        "--replica-resources": spec.replica_resources is not None,
    }
    if any(given.values()):
        name = next(name for name, there in given.items() if there)
        raise UserError(f"{name} belongs to --launcher ray")
