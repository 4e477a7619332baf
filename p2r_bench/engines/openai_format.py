"""Requests and completions as the JSON of the chat completions API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.engines.chat import chat_messages
from p2r_bench.engines.http_body import Body
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Request

# Stands in for an image's data while the JSON is written: megabytes of base64 need no escaping.
_STAND_IN = f"image-{uuid.uuid4().hex}-"

EXTRA_FIELDS = frozenset({"repetition_penalty", "top_k", "min_p"})
"""Sampling fields that vLLM, SGLang and others have and the standard has not."""


def chat_body(model: str, request: Request, urls: Sequence[bytes], *, extra: bool) -> Body:
    """The body of a request: every sampling field is in it, so that no default of the server decides.

    Args:
        urls: Data URL of each image, in order.
        extra: Whether the server knows `EXTRA_FIELDS`.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(
            request,
            lambda index: {"type": "image_url", "image_url": {"url": f"{_STAND_IN}{index}."}},
        ),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "n": 1,
        "stream": False,
    }
    if extra:
        body |= {
            "repetition_penalty": sampling.repetition_penalty,
            "top_k": sampling.top_k or -1,  # the only "off" that all of these servers know
            "min_p": sampling.min_p,
        }
    if request.schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    parts: list[bytes] = []
    rest = json.dumps(body).encode()
    for index, url in enumerate(urls):
        before, _, rest = rest.partition(f"{_STAND_IN}{index}.".encode())
        parts += [before, url]
    return Body([*parts, rest])


def read_completion(answer: Any) -> Completion:
    """The completion in a server's answer; reasoning that the server split off is put back in front.

    Raises:
        EngineError: There is no text, or the model refused; never an empty answer in its place.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content, reason = message.get("content"), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _unusable("it has no choices[0].message", answer) from None
    if message.get("refusal") or reason == "content_filter":
        raise EngineError(
            f"the server refused to answer: {message.get('refusal') or reason}",
            kind="refused",
            retryable=False,
        )
    thought = message.get("reasoning_content") or message.get("reasoning")
    if (content is None and not thought) or not isinstance(content, str | None):
        raise _unusable("it has no text", answer)
    if not isinstance(reason, str) or not isinstance(thought, str | None):
        raise _unusable("its finish_reason or reasoning is no text", answer)
    text = content or ""
    if thought:
        # Cut off while thinking: the tag was never closed.
        closed = content is not None or reason != "length"
        text = f"<think>{thought}</think>{text}" if closed else f"<think>{thought}"
    usage = answer.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    return Completion(
        text=text,
        finish_reason=reason,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens"))
        if isinstance(details, Mapping)
        else None,
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _unusable(why: str, answer: Any) -> EngineError:
    return EngineError(
        f"the server's answer cannot be used, {why}: {str(answer)[:300]}", kind="bad_response"
    )
