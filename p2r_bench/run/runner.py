"""One run: resolve what was asked for, do what is missing, write what there is."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.bundled import model_profile
from p2r_bench.errors import UserError
from p2r_bench.judges.select import (
    DEFAULT_SCORER,
    close_judges,
    headline_scorer,
    headline_scorers,
    make_judges,
)
from p2r_bench.plugins import registry
from p2r_bench.run import environment
from p2r_bench.run.engines import EngineSet, check_capabilities, max_images_of, roles_of
from p2r_bench.run.feed import Work
from p2r_bench.run.images import ImageWork
from p2r_bench.run.pipeline import Outcome, Pipeline
from p2r_bench.run.progress import ProgressView, Silent, Tally
from p2r_bench.run.rejudge import judge_missing
from p2r_bench.run.solving import Solver
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.store.identity import RunIdentity, RunLabels, Session
from p2r_bench.store.leaderboard import update_leaderboard
from p2r_bench.store.rows import sample_row, verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Cell, DataSource, Engine, Judge, Mode, Sample, Task


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    Attributes:
        path: The run's folder.
        metrics: Metric rows, with the leaderboard's columns.
        added: Samples this call ran; those done before are not among them.
        interrupted: Stopped by a signal before everything was done.
    """

    run_id: str
    path: Path
    metrics: tuple[Mapping[str, Any], ...]
    added: int = 0
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every sample of the task has an outcome and a headline verdict."""
        headlines = [row for row in self.metrics if row["headline"]]
        return bool(headlines) and all(row["complete"] for row in headlines)

    @property
    def overall(self) -> list[Mapping[str, Any]]:
        """The headline accuracy over all categories: one row, or one for each subset of the task."""
        return [
            row
            for row in self.metrics
            if row["headline"] and row["category"] is None and row["metric"] == "accuracy"
        ]


@dataclass
class Resolved:
    """A spec with everything looked up and read, before anything heavy starts."""

    spec: RunSpec
    task: Task
    source: DataSource
    mode: Mode
    mode_version: str
    profile: Profile
    choices: Mapping[str, EngineChoice]
    samples: list[Sample]
    cells: dict[str, tuple[Cell, ...]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.spec.task} · {self.spec.mode}"

    @property
    def scorer(self) -> str:
        """The headline scorer: the one asked for, else the task's own, else `strict`."""
        own: str = getattr(self.task, "scorer", DEFAULT_SCORER)
        return self.spec.scorer or own

    def work(self) -> list[Work]:
        """Everything that this spec asks for, in dataset order."""
        spec, chosen = self.spec, enumerate(self.samples)
        if spec.sample_ids:
            missing = sorted(set(spec.sample_ids) - self.cells.keys())
            if missing:
                raise UserError(
                    f"--sample-id: {spec.task} has no sample {missing[0]!r}; "
                    f"ids look like {self.samples[0].id!r}"
                )
            chosen_list = [(i, s) for i, s in chosen if s.id in set(spec.sample_ids)]
        else:
            chosen_list = list(chosen)
        return [
            Work(index, sample, repeat)
            for index, sample in chosen_list[: spec.limit]
            for repeat in range(spec.repeats)
        ]


def make_mode(spec: RunSpec) -> Mode:
    """The mode of a spec, made with its parameters.

    Raises:
        UserError: Nothing registers it, or it does not take these parameters.
    """
    kind = registry().get("mode", spec.mode)
    try:
        mode: Mode = kind(**spec.mode_params)
    except TypeError as error:
        raise UserError(f"mode {spec.mode!r} does not take these parameters: {error}") from error
    return mode


def profile_of(spec: RunSpec) -> Profile:
    """The profile that a spec names, else the one that its model folder names, else `p2r`."""
    return load_profile(spec.profile or model_profile(spec.choice.model) or "p2r")


def resolve(spec: RunSpec) -> Resolved:
    """Look up mode, task and profile, and read the task's rows without their images.

    Raises:
        UserError: A name that nothing registers, missing or damaged data, a bad profile.
    """
    mode, profile = make_mode(spec), profile_of(spec)
    task: Task = registry().get("task", spec.task)()
    source = DataSource(spec.data_dir, params=spec.task_params)
    samples = list(task.samples(source))
    if not samples:
        raise UserError(f"{spec.task}: no rows in {spec.data_dir or 'the data'}")
    cells = {sample.id: task.cells(sample) for sample in samples}
    if len(cells) != len(samples):
        twice = next(name for name, n in Counter(s.id for s in samples).items() if n > 1)
        raise UserError(f"{spec.task}: two rows have the id {twice!r}")
    return Resolved(
        spec=spec,
        task=task,
        source=source,
        mode=mode,
        mode_version=registry().entry("mode", spec.mode).provider,
        profile=profile,
        choices={role: spec.roles.get(role, spec.choice) for role in roles_of(mode)},
        samples=samples,
        cells=cells,
    )


