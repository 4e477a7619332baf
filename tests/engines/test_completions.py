"""Completions of every engine: an answer, or an error."""

from __future__ import annotations

import pytest

from p2r_bench.engines.completions import checked
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion

ENDED = [
    ("stop", "stop"),
    ("length", "length"),
    ("unknown", "unknown"),
    ("eos", "stop"),
    ("eos_token", "stop"),
    ("stop_sequence", "stop"),
    ("end_turn", "stop"),
    ("STOP", "stop"),
    ("COMPLETE", "stop"),
    ("max_tokens", "length"),
    ("MAX_TOKENS", "length"),
    ("model_length", "length"),
]
NOT_ENDED = [
    ("abort", "aborted"),
    ("error", "aborted"),
    ("cancelled", "aborted"),
    ("content_filter", "refused"),
    ("SAFETY", "refused"),
    ("tool_calls", "unfinished"),
    ("function_call", "unfinished"),
    ("load", "unfinished"),
    ("", "unfinished"),
    (None, "unfinished"),
    (3, "unfinished"),
]


@pytest.mark.parametrize(("reason", "word"), ENDED)
def test_an_answer_that_ended_has_the_standard_word(reason: str, word: str) -> None:
    assert checked(Completion("B", reason), "it") == Completion("B", word)


@pytest.mark.parametrize(("reason", "kind"), NOT_ENDED)
def test_an_answer_that_did_not_end_is_an_error(reason: object, kind: str) -> None:
    with pytest.raises(EngineError, match="it: ") as caught:
        checked(Completion("B", reason), "it")  # type: ignore[arg-type]
    assert caught.value.kind == kind
    assert caught.value.retryable is (kind != "refused")


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_an_answer_without_text_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(EngineError, match="after 3 tokens") as caught:
        checked(Completion(text, reason, output_tokens=3), "it")
    assert (caught.value.kind, caught.value.retryable) == ("empty", True)
