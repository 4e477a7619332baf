"""One run: resolve the spec, resume an earlier session, run the missing samples, write the results."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from p2r_bench.errors import UserError, counted
from p2r_bench.judges.headline import headline_scorers
from p2r_bench.judges.select import close_judges, make_judges
from p2r_bench.run import recording
from p2r_bench.run.canaries import Policy
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.options import Options
from p2r_bench.run.progress import ProgressView, Silent, Tally
from p2r_bench.run.rejudge import judge_missing
from p2r_bench.run.resolve import Resolved, check, resolve
from p2r_bench.run.result import RunResult
from p2r_bench.run.sample_set import SampleSet
from p2r_bench.run.schedule.launcher import Launcher
from p2r_bench.run.schedule.launchers import Launchers
from p2r_bench.run.schedule.order import near_each_other
from p2r_bench.run.served import Identified, identify, vouched_for
from p2r_bench.run.signals import Stopper, leaving, listening
from p2r_bench.run.spec import RunSpec
from p2r_bench.run.sweep import specs_of
from p2r_bench.store.identity import RunIdentity, RunLabels
from p2r_bench.store.leaderboard import update_leaderboard
from p2r_bench.store.rows import prediction_from_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Engine, Judge, Prediction

log = logging.getLogger(__name__)


class AsyncSession:
    """One run for asynchronous code: opened, resumed and finished. `Session` is its synchronous counterpart.

    Use it in `async with`. Samples that an earlier session recorded are not run again. SIGINT and SIGTERM stop it
    cleanly: finished samples are kept, and the next session resumes the run.

    Args:
        spec: The run; as `Options`, one mode and one task.
        samples: Samples used instead of the task's rows.
        progress: Methods called as the run proceeds; None shows nothing.
        engines: Engines shared with other sessions and closed by the caller. None: opened and closed here.
        launchers: Replicas shared with other sessions and closed by the caller. None: opened and closed here.

    Raises:
        UserError: `Options` with several modes or tasks.
    """

    def __init__(
        self,
        spec: RunSpec | Options,
        samples: SampleSet | None = None,
        *,
        progress: ProgressView | None = None,
        engines: EngineSet | None = None,
        launchers: Launchers | None = None,
    ) -> None:
        self.spec = one_spec(spec)
        self._sample_set = samples
        self._view = progress or Silent()
        self._shared_engines = engines
        self._launchers = launchers
        self._stack = AsyncExitStack()
        self._tally = Tally(0)
        self._ran = False
        self._stopped = False

    async def __aenter__(self) -> AsyncSession:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Read the rows, identify the models, and open the run's folder, which is created unless an earlier session
        left one.

        Raises:
            UserError: Something the user can put right.
            asyncio.CancelledError: A signal came.
        """
        with listening() as stop, stop.starting():
            try:
                await self._open()
            except BaseException:
                await self.close()
                raise

    async def _open(self) -> None:
        spec, view = self.spec, self._view
        Policy.read(spec.canaries)  # before anything starts
        if self._shared_engines is None:
            self._engines = EngineSet(check(spec, self._sample_set))
            self._stack.push_async_callback(self._engines.close)
        else:
            self._engines = self._shared_engines
        view.say(f"{spec.task} · {spec.mode}: reading rows …")
        self._resolved = resolved = resolve(spec, self._sample_set)
        self._judges = self._make_judges(resolved)
        self._stack.push_async_callback(close_judges, self._judges)
        self._headlines = self._headline_scorers(resolved)
        family = resolved.profile.family
        self._used = {role: self._engines.get(c, family) for role, c in resolved.choices.items()}
        self._models = " and ".join(dict.fromkeys(c.model for c in resolved.choices.values()))
        view.say(
            f"{resolved.title}: {counted(len(resolved.samples), 'row')}; identifying {self._models} …"
        )
        self._identified = await identify(
            await _identity(resolved, self._used),
            spec.out,
            resolved.choices,
            self._used,
            self._engines,
            allow_mixed=spec.allow_mixed,
        )
        labels = _labels(resolved, self._identified)
        self._folder = self._stack.enter_context(
            RunFolder.open(
                spec.out, self._identified.identity, labels, metrics=resolved.task.metrics
            )
        )
        self._stack.enter_context(leaving(self._folder.remove_if_unused))
        self._work = resolved.work()
        missing = len(self._missing_work())
        self._tally = Tally(len(self._work), before=len(self._work) - missing)

    @property
    def total(self) -> int:
        """Number of samples of the run, each counted once per repeat."""
        return len(self._work)

    @property
    def missing(self) -> list[tuple[str, int]]:
        """Sample id and repeat of each sample that `run` still has to do."""
        return [(work.sample.id, work.repeat) for work in self._missing_work()]

    def _missing_work(self) -> list[Work]:
        folder = self._folder
        skip = folder.done if self.spec.retry_errors else folder.done | folder.errors
        return [one for one in self._work if (one.sample.id, one.repeat) not in skip]

    async def run(self) -> bool:
        """Run and record the missing samples; return False if a signal stopped the run.

        Raises:
            UserError: Something the user can put right; nothing recorded is lost.
            asyncio.CancelledError: A signal came before the first sample was recorded.
        """
        with listening() as stop, stop.starting():
            todo, title = self._missing_work(), self._resolved.title
            if todo and self._identified.unreachable:
                raise self._identified.unreachable
            prints, notices = await vouched_for(
                self._resolved.choices,
                self._used,
                self._engines,
                self._folder.manifest.sessions,
                finished=not todo,
            )
            self._identified = self._identified.with_vouched(prints, notices)
            if self._identified.notice:
                log.warning("%s: %s", self._folder.run_id, self._identified.notice)
            if not todo:
                self._view.say(f"{title}: all {len(self._work)} samples are done")
                return True
            self._ran = True
            own = self._launchers or Launchers(self._engines)
            launcher = await own.of(self._resolved, self._identified.identity, self._judges)
            self._view.say(f"{title}: starting {self._models} …")
            try:
                finished = await self._run(launcher, todo, stop)
            finally:
                with stop.finishing():
                    await launcher.close()
                    if own is not self._launchers:
                        await own.close()
            self._stopped = not finished
            if not finished and await asyncio.to_thread(lambda: self._folder.empty):
                raise asyncio.CancelledError
            return finished

    async def _run(self, launcher: Launcher, todo: Sequence[Work], stop: Stopper) -> bool:
        facts = await launcher.start()
        recording.begin(self._folder, self._resolved, facts, self._identified, launcher.canaries())
        self._view.begin(self._resolved.title, self._tally)
        recorder = recording.Recorder(
            self._folder, self._resolved, self._judges, self._view, self._tally
        )
        ordered = near_each_other(todo)
        try:
            resumed = bool(self._folder.done)
            return await stop.finishes(launcher.run(ordered, recorder.record, resumed=resumed))
        finally:
            self._view.end(self._tally)
            recorder.close(launcher)

    async def finish(self) -> RunResult:
        """Judge samples without a verdict, then write parquet files, metrics and leaderboard rows.

        With samples missing, the run is reported as incomplete.

        Raises:
            UserError: A failed write, or a judge that cannot be used.
        """
        with listening() as stop, stop.finishing():
            folder, resolved = self._folder, self._resolved
            judging = judge_missing(folder, self._judges, resolved.samples)
            if self._stopped:
                judging.close()
            else:
                self._stopped = not await stop.finishes(judging)
            rows = await asyncio.to_thread(
                folder.finish,
                resolved.cells,
                scorer=self._headlines,
                data=None if self._sample_set else resolved.data_record(),
            )
            if self._sample_set is None or self._sample_set.judged:
                await asyncio.to_thread(update_leaderboard, self.spec.out, rows)
            return RunResult(
                folder.run_id,
                folder.path,
                tuple(rows),
                self._tally.done,
                self._stopped,
                folder.noted("accounting") if self._ran else None,
                self._identified.notice,
            )

    def prediction(self, sample_id: str, repeat: int = 0) -> Prediction:
        """Return the recorded prediction of a sample.

        Raises:
            KeyError: The sample has no prediction yet.
        """
        row, _ = self._folder.outcome((sample_id, repeat))
        return prediction_from_row(row)

    async def close(self) -> None:
        """Close the run's folder, the judges and the session's own engines; safe to call twice."""
        with listening() as stop, stop.finishing("closing"):
            await self._stack.aclose()

    def _make_judges(self, resolved: Resolved) -> list[Judge]:
        if self._sample_set is not None and not self._sample_set.judged:
            return []
        return list(make_judges(self.spec.judge_params, resolved.samples, resolved.scorer))

    def _headline_scorers(self, resolved: Resolved) -> str | Mapping[str, str]:
        if self._sample_set is not None and not self._sample_set.judged:
            return resolved.scorer
        return headline_scorers(resolved.samples, resolved.scorer, self._judges)


