"""Texts of the frozen perceiver, made once per image, question, checkpoint and profile, then stored and replayed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.errors import EngineError, ImageError, UserError
from p2r_bench.types import Ask, Completion, Request, Sample

MOST_LEFT_OUT = 0.05
"""Largest share of samples that the perceiver may refuse; with more, a stage does not begin."""

_TRIES = 2


@dataclass(frozen=True)
class _Key:
    checkpoint: str
    profile: str


class BoxStore:
    """File of JSON lines. A line that a crash left unfinished is made again.

    Args:
        checkpoint: Digest of the perceiver's weights; the file's texts of another checkpoint are ignored.
        profile: Profile of the texts; the file's texts under another profile hash are ignored.
    """

    def __init__(self, path: Path, checkpoint: str, profile: Profile) -> None:
        self.path = path
        self._key = _Key(checkpoint, profile.hash)
        self._two = TwoStage(profile)
        self._texts = self._read()

    def __contains__(self, sample: Sample) -> bool:
        return self._two.perceive_request(sample).digest in self._texts

    def completion(self, sample: Sample) -> Completion:
        """Return the perceiver's completion for a sample.

        Raises:
            KeyError: The file has no completion for the sample.
        """
        return self.answer(self._two.perceive_request(sample))

    def answer(self, request: Request) -> Completion:
        """Return the perceiver's completion for a request.

        Raises:
            KeyError: The file has no completion for the request.
        """
        request = _unseeded(request)
        stored = self._texts[request.digest]
        return Completion(
            text=stored["text"],
            finish_reason=stored["finish_reason"],
            output_tokens=stored["output_tokens"],
            engine={"engine": "stored boxes", "checkpoint": self._key.checkpoint},
            request=request,
        )

    async def fill(self, samples: Sequence[Sample], ask: Ask, places: int) -> list[str]:
        """Ask for the missing texts, `concurrency` at a time.

        Returns:
            A line "ID: cause" for each sample without boxes.

        Raises:
            ServiceDown: The perceiver does not answer any more; finished texts are kept.
            UserError: More than 5 % of the samples have none.
        """
        missing = {self._two.perceive_request(s).digest: s for s in samples if s not in self}
        refused: dict[str, str] = {}
        for _ in range(_TRIES):
            todo = [(d, s) for d, s in missing.items() if d not in self._texts]
            if not todo:
                break
            refused = {}
            await self._ask_all([s for _, s in todo], ask, places, refused)
        if len(refused) > MOST_LEFT_OUT * len(samples):
            name, cause = next(iter(refused.items()))
            raise UserError(
                f"the frozen perceiver has no boxes for {len(refused)} of {len(samples)} samples, the first {name}: "
                f"{cause}. Correct the cause and run the same command again; what was made is kept in {self.path}"
            )
        return [f"{name}: {cause}" for name, cause in refused.items()]

    async def _ask_all(
        self, samples: Sequence[Sample], ask: Ask, places: int, refused: dict[str, str]
    ) -> None:
        free = asyncio.Semaphore(places)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._mend()
        with self.path.open("a", encoding="utf-8") as file:

            async def one(sample: Sample) -> None:
                async with free:
                    request = self._two.perceive_request(sample)
                    try:
                        completion = await ask(request)
                    except (EngineError, ImageError) as error:
                        refused[sample.id] = str(error)
                        return
                record = self._record(sample, request, completion)
                file.write(json.dumps(record, ensure_ascii=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
                self._texts[request.digest] = record

            try:
                async with asyncio.TaskGroup() as group:
                    for sample in samples:
                        group.create_task(one(sample))
            except BaseExceptionGroup as errors:
                raise first_of(errors) from None

    def _record(self, sample: Sample, request: Request, completion: Completion) -> dict[str, Any]:
        return {
            "request": request.digest,
            "sample_id": sample.id,
            "image": sample.image.digest,
            "question": sample.question,
            "checkpoint": self._key.checkpoint,
            "profile": self._key.profile,
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "output_tokens": completion.output_tokens,
        }

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self.path.is_file():
            return {}
        texts: dict[str, dict[str, Any]] = {}
        for line in self.path.read_text("utf-8", errors="replace").split("\n"):
            try:
                record = json.loads(line)
                key = _Key(record["checkpoint"], record["profile"])
                if key == self._key and isinstance(record["text"], str):
                    texts[record["request"]] = record
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written when the process died
        return texts

    def _mend(self) -> None:
        """Add a line end to an unfinished last line, so that the next record has its own line."""
        if self.path.is_file() and (data := self.path.read_bytes()) and not data.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")


class StoredBoxes:
    """Frozen perceiver of a reasoner's stage: replays its stored texts."""

    def __init__(self, store: BoxStore) -> None:
        self._store = store
        self.at: Mapping[str, Any] | None = {
            "boxes": str(store.path.resolve()),
            "checkpoint": store._key.checkpoint,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def ask(self, request: Request) -> Completion:
        """See `Frozen.ask`."""
        try:
            return self._store.answer(request)
        except KeyError:
            raise EngineError(
                f"sample {request.sample_id}: no stored boxes", kind="no_boxes", retryable=False
            ) from None


def _unseeded(request: Request) -> Request:
    if request.sampling.seed is None:
        return request
    return replace(request, sampling=replace(request.sampling, seed=None))


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first single error of a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
