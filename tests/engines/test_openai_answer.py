"""Answers that OpenAI-compatible servers give, and their reading."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2r_bench.engines.openai_answer import read_completion
from p2r_bench.errors import EngineError
from tests.engines.local_server import reply

TEXT = {"type": "text", "text": "B"}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_split_off_reasoning_is_put_back(name: str) -> None:
    answer = reply(content="<answer>B</answer>", **{name: "I see."})
    assert read_completion(answer).text == "<think>I see.</think><answer>B</answer>"


@pytest.mark.parametrize("content", [None, ""])
def test_reasoning_that_was_cut_off_stays_open(content: str | None) -> None:
    answer = reply(content=content, reasoning_content="I see", finish_reason="length")
    assert read_completion(answer).text == "<think>I see"
    assert read_completion(answer).finish_reason == "length"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([TEXT], "B"),
        ([{"type": "text", "text": "The answer"}, {"type": "output_text", "text": " is B"}], "The answer is B"),
        ([{"type": "thinking", "thinking": "Red."}, TEXT], "<think>Red.</think>B"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Red."}]}, TEXT], "<think>Red.</think>B"),
    ],
)  # fmt: skip
def test_content_in_parts_is_joined(content: list[Any], text: str) -> None:
    assert read_completion(reply(content=content)).text == text


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, "bad_response"),
        ([], "bad_response"),
        (None, "bad_response"),
        ("text", "bad_response"),
        ({"choices": None}, "bad_response"),
        ({"choices": []}, "bad_response"),
        ({"choices": {}}, "bad_response"),
        ({"choices": "B"}, "bad_response"),
        ({"choices": [None]}, "bad_response"),
        ({"choices": [{}]}, "bad_response"),
        ({"choices": [{"message": None, "finish_reason": "stop"}]}, "bad_response"),
        ({"choices": [{"message": "B", "finish_reason": "stop"}]}, "bad_response"),
        (reply(content=3), "bad_response"),
        (reply(content={"text": "B"}), "bad_response"),
        (reply(content=["a"]), "bad_response"),
        (reply(content=[TEXT, {"type": "image_url", "image_url": {}}]), "bad_response"),
        (reply(content="B", finish_reason=None), "bad_response"),
        (reply(content="B", finish_reason=0), "bad_response"),
        (reply(content="B", reasoning=4), "bad_response"),
        (reply(), "empty"),
        (reply(content=None), "empty"),
        (reply(content=""), "empty"),
        (reply(content="  \n"), "empty"),
        (reply(content=[]), "empty"),
        (reply(content="", finish_reason="length"), "empty"),
        (reply(content=None, reasoning_content="The answer is B."), "empty"),
        (reply(content="B", finish_reason="abort"), "aborted"),
        (reply(content="B", finish_reason="error"), "aborted"),
        (reply(content=None, reasoning="Hm", finish_reason="abort"), "aborted"),
        (reply(content="B", finish_reason="tool_calls"), "unfinished"),
        (reply(content="B", finish_reason="content_filter"), "refused"),
        (reply(content="", finish_reason="content_filter"), "refused"),
        (reply(content=None, refusal="no"), "refused"),
        (reply(content=[{"type": "refusal", "refusal": "no"}]), "refused"),
        ({"error": "overloaded"}, "error_body"),
        ({"error": {"message": "overloaded", "code": "busy"}}, "error_body"),
        ({"error": {"message": "overloaded"}, **reply(content="B")}, "error_body"),
        ({"error": {"message": "slow down", "code": 429}, "choices": None}, "http_429"),
        ({"error": {"message": "bad image", "code": "400"}}, "http_400"),
        ({"choices": [{"error": {"message": "upstream"}, "message": {"content": "B"}}]}, "error_body"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_answer_is_an_error(answer: Any, kind: str) -> None:
    with pytest.raises(EngineError) as caught:
        read_completion(answer)
    assert caught.value.kind == kind
    assert caught.value.retryable is (kind not in ("refused", "http_400"))


def test_an_error_beside_an_answer_may_be_null() -> None:
    assert read_completion({"error": None, **reply(content="B", refusal=None)}).text == "B"


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "usage", "finish_reason", "error", "type", "text"]
                ),
                inner,
            )
        ),
    )
)  # fmt: skip
def test_no_answer_of_a_server_raises_anything_else(answer: Any) -> None:
    for answers in (answer, {"choices": [{"message": answer, "finish_reason": "stop"}]}):
        with contextlib.suppress(EngineError):
            assert read_completion(answers).text.strip()


def test_usage_is_read() -> None:
    answer = reply(content="a") | {
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 8},
        }
    }
    read = read_completion(answer)
    assert (read.prompt_tokens, read.cached_tokens, read.output_tokens) == (10, 8, 2)


@pytest.mark.parametrize(
    "usage",
    [None, [], "3", {"prompt_tokens": "3"}, {"prompt_tokens": True, "prompt_tokens_details": []}],
)
def test_counts_that_are_none_are_unknown(usage: Any) -> None:
    read = read_completion(reply(content="a") | {"usage": usage})
    assert (read.prompt_tokens, read.cached_tokens, read.output_tokens) == (None, None, None)