async def run(
    spec: RunSpec | Options,
    engines: EngineSet | None = None,
    view: ProgressView | None = None,
    launchers: Launchers | None = None,
    samples: SampleSet | None = None,
) -> RunResult:
    """Open a session, run the missing samples, and finish. See `AsyncSession`."""
    with listening() as stop, stop.starting():
        async with AsyncSession(
            spec, samples, progress=view, engines=engines, launchers=launchers
        ) as session:
            await session.run()
            return await session.finish()


def one_spec(spec: RunSpec | Options) -> RunSpec:
    """Return the single run of options.

    Raises:
        UserError: The options name several runs.
    """
    if isinstance(spec, RunSpec):
        return spec
    specs: Iterable[RunSpec] = specs_of(spec)
    first, *others = specs
    if others:
        names = ", ".join(f"{one.mode} on {one.task}" for one in (first, *others))
        raise UserError(f"a session is one run, and these options name several: {names}")
    return first


async def _identity(resolved: Resolved, used: Mapping[str, Engine]) -> RunIdentity:
    spec = resolved.spec
    return RunIdentity(
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


def _labels(resolved: Resolved, identified: Identified) -> RunLabels:
    prints: dict[str, Any] = {role: one.record() for role, one in identified.prints.items()}
    return RunLabels(
        models={role: choice.model for role, choice in resolved.choices.items()},
        profile=resolved.profile.name,
        profile_text=json.dumps(resolved.profile.identity, indent=1, ensure_ascii=False),
        fingerprints=prints,
    )
