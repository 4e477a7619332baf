"""One run: resolve what was asked for, do what is missing, write what there is."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from p2r_bench.judges.select import close_judges, headline_scorer, headline_scorers, make_judges
from p2r_bench.redaction import redacted_arguments
from p2r_bench.run import environment
from p2r_bench.run.accounting import Ledger, judge_seconds
from p2r_bench.run.canaries import Policy
from p2r_bench.run.collector import seldom_collecting
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.feed import Work
from p2r_bench.run.launcher import EngineFacts, Launcher
from p2r_bench.run.launchers import Launchers
from p2r_bench.run.order import near_each_other
from p2r_bench.run.pipeline import Outcome
from p2r_bench.run.progress import ProgressView, Silent, Tally
from p2r_bench.run.rejudge import judge_missing
from p2r_bench.run.resolve import Resolved, resolve
from p2r_bench.run.served import Identified, identify, vouched_for
from p2r_bench.run.signals import Stopper, listening
from p2r_bench.run.spec import EngineChoice, RunSpec, Schedule
from p2r_bench.store.identity import RunIdentity, RunLabels, Session
from p2r_bench.store.leaderboard import update_leaderboard
from p2r_bench.store.rows import now, sample_row, verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Judge

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    Attributes:
        path: The run's folder.
        metrics: Metric rows, with the leaderboard's columns.
        added: Samples this call ran; those done before are not among them.
        interrupted: Stopped by a signal before everything was done.
        accounting: What this call has used, as in the manifest; None when there was nothing to do.
        notice: What to know of the served model beside the figures, or None.
    """

    run_id: str
    path: Path
    metrics: tuple[Mapping[str, Any], ...]
    added: int = 0
    interrupted: bool = False
    accounting: Mapping[str, Any] | None = None
    notice: str | None = None

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


async def run(
    spec: RunSpec,
    engines: EngineSet,
    view: ProgressView | None = None,
    launchers: Launchers | None = None,
) -> RunResult:
    """Do what is missing of a run, then write its parquet files and its leaderboard rows.

    SIGINT and SIGTERM stop it cleanly: what is done stays, and the same call goes on from there.

    Args:
        launchers: Keep replicas for the next run; closed by the caller. None: they are of this run alone.

    Raises:
        UserError: Something the user can put right; nothing recorded is lost.
        asyncio.CancelledError: A signal came before the first sample was begun.
    """
    with listening() as stop, stop.starting():
        return await _run(spec, engines, view or Silent(), launchers, stop)


