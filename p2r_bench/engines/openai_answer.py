"""Conversion of a chat completions server's answer to a completion or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.engines.completions import checked, finish_word
from p2r_bench.errors import EngineError
from p2r_bench.http.retries import RETRIED
from p2r_bench.types import Completion, changed

OTHER_MODEL = "other_model"
"""Kind of the error raised when a reply names another model than the first reply."""


class ReplyModel:
    """The model that a server's replies name.

    Hosted APIs reply with a dated name for an alias, so that the replies are compared with each other and not
    with the requested name.

    Attributes:
        name: The name in the first reply that has one, or None.
    """

    def __init__(self, *, checked: bool) -> None:
        self.name: str | None = None
        self._checked = checked

    def compare(self, answer: Any) -> None:
        """Compare an answer's `model` with that of the first reply.

        Raises:
            EngineError: The names differ.
        """
        name = answer.get("model") if isinstance(answer, Mapping) else None
        if not isinstance(name, str) or not name or not answer.get("choices"):
            return
        self.name = self.name or name
        if self._checked and name != self.name:
            raise EngineError(
                f"a reply names the model {name!r}, the first reply named {self.name!r}; a run must have one model. Request "
                "the dated or full name with --model, or accept both with --engine-arg reply_model=unchecked",
                kind=OTHER_MODEL,
                retryable=False,
            )


def read_completion(answer: Any) -> Completion:
    """Return the completion in a server's answer, with split-off reasoning put back in front.

    Raises:
        EngineError: The answer is cut off or has no text (`completions.checked`), or is no chat completion.
    """
    completion, thought = parse_answer(answer)
    word = finish_word(completion.finish_reason, "the server")
    if thought and completion.text:
        completion = changed(completion, text=f"<think>{thought}</think>{completion.text}")
    elif thought and word == "length":
        completion = changed(completion, text=f"<think>{thought}")  # cut off: never closed
    return checked(completion, "the server")


def parse_answer(answer: Any) -> tuple[Completion, str | None]:
    """Return the completion as the server sent it, unchecked, and the reasoning that the server split off.

    Raises:
        EngineError: The server reports an error or a refusal, or the answer is not the JSON of a chat completion.
    """
    if isinstance(answer, Mapping) and answer.get("error"):
        raise _error_body(answer["error"])
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content, reason = message.get("content"), choice.get("finish_reason")
        failure, refusal = choice.get("error"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _unusable("it has no choices[0].message", answer) from None
    if failure:
        raise _error_body(failure)
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(content, list):
        content, more, held_back = _joined(content, answer)
        thought, refusal = thought or more, refusal or held_back
    if refusal:
        raise EngineError(
            f"the server refused to answer: {refusal}", kind="refused", retryable=False
        )
    if not isinstance(content, str | None):
        raise _unusable("its content is neither text nor a list of parts", answer)
    if not isinstance(reason, str) or not isinstance(thought, str | None):
        raise _unusable("its finish_reason or reasoning is no text", answer)
    usage = answer.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, Mapping) else {}
    completion = Completion(
        text=content or "",
        finish_reason=reason,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        logprobs=_logprobs(choice.get("logprobs")),
    )
    return completion, thought or None


def _logprobs(value: Any) -> tuple[float, ...] | None:
    """Return the log-probabilities of the output's tokens, or None where the server gives none."""
    tokens = value.get("content") if isinstance(value, Mapping) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    try:
        return tuple(float(token["logprob"]) for token in tokens)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None


def _joined(parts: Sequence[Any], answer: Any) -> tuple[str, str, str]:
    """Return the text, reasoning and refusal of a content that comes in parts."""
    texts, thoughts, refusals = [], [], []
    for part in parts:
        match part:
            case {"type": "text" | "output_text", "text": str(text)}:
                texts.append(text)
            case {"type": "thinking", "thinking": list(inner)}:
                thoughts.append(_joined(inner, answer)[0])
            case {"type": "thinking", "thinking": str(text)}:
                thoughts.append(text)
            case {"type": "reasoning", "text": str(text)}:
                thoughts.append(text)
            case {"type": "refusal", "refusal": str(text)}:
                refusals.append(text)
            case _:
                raise _unusable("a part of its content is not text", answer)
    return "".join(texts), "".join(thoughts), "".join(refusals)


def _error_body(error: Any) -> EngineError:
    """Return the error that a server reports under status 200. Its code may be an HTTP status."""
    code = error.get("code") if isinstance(error, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    text = message if isinstance(message, str) else str(error)
    digits = str(code)
    status = int(digits) if len(digits) == 3 and digits.isascii() and digits.isdecimal() else None
    return EngineError(
        f"the server reports an error in its answer: {text[:500]}",
        kind="error_body" if status is None else f"http_{status}",
        retryable=status is None or status in RETRIED,
    )


def _count(value: Any) -> int | None:
    """Return a count of tokens, or None for a value that a run cannot store."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    return value if fits else None


def _unusable(why: str, answer: Any) -> EngineError:
    return EngineError(
        f"the server's answer cannot be used, {why}: {str(answer)[:300]}", kind="bad_response"
    )
