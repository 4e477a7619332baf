"""The backend that trains in this process. Its import is light; the first step imports torch."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2r_bench.errors import UserError
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.devices import devices
from p2r_bench_pra_grpo.reading import read
from p2r_bench_pra_grpo.stage import Frozen, Stage, View

if TYPE_CHECKING:
    from p2r_bench_pra_grpo.backends.embedded.run import StageRun


class EmbeddedBackend:
    """GRPO in this process. With the same number of threads, a resumed training gives the same bits."""

    name = "embedded"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = read(Settings, config.embedded, "embedded")
        for role in config.stages:
            if config.grpo_for(role).top_p != 1.0:
                raise UserError(
                    f"grpo.top_p = {config.grpo_for(role).top_p}: the embedded backend draws rollouts from the policy "
                    "itself, whose log-probabilities it trains; leave it at 1"
                )

    def plan(self, stage: Stage) -> Sequence[Mapping[str, Any]]:
        """See `Backend.plan`."""
        grpo = self.config.grpo_for(stage.role)
        device = "this process" if self.settings.device == "auto" else self.settings.device
        return [
            {
                "step": "train",
                "does": f"GRPO of the {stage.role} in {device}: {grpo.batch_size} prompts of {grpo.num_generations} rollouts a step",
                "hosts": ["localhost"],
                "ports": [],
                "gpus": devices(self.settings.device),
                "files": [
                    str(path)
                    for path in (stage.folder / "checkpoint.pt", stage.metrics, stage.rollouts)
                ],
            },
            {
                "step": "merge",
                "does": "the checkpoint as a Hugging Face folder",
                "hosts": ["localhost"],
                "ports": [],
                "gpus": [],
                "files": [str(stage.model)],
            },
        ]

    def train(
        self, stage: Stage, samples: Sequence[Sample], frozen: Frozen | None, view: View
    ) -> None:
        """See `Backend.train`."""
        asyncio.run(self._run(stage).train(samples, frozen, view))

    def merge(self, stage: Stage) -> Path:
        """See `Backend.merge`."""
        return self._run(stage).merge()

    def facts(self, stage: Stage) -> Mapping[str, Any]:
        """Return settings, steps and seconds, for the manifest."""
        return {"embedded": asdict(self.settings), **self._run(stage).facts()}

    def _run(self, stage: Stage) -> StageRun:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f'backend = "embedded" needs {package}: pip install "p2r-bench-pra-grpo[embedded]"'
                )
        # A second native library's threads beside torch's own would only take its cores.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # As in the transformers engine: threads that spin while they wait collapse beside a busy process.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from p2r_bench_pra_grpo.backends.embedded.run import StageRun

        return StageRun(stage, self.config, self.settings)
