"""The verl backend: plans, starts and follows verl, one run per stage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.adapter import TwoStage
from p2r_bench.atomic import replacing
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.backends.verl import merge as merging
from p2r_bench_pra_grpo.backends.verl import process
from p2r_bench_pra_grpo.backends.verl.journal import DOWN
from p2r_bench_pra_grpo.backends.verl.lengths import check_rows, prompt_tokens
from p2r_bench_pra_grpo.backends.verl.overrides import AGENT_LOOP, overrides, written
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.progress import Progress
from p2r_bench_pra_grpo.backends.verl.rows import Row, write_rows
from p2r_bench_pra_grpo.backends.verl.settings import settings_of
from p2r_bench_pra_grpo.backends.verl.stage_file import StageFile
from p2r_bench_pra_grpo.config import Config, profile_of
from p2r_bench_pra_grpo.metrics import METRICS, ROLLOUTS, StepFile
from p2r_bench_pra_grpo.stage import FROZEN_ROLE, Frozen, ServiceDown, Stage, View

_LOOP_CLASS = "p2r_bench_pra_grpo.backends.verl.agent_loop.StageAgentLoop"
RAY_PORTS = {"cluster": "any free one", "dashboard": "8265, or the next free one"}
"""Ports of a cluster that verl starts; a running cluster has its own."""


class VerlBackend:
    """Trains a stage with verl on Ray; see `Backend`."""

    name = "verl"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = settings_of(config)
        self.profile = profile_of(config)

    def plan(self, stage: Stage) -> Sequence[Mapping[str, Any]]:
        """See `Backend.plan`. The command is the one that `train` runs, except for the number of steps.

        Raises:
            UserError: verl is not installed where it is to run.
        """
        self._check_installed()
        paths, settings = StagePaths.next(stage), self.settings
        cluster = settings.ray_address or "a Ray cluster that verl starts on this machine"
        grpo = self.config.grpo_for(stage.role)
        return [
            {
                "step": "train",
                "does": f"GRPO of the {stage.role} with verl: {grpo.batch_size} prompts × {grpo.num_generations} rollouts a step, "
                + ("sequences packed by flash-attn" if settings.packs else "sequences padded"),
                "command": self.command(stage, paths),
                "environment": settings.process_environment,
                "hosts": f"{settings.nodes} × {settings.gpus_per_node} GPUs of {cluster}",
                "ports": {} if settings.ray_address else RAY_PORTS,
                "gpus": list(settings.gpus)
                or f"{settings.nodes * settings.gpus_per_node} that Ray chooses",
                "files": {
                    "rows": str(paths.rows),
                    "stage": str(paths.stage_file),
                    "checkpoints": str(paths.checkpoints),
                    "output": str(paths.output),
                    "metrics": str(stage.metrics),
                    "rollouts": str(stage.rollouts),
                },
            },
            {
                "step": "merge",
                "does": "FSDP shards of the last step to a Hugging Face folder",
                "command": merging.merge_command(
                    settings.interpreter,
                    paths.checkpoints / "global_step_N" / "actor",
                    stage.model,
                ),
                "environment": settings.process_environment,
                "hosts": ["localhost"],
                "gpus": [],
                "files": {"model": str(stage.model)},
            },
        ]

    def command(self, stage: Stage, paths: StagePaths, steps: int | None = None) -> list[str]:
        """Return the words of verl's command line for a stage."""
        hydra = [f"hydra.run.dir={written(str(paths.attempt_folder))}", "hydra.output_subdir=null"]
        words = overrides(stage, self.config, self.settings, self.profile, paths, steps)
        return [self.settings.interpreter, "-m", "verl.trainer.main_ppo", *words, *hydra]

    def facts(self, stage: Stage) -> dict[str, Any]:
        """Return the facts that each attempt recorded, for the checkpoint's manifest."""
        files = [paths.installed for paths in StagePaths.attempts(stage)]
        told = [json.loads(file.read_text("utf-8")) for file in files if file.is_file()]
        last = told[-1] if told else {}
        others = [one for one in told if one != last]
        return {
            "backend": self.name,
            **last,
            **({"earlier_attempts": others} if others else {}),
        }

    def train(
        self, stage: Stage, samples: Sequence[Sample], frozen: Frozen | None, view: View
    ) -> None:
        """See `Backend.train`."""
        self._check_installed()
        rows = self.rows(stage, samples, frozen)
        steps = self.config.grpo_for(stage.role).steps(len(rows))
        paths = StagePaths.next(stage)
        done = merging.latest_step(paths.checkpoints) or 0
        metrics, rollouts = StepFile(stage.metrics, METRICS), StepFile(stage.rollouts, ROLLOUTS)
        metrics.keep(done)
        rollouts.keep(done)
        if done >= steps:
            return
        if done:
            merging.check_world_size(paths.checkpoints, done, self.settings.world_size)
        self.prepare(stage, rows, frozen, paths)
        progress = Progress(stage, samples, paths)

        def follow() -> None:
            for row, kept in progress.new_steps():
                rollouts.append(*kept)
                metrics.append(row)
                view(row)
            if (down := paths.journals / DOWN).is_file():
                raise ServiceDown(down.read_text("utf-8"))

        status = process.run(
            self.command(stage, paths, steps),
            paths.output,
            self.settings.process_environment,
            follow,
        )
        if (merging.latest_step(paths.checkpoints) or 0) < steps:
            raise self._ended(status, paths)

    def rows(self, stage: Stage, samples: Sequence[Sample], frozen: Frozen | None) -> list[Row]:
        """Return the rows of a stage; for the reasoner with the frozen perceiver's texts.

        Samples without a text are left out: `BoxStore.fill` has counted and bounded them.
        """
        if stage.role != "reasoner":
            return [Row(sample) for sample in samples]
        if frozen is None:
            raise UserError("the reasoner's stage needs the frozen perceiver's boxes")
        return asyncio.run(self._with_boxes(samples, frozen))

    async def _with_boxes(self, samples: Sequence[Sample], frozen: Frozen) -> list[Row]:
        two = TwoStage(self.profile)
        rows = []
        async with frozen:
            for sample in samples:
                try:
                    completion = await frozen.ask(two.perceive_request(sample))
                except EngineError as error:
                    if error.kind != "no_boxes":
                        raise
                else:
                    rows.append(Row(sample, completion.text))
        return rows

    def prepare(
        self, stage: Stage, rows: Sequence[Row], frozen: Frozen | None, paths: StagePaths
    ) -> None:
        """Check the rows, and write all files that verl's processes read.

        Raises:
            UserError: A prompt does not fit, or the frozen model is not reached over HTTP.
        """
        at = frozen.at if frozen is not None else None
        if FROZEN_ROLE[stage.role] is not None and at is None:
            raise UserError(
                "verl's processes reach the frozen model over HTTP: services.reasoner.kind must be "
                '"start" or "url"'
            )
        limit = prompt_tokens(self.config, stage.role, self.profile)
        check_rows(rows, stage.role, self.profile, limit, stage.start)
        write_rows(paths.rows, rows, paths.images)
        paths.journals.mkdir(parents=True, exist_ok=True)
        with replacing(paths.agent_loop) as beside:
            beside.write_text(
                f"- name: {AGENT_LOOP}\n  _target_: {_LOOP_CLASS}\n", encoding="utf-8"
            )
        with replacing(paths.installed) as beside:
            beside.write_text(json.dumps(self._runs_with(), indent=1), encoding="utf-8")
        StageFile(
            role=stage.role,
            round=stage.round,
            seed=stage.seed,
            profile=self.profile.hash,
            config=self.config,
            frozen=at,
            rows=paths.rows,
            journals=paths.journals,
        ).write(paths.stage_file)

    def merge(self, stage: Stage) -> Any:
        """See `Backend.merge`."""
        attempts = StagePaths.attempts(stage)
        paths = attempts[-1] if attempts else StagePaths.next(stage)
        step = merging.latest_step(paths.checkpoints)
        if step is None:
            raise UserError(f"{paths.checkpoints}: no checkpoint; the stage has not been trained")
        return merging.merge(
            self.settings.interpreter,
            merging.shards(paths.checkpoints, step),
            stage.model,
            stage.start,
            paths.folder / "merge.log",
            self.settings.process_environment,
        )

    def _check_installed(self) -> None:
        if self.settings.versions["verl"] is None:
            raise UserError(
                f"{self.settings.interpreter}: verl is not installed there: pip install "
                "'p2r-bench-pra-grpo[verl]', or name another environment's interpreter with verl.python"
            )

    def _runs_with(self) -> dict[str, Any]:
        settings = self.settings
        own = {"python": settings.interpreter, "use_remove_padding": settings.packs}
        return {**own, **settings.versions}

    def _ended(self, status: int, paths: StagePaths) -> UserError:
        return UserError(
            f"verl ended with status {status} before the last step; its output is in {paths.output}, "
            f"and ends with:\n{process.tail(paths.output)}"
        )