async def _run(
    spec: RunSpec,
    engines: EngineSet,
    view: ProgressView,
    launchers: Launchers | None,
    stop: Stopper,
) -> RunResult:
    Policy.read(spec.canaries)  # a bad value is refused before anything starts
    view.say(f"{spec.task} · {spec.mode}: reading rows …")
    resolved = resolve(spec)
    judges = make_judges(spec.judge_params, resolved.samples, resolved.scorer)
    headlines = headline_scorers(resolved.samples, resolved.scorer, judges)
    used = {role: engines.get(choice) for role, choice in resolved.choices.items()}
    models = " and ".join(dict.fromkeys(choice.model for choice in resolved.choices.values()))
    view.say(f"{resolved.title}: {len(resolved.samples)} rows; identifying {models} …")
    base = RunIdentity(
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
    identified = await identify(
        base, spec.out, resolved.choices, used, engines, allow_mixed=spec.allow_mixed
    )
    identity = identified.identity
    labels = RunLabels(
        models={role: choice.model for role, choice in resolved.choices.items()},
        profile=resolved.profile.name,
        profile_text=json.dumps(resolved.profile.identity, indent=1, ensure_ascii=False),
        fingerprints={role: one.record() for role, one in identified.prints.items()},
    )
    try:
        with RunFolder.open(spec.out, identity, labels, metrics=resolved.task.metrics) as folder:
            skip = folder.done if spec.retry_errors else folder.done | folder.errors
            work = resolved.work()
            todo = [one for one in work if (one.sample.id, one.repeat) not in skip]
            tally = Tally(len(work), before=len(work) - len(todo))
            finished = True
            if todo and identified.unreachable:
                raise identified.unreachable
            if identified.notice:
                log.warning("%s: %s", folder.run_id, identified.notice)
            if todo:
                vouched = await vouched_for(
                    resolved.choices, used, engines, folder.manifest.sessions
                )
                identified = replace(identified, prints={**identified.prints, **vouched})
                own = launchers or Launchers(engines)
                launcher = await own.of(resolved, identity, judges)
                view.say(f"{resolved.title}: starting {models} …")
                try:
                    finished = await _work(
                        resolved, folder, judges, launcher, todo, view, tally, stop, identified
                    )
                finally:
                    with stop.finishing():
                        await launcher.close()
                        if own is not launchers:
                            await own.close()
            else:
                view.say(f"{resolved.title}: all {len(work)} samples are done")
            if finished:
                finished = await stop.finishes(judge_missing(folder, judges, resolved.samples))
            with stop.finishing():
                rows = await asyncio.to_thread(
                    folder.finish, resolved.cells, scorer=headlines, data=resolved.data_record()
                )
                await asyncio.to_thread(update_leaderboard, spec.out, rows)
            return RunResult(
                folder.run_id,
                folder.path,
                tuple(rows),
                tally.done,
                not finished,
                folder.noted("accounting") if todo else None,
                identified.notice,
            )
    finally:
        with stop.finishing():
            await close_judges(judges)


async def _work(
    resolved: Resolved,
    folder: RunFolder,
    judges: Sequence[Judge],
    launcher: Launcher,
    todo: Sequence[Work],
    view: ProgressView,
    tally: Tally,
    stop: Stopper,
    identified: Identified,
) -> bool:
    """Have the launcher do what is missing, and write it down; False when a signal stopped it."""
    spec = resolved.spec
    facts = dict(await launcher.start())
    for role, digest in identified.known.items():
        facts[role] = {**facts[role], "fingerprint": digest}
    session = session_of(facts, resolved.choices, spec.schedule)
    folder.begin(session, allow_mixed=spec.allow_mixed, expected=resolved.cells)
    folder.note(
        {
            "fingerprints": {role: one.record() for role, one in identified.prints.items()},
            "canaries": launcher.canaries(),
        }
    )
    ledger = Ledger()

    async def record(outcome: Outcome) -> None:
        work, sample, created = outcome.work, outcome.work.sample, now()
        row = sample_row(
            sample,
            outcome.prediction,
            index=work.index,
            repeat=work.repeat,
            cells=resolved.cells[sample.id],
            judge_seconds=judge_seconds(outcome.verdicts),
            total_seconds=outcome.seconds,
            created=created,
        )
        verdicts = [
            verdict_row(v, index=work.index, repeat=work.repeat, created=created)
            for v in outcome.verdicts
        ]
        if not await folder.record(row, verdicts):
            return  # it was done already: a lost replica's sample may come twice
        headline = headline_scorer(sample, resolved.scorer, judges)
        correct = next((v.correct for v in outcome.verdicts if v.scorer == headline), None)
        ledger.add(outcome)
        tally.add(error=row["status"] == "error", correct=correct)
        view.update(tally)

    view.begin(resolved.title, tally)
    begun = time.perf_counter()
    try:
        ordered = todo if spec.schedule == "barrier" else near_each_other(todo)
        with seldom_collecting():
            return await stop.finishes(launcher.run(ordered, record, resumed=bool(folder.done)))
    finally:
        view.end(tally)
        seconds = time.perf_counter() - begun
        folder.note({"accounting": ledger.summary(seconds, launcher.accounting())})


def session_of(
    engines: EngineFacts, choices: Mapping[str, EngineChoice], schedule: Schedule = "pipelined"
) -> Session:
    """What a run records of a session with these engines."""
    return Session(
        pinned={
            "engines": engines,
            "versions": environment.versions(),
            "hardware": environment.hardware(),
        },
        noted={
            "command": environment.command(),
            "git": environment.git_state(),
            "engine_args": {role: redacted_arguments(c.args) for role, c in choices.items()},
            "schedule": schedule,
        },
        engines={role: choice.engine for role, choice in choices.items()},
    )
