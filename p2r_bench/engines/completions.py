"""Check that a completion is an answer: it ended by itself or at the token cap, and has text."""

from __future__ import annotations

from collections.abc import Sequence

from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, changed

FINISHED = {
    # The standard's words; "unknown" is the word of an engine that does not know the reason.
    "stop": "stop",
    "length": "length",
    "unknown": "unknown",
    # Text Generation Inference, Together, llama.cpp: the end token, or a stop string.
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    # Anthropic, Gemini, Cohere behind a compatible interface.
    "end_turn": "stop",
    "complete": "stop",
    "max_tokens": "length",
    # Mistral: the end of the context.
    "model_length": "length",
}
"""Finish reason, in lower case, of an answer that ended by itself or at the token cap, to its standard word."""

REFUSED = frozenset({"content_filter", "safety", "refusal", "recitation", "prohibited_content"})
"""Finish reasons of an answer that the server held back."""

ABORTED = frozenset({"abort", "aborted", "cancelled", "canceled", "error"})
"""Finish reasons of an answer that the server broke off."""


def finish_word(reason: object, where: str) -> str:
    """Return the standard word for an engine's finish reason: "stop", "length" or "unknown".

    Args:
        where: Start of error messages, such as a server's URL or a request's id.

    Raises:
        EngineError: The error's kind is "refused" (a filter held the answer back), "aborted" (the answer was broken
            off) or "unfinished" (it ended for another reason, such as a tool call).
    """
    word = reason.lower() if isinstance(reason, str) else ""
    if word in FINISHED:
        return FINISHED[word]
    reported = f"finish_reason {reason!r}"
    if word in REFUSED:
        raise EngineError(
            f"{where}: the answer was held back ({reported})", kind="refused", retryable=False
        )
    if word in ABORTED:
        raise EngineError(f"{where}: the answer was broken off ({reported})", kind="aborted")
    raise EngineError(
        f"{where}: the answer did not end by itself or at the token cap ({reported})",
        kind="unfinished",
    )


SAID_NOTHING = "said_nothing"
"""Engine fact of a completion whose only token is the end token: an empty answer, not a failure."""


def checked(completion: Completion, where: str) -> Completion:
    """Return the completion with the standard word for its finish reason.

    Raises:
        EngineError: As `finish_word`; or the completion has no text (kind "empty") and no engine fact `SAID_NOTHING`.
    """
    word = finish_word(completion.finish_reason, where)
    if not completion.text.strip() and not completion.engine.get(SAID_NOTHING):
        count = completion.output_tokens
        tokens = "" if count is None else f" after {count} token{'s' * (count != 1)}"
        raise EngineError(
            f"{where}: the answer has no text (finish_reason {word!r}{tokens}). Hidden tokens, such as a "
            "thought's, count towards the profile's max_tokens. A server's reasoning parser may also have taken the "
            "answer for a thought",
            kind="empty",
        )
    if word == completion.finish_reason:
        return completion
    return changed(completion, finish_reason=word)


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """Return the text before the first stop string, or the whole text if it has none."""
    cuts = [at for string in stop if (at := text.find(string)) >= 0]
    return text[: min(cuts)] if cuts else text
