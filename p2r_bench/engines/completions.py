"""The rule for which completions are answers: they came to an end by themselves or at the cap, and hold text."""

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
"""Finish reasons, in lower case, of a whole answer or one that was cut at the cap, and the standard word for each."""

REFUSED = frozenset({"content_filter", "safety", "refusal", "recitation", "prohibited_content"})
"""Finish reasons of an answer that the server held back."""

ABORTED = frozenset({"abort", "aborted", "cancelled", "canceled", "error"})
"""Finish reasons of an answer that the server broke off."""


def finish_word(reason: object, where: str) -> str:
    """The standard word, "stop", "length" or "unknown", for an engine's finish reason.

    Args:
        where: Start of error messages: who was asked, or what.

    Raises:
        EngineError: The answer was "refused" (held back by a filter), "aborted" (broken off) or is "unfinished"
            (ended for another reason, such as a call of a tool).
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
"""Engine fact of a completion whose only token is the model's end token: its answer is empty, and no failure."""


def checked(completion: Completion, where: str) -> Completion:
    """Return the completion with the standard word for its finish reason.

    Raises:
        EngineError: See `finish_word`; or it has no text ("empty"), unless `SAID_NOTHING` is among its engine facts.
    """
    word = finish_word(completion.finish_reason, where)
    if not completion.text.strip() and not completion.engine.get(SAID_NOTHING):
        count = completion.output_tokens
        tokens = "" if count is None else f" after {count} token{'s' * (count != 1)}"
        raise EngineError(
            f"{where}: the answer has no text (finish_reason {word!r}{tokens}). Tokens that are not shown, as of "
            "a hidden thought, count for max_tokens of the profile; a server's reasoning parser may take the "
            "answer for a thought",
            kind="empty",
        )
    if word == completion.finish_reason:
        return completion
    return changed(completion, finish_reason=word)


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """Return the text up to the first stop string, which is left out; the same text without one."""
    cuts = [at for string in stop if (at := text.find(string)) >= 0]
    return text[: min(cuts)] if cuts else text
