"""Documents through p2r-bench's pipeline, each task into a run folder of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from p2r_bench.plugins import registry
from p2r_bench.run.engines import EngineSet, max_images_of, roles_of
from p2r_bench.run.feed import Work
from p2r_bench.run.launcher import LocalLauncher
from p2r_bench.run.pipeline import Outcome, Record
from p2r_bench.run.resolve import make_mode, profile_of
from p2r_bench.run.runner import session_of
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity, RunLabels
from p2r_bench.store.rows import prediction_from_row, sample_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Prediction, Sample
from p2r_bench_lmms_eval.documents import Documents

T = TypeVar("T")
Key = tuple[int, int]
"""A document's number, and which repeat."""


@dataclass
class Job:
    """What is wanted of one task.

    Attributes:
        wanted: Documents and repeats.
        predictions: What came of them; filled in by `run_jobs`.
        path: The run folder, once it is known.
        reused: How many predictions an earlier run had made.
    """

    documents: Documents
    wanted: Sequence[Key]
    samples: dict[int, Sample] = field(default_factory=dict)
    predictions: dict[Key, Prediction] = field(default_factory=dict)
    path: Path | None = None
    reused: int = 0

    @property
    def repeats(self) -> int:
        return 1 + max(repeat for _, repeat in self.wanted)


def run_jobs(spec: RunSpec, jobs: Sequence[Job]) -> None:
    """Solve what the run folders do not hold yet, all tasks at once, and fill in the predictions.

    Args:
        spec: With `out`, and without task and data.

    Raises:
        UserError: Something the user can put right; nothing recorded is lost.
    """
    in_thread(lambda: _run(spec, jobs))


async def _run(spec: RunSpec, jobs: Sequence[Job]) -> None:
    mode, profile = make_mode(spec), profile_of(spec)
    engines = EngineSet(max_images_of(mode, profile))
    choices = {role: spec.roles.get(role, spec.choice) for role in roles_of(mode)}
    used = {role: engines.get(choice) for role, choice in choices.items()}
    digests = {role: await engine.identify() for role, engine in used.items()}
    labels = RunLabels(
        models={role: choice.model for role, choice in choices.items()},
        profile=profile.name,
        profile_text=json.dumps(profile.identity, indent=1, ensure_ascii=False),
    )
    try:
        with ExitStack() as stack:
            folders: dict[str, RunFolder] = {}
            todo: list[Work] = []
            for job in jobs:
                identity = RunIdentity(
                    task=job.documents.name,
                    mode=spec.mode,
                    mode_version=registry().entry("mode", spec.mode).provider,
                    mode_params=spec.mode_params,
                    model_digests=digests,
                    data_digest=job.documents.digest(),
                    profile_hash=profile.hash,
                    seed=spec.seed,
                    repeats=job.repeats,
                )
                folder = stack.enter_context(RunFolder.open(spec.out, identity, labels))
                folders[job.documents.name] = folder
                job.path = folder.path
                todo += _missing(job, folder)
            if todo:
                launcher = LocalLauncher(spec, mode, profile, choices, (), engines)
                try:
                    session = session_of(await launcher.start(), choices)
                    for folder in folders.values():
                        folder.begin(session, allow_mixed=spec.allow_mixed)
                    await launcher.run(todo, _recorder(folders))
                finally:
                    await launcher.close()
            for job in jobs:
                folder = folders[job.documents.name]
                _collect(job, folder)
                expected = {str(i): ((None, None),) for i in range(len(job.documents))}
                await asyncio.to_thread(folder.finish, expected, scorer="lmms")
    finally:
        await engines.close()


def _missing(job: Job, folder: RunFolder) -> list[Work]:
    missing = []
    for doc_id, repeat in job.wanted:
        sample = job.samples.setdefault(doc_id, job.documents.sample(doc_id))
        if (sample.id, repeat) in folder.done:
            job.reused += 1
        else:
            missing.append(Work(doc_id, sample, repeat))
    return missing


def _recorder(folders: Mapping[str, RunFolder]) -> Record:
    async def record(outcome: Outcome) -> None:
        work = outcome.work
        row = sample_row(
            work.sample,
            outcome.prediction,
            index=work.index,
            repeat=work.repeat,
            cells=((None, None),),
            total_seconds=outcome.seconds,
        )
        await folders[work.sample.task].record(row, [])

    return record


def _collect(job: Job, folder: RunFolder) -> None:
    for doc_id, repeat in job.wanted:
        row, _ = folder.outcome((str(doc_id), repeat))
        job.predictions[doc_id, repeat] = prediction_from_row(row)


def in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in an event loop of its own thread; an interrupt cancels it cleanly."""
    outcome: list[T | BaseException] = []
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def main() -> T:
        task = asyncio.ensure_future(work())
        running.append((asyncio.get_running_loop(), task))
        return await task

    def target() -> None:
        try:
            outcome.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=target, name="p2r-bench")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result
