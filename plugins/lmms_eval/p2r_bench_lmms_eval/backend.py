"""The engine `lmms-eval`: any chat model of lmms-eval runs the requests of a mode."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from PIL import Image

from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Capabilities, Completion, EngineConfig, Request, digest_of

_TASK, _SPLIT = "p2r-bench", "requests"
_HONOURED = frozenset({"temperature", "top_p", "max_tokens", "stop"})
_BATCH = 8

Waiting = tuple[Request, Sequence[Image.Image], "asyncio.Future[Completion]"]


class BackendEngine:
    """Engine that sends waiting requests in batches to `generate_until` of a chat model of lmms-eval.

    The engine's arguments are those of the model, and `batch_size`. Seeds and repetition penalties are not passed on; a
    profile with a penalty is refused. The model's own processor decides the last resize of an image. p2r-bench cannot
    check it, and records this. An empty text is an error, since some models return one after a failure.

    Raises:
        UserError: lmms-eval has no such chat model.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._args = dict(config.args)
        self._batch = int(self._args.pop("batch_size", _BATCH))
        self._model: Any = None
        self._waiting: list[Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self._asked = 0

    async def identify(self) -> str:
        """Return the model's name and arguments: its weights are not accessible."""
        return digest_of([self._config.model, self._config.revision, sorted(self._args.items())])

    async def start(self) -> None:
        """Create the model. Raises UserError when lmms-eval cannot create it."""
        self._model = await asyncio.to_thread(self._make)

    def capabilities(self) -> Capabilities:
        """See `Engine.capabilities`."""
        return Capabilities(
            sampling=_HONOURED,
            concurrency=self._batch,
            facts={
                "engine": "lmms-eval",
                "version": metadata.version("lmms-eval"),
                "backend": self._config.model,
                "pixels": "resized by the backend's own processor",
            },
        )

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """See `Engine.generate`. Cancelling removes a waiting request; the result of a running one is discarded."""
        if self._model is None:
            raise EngineError("the engine is not running", kind="closed")
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, images, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._worker is not None:
            await asyncio.wait([self._worker])
        if self._model is not None:
            model, self._model = self._model, None
            await asyncio.to_thread(model.clean)

    def _make(self) -> Any:
        from lmms_eval.models import get_model

        name = self._config.model
        try:
            kind = get_model(name)
            if kind.is_simple:
                raise UserError(f"backend {name!r} is no chat model of lmms-eval")
            text = ",".join(f"{key}={value}" for key, value in self._args.items())
            return kind.create_from_arg_string(text, {"batch_size": self._batch})
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"lmms-eval cannot make its model {name!r}: {type(error).__name__}: {error}"
            ) from error

    async def _work(self) -> None:
        await asyncio.sleep(0)  # what was asked in the same turn of the loop goes into one batch
        while self._waiting:
            batch = [w for w in self._waiting[: self._batch] if not w[2].cancelled()]
            del self._waiting[: self._batch]
            if not batch:
                continue
            try:
                completions = await asyncio.to_thread(self._generate, batch)
            except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
                for _, _, answer in batch:
                    if not answer.done():
                        answer.set_exception(_engine_error(error))
                continue
            for (_, _, answer), completion in zip(batch, completions, strict=True):
                if not answer.done():
                    if isinstance(completion, EngineError):
                        answer.set_exception(completion)
                    else:
                        answer.set_result(completion)

    def _generate(self, batch: Sequence[Waiting]) -> list[Completion | EngineError]:
        from lmms_eval.api.instance import Instance, unwrap_generation_output

        documents: dict[int, dict[str, Any]] = {}
        instances = []
        for request, images, _ in batch:
            self._asked += 1
            documents[self._asked] = {"messages": _messages(request, images)}
            instances.append(
                Instance(
                    request_type="generate_until",
                    arguments=(
                        "",
                        _messages_of,
                        _settings(request),
                        self._asked,
                        _TASK,
                        _SPLIT,
                    ),
                    idx=0,
                    metadata={"task": _TASK, "doc_id": self._asked, "repeats": 1},
                )
            )
        self._model.task_dict = {_TASK: {_SPLIT: documents}}
        outputs = self._model.generate_until(instances)
        if len(outputs) != len(batch):
            raise EngineError(f"{len(outputs)} answers to {len(batch)} requests", kind="backend")
        return [
            _completion(request, *unwrap_generation_output(output))
            for (request, _, _), output in zip(batch, outputs, strict=True)
        ]


def _messages_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = document["messages"]
    return messages


def _messages(request: Request, images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    left = iter(images)
    return [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "url": next(left)}
                for part in message.content
            ],
        }
        for message in request.messages
    ]


def _settings(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "max_new_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "do_sample": sampling.temperature > 0,
        "num_beams": 1,
        "until": list(sampling.stop),
    }


def _completion(request: Request, text: Any, counts: Any) -> Completion | EngineError:
    if not isinstance(text, str) or not text.strip():
        return EngineError("the backend gave no text", kind="empty")
    output = getattr(counts, "output_tokens", None)
    cut = output is not None and output >= request.sampling.max_tokens
    return Completion(
        text=text,
        finish_reason="length" if cut else "unknown",
        prompt_tokens=getattr(counts, "input_tokens", None),
        output_tokens=output,
    )


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    return EngineError(f"{type(error).__name__}: {error}", kind="backend")
