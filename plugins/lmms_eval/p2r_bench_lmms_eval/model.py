"""p2r-bench's modes as lmms-eval chat models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from loguru import logger

from p2r_bench.errors import P2RError, UserError
from p2r_bench.session import make_mode, profile_of, roles_of
from p2r_bench_lmms_eval.documents import Documents
from p2r_bench_lmms_eval.runs import Job, run_jobs
from p2r_bench_lmms_eval.scoring import handed
from p2r_bench_lmms_eval.settings import Settings
from p2r_bench_lmms_eval.tokens import token_counts

DEFAULT_TRACE = Path("results/lmms-eval")
"""Folder of runs without `trace=` and `--output_path`."""

_LISTED = 10


class DocumentsFailed(P2RError):
    """Some documents have no answer because a call failed; no scorer has seen them."""


class P2R(lmms):
    """A mode of p2r-bench behind lmms-eval's interface.

    `--model_args` are described in docs/lmms-eval.md. Every call of the mode, its boxes and its texts are stored in a
    p2r-bench run folder for each task; the same command again reuses them.

    Raises:
        UserError: An unknown argument, or more than one process: engines do their own parallelism.
    """

    is_simple = False
    default_mode = "p2r"
    device = "cpu"

    def __init__(self, **args: Any) -> None:
        super().__init__()
        if int(environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError(
                "--model p2r runs in one process; give its engine more devices instead, as in "
                "engine=openai,base_url=http://localhost:8000/v1"
            )
        self._settings = Settings.read(self.default_mode, args)
        self._profile = profile_of(self._settings.spec)

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Return the answers that the mode extracted, `Z` for none, in the order of the requests.

        Raises:
            DocumentsFailed: A document failed. The others are finished and kept.
            UserError: A document cannot be asked, or the run cannot start.
        """
        places, jobs = _jobs(requests)
        self._tell(requests)
        spec = replace(self._settings.spec, out=self._out(jobs.values()))
        run_jobs(spec, list(jobs.values()))
        for job in jobs.values():
            reused = f", {job.reused} of them from an earlier run" if job.reused else ""
            logger.info(
                f"{job.documents.member}: {len(job.wanted)} documents{reused}; trace: {job.path}"
            )
        _refuse_failures(jobs.values())
        return [_result(jobs[name], key) for name, key in places]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not supported: a mode decides itself how often it calls the model."""
        raise NotImplementedError("--model p2r answers generate_until tasks only")

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not supported: a two-stage answer has no likelihood."""
        raise NotImplementedError("--model p2r answers generate_until tasks only")

    def _out(self, jobs: Iterable[Job]) -> Path:
        if self._settings.trace is not None:
            return self._settings.trace
        for job in jobs:
            path = getattr(getattr(job.documents.task, "args", None), "output_path", None)
            if path:
                return Path(path) / "p2r-bench"
        return DEFAULT_TRACE

    def _tell(self, requests: Sequence[Instance]) -> None:
        """Warn once per task of generation settings that do not apply."""
        sampling = self._profile.sampling
        roles = roles_of(make_mode(self._settings.spec))
        caps = ", ".join(f"{role} {sampling.for_role(role).max_tokens}" for role in roles)
        asked: dict[str, Mapping[str, Any]] = {}
        for request in requests:
            asked.setdefault(request.args[4], request.args[2])
        for task, settings in asked.items():
            cap = settings.get("max_new_tokens")
            short = cap is not None and any(cap < sampling.for_role(r).max_tokens for r in roles)
            text = f"its cap of {cap} tokens, which would cut answers short, and " if short else ""
            logger.info(
                f"{task}: {text}its sampling settings are replaced by those of profile "
                f"{self._profile.name!r} (tokens: {caps})"
            )


class P2RDefault(P2R):
    """The mode `default`: one call that asks for the bare answer."""

    default_mode = "default"


class P2RThinking(P2R):
    """The mode `thinking`: one call that reasons first."""

    default_mode = "thinking"


def _jobs(requests: Sequence[Instance]) -> tuple[list[tuple[str, tuple[int, int]]], dict[str, Job]]:
    """Return the task and key of every request, and a job for every task."""
    times: Counter[tuple[str, int]] = Counter()
    places: list[tuple[str, tuple[int, int]]] = []
    documents: dict[str, Documents] = {}
    for request in requests:
        _, to_messages, _, doc_id, name, _ = request.args
        task = getattr(to_messages, "__self__", None)
        if task is None:
            raise UserError(f"{name}: lmms-eval's request does not name its task")
        if name not in documents:
            documents[name] = Documents(task, name)
        places.append((name, (doc_id, times[name, doc_id])))
        times[name, doc_id] += 1
    wanted: dict[str, list[tuple[int, int]]] = {}
    for name, key in places:
        wanted.setdefault(name, []).append(key)
    return places, {name: Job(documents[name], keys) for name, keys in wanted.items()}


def _refuse_failures(jobs: Iterable[Job]) -> None:
    lines = []
    for job in jobs:
        for (doc_id, repeat), prediction in job.predictions.items():
            if prediction.status != "ok":
                cause = prediction.error
                reason = (
                    f"{cause.type}: {cause.message}" if cause else "the mode does not apply to it"
                )
                again = f" (repeat {repeat})" if repeat else ""
                lines.append(f"{job.documents.member}, document {doc_id}{again}: {reason}")
    if lines:
        more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        raise DocumentsFailed(
            f"{len(lines)} documents have no outcome, so no results are reported; the others are kept, and the "
            "same command runs these again:\n" + "\n".join([*lines[:_LISTED], *more])
        )


def _result(job: Job, key: tuple[int, int]) -> GenerationResult:
    prediction = job.predictions[key]
    text = handed(job.documents.task, job.samples[key[0]], prediction.answer)
    return GenerationResult(text, TokenCounts(**token_counts(prediction)))