async def run(spec: RunSpec, engines: EngineSet, view: ProgressView | None = None) -> RunResult:
    """Do what is missing of a run, then write its parquet files and its leaderboard rows.

    SIGINT and SIGTERM stop it cleanly: what is done stays, and the same call goes on from there.

    Raises:
        UserError: Something the user can put right; nothing recorded is lost.
    """
    resolved = resolve(spec)
    judges = make_judges(spec.judge_params, resolved.samples, resolved.scorer)
    headlines = headline_scorers(resolved.samples, resolved.scorer, judges)
    used = {role: engines.get(choice) for role, choice in resolved.choices.items()}
    identity = RunIdentity(
        task=spec.task,
        mode=spec.mode,
        mode_version=resolved.mode_version,
        mode_params=spec.mode_params,
        model_digests={role: await engine.identify() for role, engine in used.items()},
        data_digest=resolved.task.data_digest(resolved.source),
        profile_hash=resolved.profile.hash,
        seed=spec.seed,
        repeats=spec.repeats,
    )
    labels = RunLabels(
        models={role: choice.model for role, choice in resolved.choices.items()},
        profile=resolved.profile.name,
        profile_text=json.dumps(resolved.profile.identity, indent=1, ensure_ascii=False),
    )
    try:
        with RunFolder.open(spec.out, identity, labels, metrics=resolved.task.metrics) as folder:
            skip = folder.done if spec.retry_errors else folder.done | folder.errors
            todo = [work for work in resolved.work() if (work.sample.id, work.repeat) not in skip]
            finished = True
            if todo:
                await engines.start(used.values())
                most = max_images_of(resolved.mode, resolved.profile)
                check_capabilities(used, resolved.profile, resolved.choices, most)
                folder.begin(session_of(used, resolved.choices), allow_mixed=spec.allow_mixed)
                finished = await _work(resolved, folder, judges, used, todo, view or Silent())
            if finished:
                await judge_missing(folder, judges)
            rows = await asyncio.to_thread(folder.finish, resolved.cells, scorer=headlines)
            await asyncio.to_thread(update_leaderboard, spec.out, rows)
            return RunResult(folder.run_id, folder.path, tuple(rows), len(todo), not finished)
    finally:
        await close_judges(judges)


async def _work(
    resolved: Resolved,
    folder: RunFolder,
    judges: Sequence[Judge],
    engines: Mapping[str, Engine],
    todo: Sequence[Work],
    view: ProgressView,
) -> bool:
    """Run the pipeline over what is missing; False when a signal stopped it."""
    spec = resolved.spec
    images = ImageWork(spec.image_memory)
    solver = Solver(resolved.mode, resolved.profile, engines, images, spec.seed)
    tally = Tally(len(todo))

    async def record(outcome: Outcome) -> None:
        work, sample = outcome.work, outcome.work.sample
        row = sample_row(
            sample,
            outcome.prediction,
            index=work.index,
            repeat=work.repeat,
            cells=resolved.cells[sample.id],
            total_seconds=outcome.seconds,
        )
        verdicts = [verdict_row(v, index=work.index, repeat=work.repeat) for v in outcome.verdicts]
        await folder.record(row, verdicts)
        headline = headline_scorer(sample, resolved.scorer, judges)
        correct = next((v.correct for v in outcome.verdicts if v.scorer == headline), None)
        tally.add(error=outcome.prediction.status == "error", correct=correct)
        view.update(tally)

    in_flight = spec.in_flight or max(
        2 * sum({id(e): e.capabilities().concurrency for e in engines.values()}.values()), 4
    )
    view.begin(resolved.title, tally)
    try:
        begun = time.perf_counter()
        pipeline = Pipeline(solver, judges, record, in_flight)
        async with _stopping_on_signals(asyncio.ensure_future(pipeline.run(todo))) as working:
            await asyncio.wait([working])
        if working.cancelled():
            return False
        working.result()
        return True
    finally:
        view.end(tally)
        folder.note({"accounting": _accounting(tally, time.perf_counter() - begun)})
        await asyncio.to_thread(images.close)


@asynccontextmanager
async def _stopping_on_signals(work: asyncio.Future[None]) -> AsyncIterator[asyncio.Future[None]]:
    """Cancel the work on SIGINT and SIGTERM; a second signal does what it always does."""
    loop = asyncio.get_running_loop()
    watched = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        restore()
        work.cancel()

    def restore() -> None:
        for number in watched:
            loop.remove_signal_handler(number)

    try:
        for number in watched:
            loop.add_signal_handler(number, stop)
    except (NotImplementedError, RuntimeError, ValueError):
        restore = _nothing  # not in the main thread, or a platform without signal handlers
    try:
        yield work
    finally:
        restore()
        if not work.done():
            work.cancel()
            await asyncio.wait([work])


def _nothing() -> None: ...


def _accounting(tally: Tally, seconds: float) -> dict[str, Any]:
    """Rows per second of the session, and the most memory this process has ever used, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return {
        "rows": tally.done,
        "seconds": round(seconds, 3),
        "rows_per_s": round(tally.done / seconds, 3),
        "peak_mb": round(peak, 1),
    }


def session_of(engines: Mapping[str, Engine], choices: Mapping[str, EngineChoice]) -> Session:
    """What a run records of a session with these started engines."""
    return Session(
        pinned={
            "engines": {
                role: dict(engine.capabilities().facts) for role, engine in engines.items()
            },
            "versions": environment.versions(),
            "hardware": environment.hardware(),
        },
        noted={
            "command": environment.command(),
            "git": environment.git_state(),
            "engine_args": {role: dict(choice.args) for role, choice in choices.items()},
        },
        engines={role: choice.engine for role, choice in choices.items()},
    )
