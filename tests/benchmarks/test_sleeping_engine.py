"""The sleeping engine: an engine like others, whose time is the model's and whose answers are the right ones."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from benchmarks.answers import Answers, token_count
from benchmarks.sleeping_engine import SleepingEngine, prompt_parts
from p2r_bench.adapter import TwoStage, load_profile, parse_boxes
from p2r_bench.errors import EngineError
from p2r_bench.types import Box, Completion, ImageRef, Request, Sample

TWO = TwoStage(load_profile("p2r"))


def sample(number: int) -> Sample:
    return Sample(
        id=f"8K/{number}",
        task="HR-Bench",
        image=ImageRef(digest=f"{number // 4:064x}", size=(7680, 4320)),
        question=f"What digit is on sign {number // 4}?",
        options=dict(zip("ABCD", ("1234" * 2)[number % 4 :][:4], strict=True)),
        answer="ABCD"[number % 4],
        boxes=(Box((100, 200, 150, 260), "red sign"),),
    )


SAMPLES = [sample(number) for number in range(400)]
ANSWERS = Answers(SAMPLES)


def requests(one: Sample) -> tuple[Request, Request]:
    look = TWO.perceive_request(one)
    return look, TWO.reason_request(one, TWO.evidence(one, ANSWERS(look)))


def completions(*batch: Request, **options: bool) -> list[Completion]:
    async def work() -> list[Completion]:
        engine = SleepingEngine(ANSWERS, speed=2000, **options)
        await engine.start()
        try:
            return await asyncio.gather(*(engine.generate(request, []) for request in batch))
        finally:
            await engine.close()

    return asyncio.run(work())


def test_answers_are_right_and_as_long_as_real_ones() -> None:
    for one in SAMPLES[:40]:
        look, reason = (ANSWERS(request) for request in requests(one))
        (box,) = parse_boxes(look)
        assert box.xyxy == pytest.approx((100, 200, 150, 260), abs=10)
        assert TWO.answer(reason) == one.answer
        assert 200 <= token_count(reason) <= 420


def test_rotations_agree_on_boxes_as_often_as_a_models_do() -> None:
    texts = [ANSWERS(requests(one)[0]) for one in SAMPLES]
    kinds = [len(set(texts[i : i + 4])) for i in range(0, 400, 4)]
    assert 0.30 <= kinds.count(1) / 100 <= 0.54  # p2r-tiny: 0.42
    assert 1.6 <= sum(kinds) / 100 <= 2.0  # p2r-tiny: 1.79


def test_prompts_share_what_stands_before_their_first_difference() -> None:
    (a, _), (b, _), (other, _) = (requests(SAMPLES[i]) for i in (0, 1, 4))
    keys = [[part.key for part in prompt_parts(r)] for r in (a, b, other)]
    assert keys[0][:2] == keys[1][:2]  # the system message and the image
    assert keys[0][2] != keys[1][2]
    assert keys[0][0] == keys[2][0]
    assert keys[0][1] != keys[2][1]
    assert sum(part.tokens for part in prompt_parts(a)) > a.visual_tokens


def test_rotations_of_one_image_are_read_once_unless_caches_are_off() -> None:
    looks = [requests(one)[0] for one in SAMPLES[:4]]
    first, *rest = completions(*looks)
    assert first.cached_tokens == 0
    assert all((c.cached_tokens or 0) >= looks[0].visual_tokens for c in rest)
    assert all(c.cached_tokens == 0 for c in completions(*looks, prefix_caching=False))


def test_time_passes_as_on_the_engines_clock() -> None:
    look, reason = requests(SAMPLES[0])
    short, long = completions(look, dataclasses.replace(reason, sample_id="8K/0"))
    assert 0 < short.timings["engine"] < long.timings["engine"]
    assert (short.output_tokens, long.output_tokens) == (
        token_count(short.text),
        token_count(long.text),
    )


def test_a_cancelled_request_leaves_the_engine_working() -> None:
    async def work() -> Completion:
        engine = SleepingEngine(ANSWERS, speed=500)
        await engine.start()
        look, reason = requests(SAMPLES[0])
        gone = asyncio.create_task(engine.generate(reason, []))
        await asyncio.sleep(0)
        gone.cancel()
        try:
            return await engine.generate(look, [])
        finally:
            await engine.close()

    assert asyncio.run(work()).text == ANSWERS(requests(SAMPLES[0])[0])


def test_an_engine_that_was_not_started_answers_nothing() -> None:
    with pytest.raises(EngineError, match="not running"):
        asyncio.run(SleepingEngine(ANSWERS).generate(requests(SAMPLES[0])[0], []))
