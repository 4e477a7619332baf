"""The frozen model of a stage, in this process, with batches that do not depend on arrival times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from p2r_bench.engines import chat_template
from p2r_bench.errors import EngineError, P2RError
from p2r_bench.types import Completion, Request
from p2r_bench_pra_grpo.backends.embedded.decoding import Batch, Row
from p2r_bench_pra_grpo.backends.embedded.inputs import PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.loading import Loaded, load
from p2r_bench_pra_grpo.backends.embedded.pictures import Pictures

Answer = Completion | P2RError


class LocalModel:
    """Model that answers lists of requests in batches that depend on the list alone.

    The batches of the `transformers` engine depend on arrival times, and so does the rounding of its logits. Here equal
    lists get equal answers, so a resumed training equals an uninterrupted one to the bit.

    Args:
        batch: Requests that are answered together.
    """

    def __init__(self, loaded: Loaded, prompts: PromptBuilder, pictures: Pictures, batch: int):
        self._loaded = loaded
        self._prompts = prompts
        self._pictures = pictures
        self._size = batch

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Return a completion or an error for each request. Equal greedy requests are answered once."""
        first: dict[str, int] = {}
        source = [
            first.setdefault(f"{r.sample_id}:{r.digest}", n) if r.sampling.temperature == 0 else n
            for n, r in enumerate(requests)
        ]
        different = sorted(set(source))
        answers = dict(zip(different, self._answer([requests[n] for n in different]), strict=True))
        return [answers[n] for n in source]

    def _answer(self, requests: Sequence[Request]) -> list[Answer]:
        answers: list[Answer | None] = [None] * len(requests)
        rows: list[tuple[int, Row]] = []
        for number, images in enumerate(self._pictures.of(requests)):
            if isinstance(images, P2RError):
                answers[number] = images
                continue
            try:
                prompt = self._prompts.build(requests[number], images)
            except EngineError as error:
                answers[number] = error
            else:
                rows.append((number, Row(prompt, requests[number].sampling)))
        rows.sort(key=lambda item: len(item[1].prompt.ids))
        for start in range(0, len(rows), self._size):
            self._run([row for _, row in rows[start : start + self._size]])
        for number, row in rows:
            answers[number] = _completion(requests[number], row)
        return [answer for answer in answers if answer is not None]

    def _run(self, rows: Sequence[Row]) -> None:
        loaded = self._loaded
        batch = Batch(
            loaded.model,
            loaded.tokenizer,
            loaded.patches,
            end_ids=loaded.end_ids,
            suppressed_ids=loaded.suppressed_ids,
        )
        batch.add(rows)
        while batch.rows:
            batch.step()


def open_model(folder: Path, *, device: str, dtype: str) -> tuple[Loaded, PromptBuilder]:
    """Load a model folder, and return the model and its prompt builder.

    Raises:
        UserError: The model cannot be loaded.
    """
    loaded = load(folder, device=device, dtype=dtype)
    template = chat_template(folder, loaded.tokenizer)
    model = loaded.model
    return loaded, PromptBuilder(
        loaded.tokenizer, template, model.base_model, loaded.patches, loaded.context
    )


def _completion(request: Request, row: Row) -> Answer:
    if row.finish == "nan":
        return EngineError(
            f"{request.id}: the frozen model's outputs are not numbers", kind="nan", retryable=False
        )
    return Completion(
        text=row.text,
        finish_reason=row.finish or "stop",
        prompt_tokens=len(row.prompt.ids),
        cached_tokens=0,
        output_tokens=len(row.output),
        visual_tokens=row.prompt.visual_tokens,
        engine={"engine": "embedded"},
        request=request,
    )


class Gathered:
    """An `ask` for concurrent callers. Once all callers wait, their requests are answered as one list.

    Args:
        callers: Number of callers; each calls `leave()` when it has asked its last request.
        answer: Answers a list of requests, in the callers' order.
    """

    def __init__(self, callers: int, answer: Callable[[Sequence[Request]], Sequence[Answer]]):
        self._callers = callers
        self._answer = answer
        self._waiting: list[tuple[Request, asyncio.Future[Completion]]] = []

    async def ask(self, request: Request) -> Completion:
        """See `types.Ask`."""
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._answer_if_all_wait()
        return await future

    def leave(self) -> None:
        """Record that one caller has asked its last request."""
        self._callers -= 1
        self._answer_if_all_wait()

    def _answer_if_all_wait(self) -> None:
        if not self._waiting or len(self._waiting) < self._callers:
            return
        waiting, self._waiting = self._waiting, []
        answers = self._answer([request for request, _ in waiting])
        for (_, future), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, P2RError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
