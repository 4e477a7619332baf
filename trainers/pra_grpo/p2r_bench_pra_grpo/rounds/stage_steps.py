"""Steps of a stage. Each can be repeated after an interruption at any point."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench.errors import UserError
from p2r_bench.models import model_digest
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.boxes import BoxStore, StoredBoxes
from p2r_bench_pra_grpo.checkpoint import BadCheckpoint, load_test, write_manifest
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.data.load import samples_digest
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.rounds.steps import Kind
from p2r_bench_pra_grpo.services.frozen import FrozenModel, frozen_model
from p2r_bench_pra_grpo.services.manager import ServiceManager, frozen_name
from p2r_bench_pra_grpo.services.server import Say
from p2r_bench_pra_grpo.stage import Backend, Frozen, Stage, View

Result = Mapping[str, Any]


class StageSteps:
    """The steps of one stage."""

    def __init__(
        self,
        stage: Stage,
        config: Config,
        profile: Profile,
        samples: Sequence[Sample],
        backend: Backend,
        services: ServiceManager,
        state: State,
        view: View,
        say: Say,
    ) -> None:
        self.stage = stage
        self._config = config
        self._profile = profile
        self._samples = samples
        self._backend = backend
        self._services = services
        self._state = state
        self._view = view
        self._say = say

    def take(self, kind: Kind) -> Result:
        """Run one step and return its record."""
        steps = {
            "serve": self.serve,
            "boxes": self.boxes,
            "train": self.train,
            "merge": self.merge,
            "load-test": self.load_test,
            "swap": self.swap,
        }
        return steps[kind]()

    def serve(self) -> Result:
        """Check that the verifier and any frozen model answer."""
        self._services.ensure_verifier()
        if self.stage.frozen is None:
            return {"frozen": None}
        self._services.ensure_frozen(self.stage)
        frozen = self._frozen_model()

        async def look() -> None:
            async with frozen:
                pass

        asyncio.run(look())
        return {"frozen": str(self.stage.frozen), "at": frozen.at}

    def boxes(self) -> Result:
        """Ask the frozen perceiver for the texts that are missing on disk."""
        self._services.ensure_frozen(self.stage)
        frozen, store = self._frozen_model(), self._store()

        async def fill() -> list[str]:
            async with frozen:
                return await store.fill(
                    self._samples, frozen.ask, 2 * self._config.services.concurrency
                )

        refused = asyncio.run(fill())
        with_boxes = [s for s in self._samples if s in store]
        return {"samples": len(with_boxes), "without": refused}

    def train(self) -> Result:
        """Train to the last checkpoint of the stage."""
        self._services.ensure_verifier()
        samples, frozen = list(self._samples), self._frozen()
        if self.stage.role == "reasoner":
            self._services.stop_frozen(self.stage)  # it has said all it has to say
            store = self._store()
            samples = [s for s in samples if s in store]
        self.stage.folder.mkdir(parents=True, exist_ok=True)
        total = self._config.grpo_for(self.stage.role).steps(len(samples))
        view = with_estimate(self._view, self._say, total)
        self._backend.train(self.stage, samples, frozen, view)
        return {"samples": len(samples), "data_digest": samples_digest(samples)}

    def merge(self) -> Result:
        """Merge the checkpoint into a model folder."""
        self._services.stop_frozen(self.stage)
        folder = self._backend.merge(self.stage)
        if folder.resolve() != self.stage.model.resolve():
            raise RuntimeError(
                f"the backend {self._backend.name} merged into {folder}, not {self.stage.model}"
            )
        return {"model": str(folder)}

    def load_test(self) -> Result:
        """Load the folder, generate once, and write its manifest."""
        try:
            facts = load_test(self.stage.model, self._config, self._profile)
        except BadCheckpoint as error:
            self._state.forget(f"{self.stage.name}/merge")
            raise UserError(f"{error}. The same command merges the checkpoint again") from error
        trained = self._state.steps[f"{self.stage.name}/train"]
        write_manifest(
            self.stage,
            self._config,
            self._profile,
            {
                "start_digest": model_digest(self.stage.start),
                "frozen_digest": model_digest(self.stage.frozen) if self.stage.frozen else None,
                "data_digest": trained["data_digest"],
                "digest": facts["digest"],
                "load_test": {"tokens": facts["tokens"], "engine": facts["engine"]},
                "backend_facts": dict(self._backend.facts(self.stage)),
            },
        )
        return {"digest": facts["digest"], "tokens": facts["tokens"]}

    def swap(self) -> Result:
        """Link `model` in the training's folder to the stage's result."""
        link = self._config.out / "model"
        beside = link.with_name(f".{link.name}.{os.getpid()}.tmp")
        beside.unlink(missing_ok=True)
        beside.symlink_to(
            os.path.relpath(self.stage.model, self._config.out.resolve()), target_is_directory=True
        )
        beside.replace(link)
        return {"model": str(self.stage.model)}

    def _frozen(self) -> Frozen | None:
        if self.stage.role == "perceiver":
            self._services.ensure_frozen(self.stage)
            return self._frozen_model()
        return StoredBoxes(self._store()) if self.stage.role == "reasoner" else None

    def _frozen_model(self) -> FrozenModel:
        assert self.stage.frozen is not None
        service = self._config.service_for(self.stage.role)
        name = f"the frozen {frozen_name(self.stage)}"
        return frozen_model(
            name, service, self.stage.frozen, self._config, self._profile, self._samples
        )

    def _store(self) -> BoxStore:
        assert self.stage.frozen is not None
        return BoxStore(self.stage.boxes, model_digest(self.stage.frozen), self._profile)


def with_estimate(view: View, say: Say, total: int, after: int = 10) -> View:
    """Return a view that also reports, once, the estimated time of the remaining steps."""
    seconds: list[float] = []

    def viewed(row: Mapping[str, Any]) -> None:
        view(row)
        if row.get("seconds") is None:
            return
        seconds.append(row["seconds"])
        if len(seconds) == after and row["step"] < total:
            mean, left = fmean(seconds), total - row["step"]
            say(f"{mean:.1f} s a step; the {left} steps left take about {mean * left / 3600:.1f} h")

    return viewed
