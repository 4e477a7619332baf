"""New verdicts for a stored run, without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.judges.headline import DEFAULT_SCORER, headline_scorers
from p2r_bench.judges.select import Params, applicable, close_judges, make_judges
from p2r_bench.judges.verdicts import verdict_of
from p2r_bench.store.leaderboard import update_leaderboard
from p2r_bench.store.rows import prediction_from_row, sample_from_row, verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Judge, Sample

_IN_FLIGHT = 256


@dataclass(frozen=True)
class Rejudged:
    """Result of judging a stored run again.

    Attributes:
        path: The run's folder.
        judged: New verdicts; `errors` of them have status "error".
        kept: Earlier verdicts by the same version and parameters of their scorer.
        metrics: The run's metric rows, with the leaderboard's columns.
    """

    path: Path
    judged: int
    errors: int
    kept: int
    metrics: Sequence[Mapping[str, Any]]


def rejudge(path: Path, *, scorer: str | None = None, params: Params | None = None) -> Rejudged:
    """Add missing verdicts to a stored run, and update its metrics and the leaderboard.

    Every registered scorer that applies judges every answer. Verdicts with status "ok" that were made
    by the same version and parameters stay; others are replaced. May be interrupted and called again.

    Args:
        path: The run's folder.
        scorer: Headline scorer of choice questions; None keeps the run's.
        params: Keyword arguments of judges, by scorer.

    Raises:
        UserError: No run folder, a damaged one, or one that another process has open; or an error of `make_judges`.
    """
    with RunFolder.open_to_score(path) as folder:
        chosen = scorer or _headline(folder)
        samples = list(
            {row["sample_id"]: sample_from_row(row) for row, _ in folder.outcomes()}.values()
        )
        judges = make_judges(params or {}, samples, chosen)
        judged, errors, kept = asyncio.run(_judge_and_close(folder, judges, samples))
        headlines = headline_scorers(samples, chosen, judges)
        metrics = folder.finish(scorer=headlines or chosen)
        if path.resolve().parent.name == "runs":
            update_leaderboard(path.resolve().parent.parent, metrics)
        return Rejudged(path, judged, errors, kept, metrics)


def _headline(folder: RunFolder) -> str:
    finished = folder.manifest.content["finished"]
    before = finished["scorer"] if finished else DEFAULT_SCORER
    return before if isinstance(before, str) else str(before.get("choice", DEFAULT_SCORER))


async def _judge_and_close(
    folder: RunFolder, judges: Sequence[Judge], samples: Iterable[Sample]
) -> tuple[int, int, int]:
    try:
        return await judge_missing(folder, judges, samples)
    finally:
        await close_judges(judges)


async def judge_missing(
    folder: RunFolder, judges: Sequence[Judge], samples: Iterable[Sample]
) -> tuple[int, int, int]:
    """Judge samples without a verdict. Return the numbers of new verdicts, of errors among them, and of kept ones.

    Args:
        samples: Candidates. Only the rows of those without a verdict are read.
    """
    judged = errors = kept = 0
    places = asyncio.Semaphore(_IN_FLIGHT)

    async def judge(key: tuple[str, int], missing: Sequence[Judge]) -> None:
        nonlocal judged, errors
        try:
            row, _ = folder.outcome(key)
            sample, prediction = sample_from_row(row), prediction_from_row(row)
            verdicts = await asyncio.gather(*(verdict_of(j, sample, prediction) for j in missing))
            rows = [verdict_row(v, index=row["index"], repeat=key[1]) for v in verdicts]
            await folder.record_verdicts(key, rows)
            judged += len(verdicts)
            errors += sum(verdict.status == "error" for verdict in verdicts)
        finally:
            places.release()

    try:
        async with asyncio.TaskGroup() as group:
            for sample in samples:
                fitting = applicable(judges, sample)
                for key in ((sample.id, repeat) for repeat in range(folder.manifest.repeats)):
                    if folder.status(key) != "ok":
                        continue
                    has = folder.judged(key)
                    missing = [
                        j for j in fitting if has.get(j.scorer) != (j.version, j.params_hash)
                    ]
                    kept += len(fitting) - len(missing)
                    if missing:
                        await places.acquire()
                        group.create_task(judge(key, missing))
    except* UserError as failed:
        raise failed.exceptions[0] from None
    return judged, errors, kept
