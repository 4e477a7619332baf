"""Requests as the JSON of the chat completions API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2r_bench.engines.chat import chat_messages
from p2r_bench.http.body import Body
from p2r_bench.types import Request

# Stands in for an image's data while the JSON is written: megabytes of base64 need no escaping.
_STAND_IN = f"image-{uuid.uuid4().hex}-"

EXTRA_FIELDS = frozenset({"repetition_penalty", "top_k", "min_p"})
"""Sampling fields that vLLM, SGLang and others have and the standard has not."""

OWN_FIELDS = frozenset({"model", "messages", "response_format"})
"""Fields that are always the engine's own."""

STANDARD_FIELDS = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "max_tokens",
        "seed",
        "stop",
        "n",
        "stream",
    }
)
"""Fields of every request unless the user omits them."""


@dataclass(frozen=True)
class Dialect:
    """The form in which one server takes requests.

    Attributes:
        max_tokens_field: Name of the field for the token cap.
        omit: Fields of `STANDARD_FIELDS` and `EXTRA_FIELDS` that are not sent, so that the server's defaults apply.
        extra_body: Further fields of every request.
    """

    max_tokens_field: str = "max_tokens"
    omit: frozenset[str] = frozenset()
    extra_body: Mapping[str, Any] = field(default_factory=dict)


def chat_body(
    model: str,
    request: Request,
    urls: Sequence[bytes],
    *,
    extra: bool,
    dialect: Dialect = Dialect(),
) -> Body:
    """Return the body of a request. Sampling fields are always explicit, so that no default of the server applies.

    Args:
        urls: Data URL of each image, in order.
        extra: True when the server knows `EXTRA_FIELDS`.
    """
    sampling = request.sampling
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "n": 1,
        "stream": False,
    }
    if extra:
        fields |= {
            "repetition_penalty": sampling.repetition_penalty,
            "top_k": sampling.top_k or -1,  # the only "off" that all of these servers know
            "min_p": sampling.min_p,
        }
    fields = {name: value for name, value in fields.items() if name not in dialect.omit}
    if "max_tokens" in fields:
        fields[dialect.max_tokens_field] = fields.pop("max_tokens")
    body: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(
            request,
            lambda index: {"type": "image_url", "image_url": {"url": f"{_STAND_IN}{index}."}},
        ),
        **fields,
        **dialect.extra_body,
    }
    if request.logprobs:
        body["logprobs"] = True
    if request.schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    parts: list[bytes] = []
    rest = json.dumps(body).encode()
    for index, url in enumerate(urls):
        before, _, rest = rest.partition(f"{_STAND_IN}{index}.".encode())
        parts += [before, url]
    return Body([*parts, rest])
