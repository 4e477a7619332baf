"""The model of a GPU's time: it agrees with the published table, and batches as an engine does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gpu import Batcher, Gpu, Part, Running

PUBLISHED_STEPS = [
    # sequences, tokens of context each, prompt tokens in the step, milliseconds (itl_median_ms; p95 in the last)
    (1, 192, 0, 6.83),
    (64, 192, 0, 8.15),
    (256, 192, 0, 12.83),
    (16, 640, 0, 7.53),
    (64, 640, 0, 9.49),
    (128, 640, 0, 12.00),
    (256, 640, 0, 18.08),
    (16, 3072, 0, 9.46),
    (64, 3072, 0, 17.05),
    (7, 8448, 0, 10.18),
    (16, 8448, 0, 13.75),
    (43, 8448, 8192, 232.97),
]
"""Of the table that `benchmarks.gpu` names."""


def running(*parts: tuple[str, int], output: int = 4, priority: int = 0, at: float = 0) -> Running:
    return Running([Part(key, tokens) for key, tokens in parts], output, priority, at)


def drained(batcher: Batcher) -> list[Running]:
    """All requests in the order in which they were finished."""
    done: list[Running] = []
    while not batcher.idle:
        done += batcher.step()
    return done


@pytest.mark.parametrize(("sequences", "context", "prompt", "milliseconds"), PUBLISHED_STEPS)
def test_steps_last_as_long_as_published(
    sequences: int, context: int, prompt: int, milliseconds: float
) -> None:
    seconds = Gpu().seconds(sequences, sequences * context, prompt)
    assert seconds * 1000 == pytest.approx(milliseconds, rel=0.08)


def test_a_lone_request_takes_its_prompt_and_a_step_a_token() -> None:
    gpu = Gpu(step_s=1, sequence_s=0, context_token_s=0, prompt_token_s=0.1, step_tokens=40)
    batcher = Batcher(gpu, prefix_caching=False)
    batcher.add(running(("a", 60), output=3, at=5))
    (done,) = drained(batcher)
    assert done.finished == pytest.approx(
        5 + 4 + 6
    )  # two steps of prompt, two more tokens, 60 prompt tokens
    assert (done.started, batcher.busy) == (5, pytest.approx(10))


def test_urgent_requests_go_first() -> None:
    batcher = Batcher(Gpu(sequences=1), prefix_caching=True)
    late, first, urgent = (running(("p", 9), priority=p) for p in (0, 0, -1))
    for one in (late, first, urgent):
        batcher.add(one)
    assert drained(batcher) == [urgent, late, first]


def test_no_step_holds_a_request_that_has_not_come() -> None:
    batcher = Batcher(Gpu(), prefix_caching=True)
    early, later = running(("a", 10), at=1), running(("b", 10), at=50)
    batcher.add(later)
    batcher.add(early)
    assert drained(batcher) == [early, later]
    assert early.started == 1
    assert later.started == 50


def test_a_prefix_is_computed_once_where_caching_is_on() -> None:
    for caching, cached in ((True, 1000), (False, 0)):
        batcher = Batcher(Gpu(sequences=1), prefix_caching=caching)
        first, second = (running(("system, image", 1000), (q, 50)) for q in "12")
        batcher.add(first)
        batcher.add(second)
        drained(batcher)
        assert (first.cached, second.cached) == (0, cached)


def test_a_part_helps_nobody_before_it_has_been_in_a_step() -> None:
    batcher = Batcher(Gpu(step_tokens=600), prefix_caching=True)
    first, second = (running(("image", 1000), (q, 50)) for q in "12")
    batcher.add(first)
    batcher.step()  # 600 of the image's 1000
    batcher.add(second)
    batcher.step()  # the rest of it, then the second request, in one step
    assert second.cached == 1000
    third = running(("image", 1000), ("3", 50))
    other = Batcher(Gpu(step_tokens=600), prefix_caching=True)
    other.add(running(("image", 1000), ("1", 50)))
    other.add(third)
    other.step()
    assert third.cached == 0


def test_an_aborted_request_leaves_its_place() -> None:
    batcher = Batcher(Gpu(sequences=1), prefix_caching=True)
    gone, waiting, other = (running((k, 10), output=100) for k in "abc")
    batcher.add(gone)
    batcher.add(waiting)
    batcher.add(other)
    batcher.step()
    gone.aborted = waiting.aborted = True
    assert drained(batcher) == [other]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 4),
            st.integers(1, 5),
            st.integers(-1, 0),
            st.floats(0, 2),
        ),
        min_size=1,
        max_size=25,
    ),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_every_request_ends_and_memory_is_given_back(
    wanted: list[tuple[int, int, int, int, float]], caching: bool
) -> None:
    gpu = Gpu(kv_tokens=300, step_tokens=50, sequences=4)
    batcher = Batcher(gpu, prefix_caching=caching)
    requests = [
        running(
            (f"image {image}", 40),
            (f"image {image}, text {text}", 20),
            output=out,
            priority=p,
            at=at,
        )
        for image, text, out, p, at in wanted
    ]
    for request in requests:
        batcher.add(request)
    done = drained(batcher)
    assert len(done) == len(set(map(id, done))) == len(requests)
    for request in requests:
        assert request.generated == request.output_tokens
        assert request.arrived <= request.started < (request.finished or 0)
    assert batcher._private == 0
    assert not any(part.users for part in batcher._parts.values())
    assert batcher.busy <= batcher.clock + 1e-9
