"""The vllm engine on a real vLLM."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from p2r_bench.adapter import TwoStage, decode, load_profile, parse_boxes, render
from p2r_bench.engines import vllm_shared
from p2r_bench.engines.vllm import VLLMEngine
from p2r_bench.engines.vllm_requests import Format
from p2r_bench.errors import EngineError, UserError
from p2r_bench.run.canaries import Policy, check
from p2r_bench.tasks.reading import probe, read_image
from p2r_bench.tasks.synth_hr import SynthHR
from p2r_bench.types import Completion, DataSource, EngineConfig
from tests.engines.requests_made import make_request
from tests.vllm.adapters import Adapted
from tests.vllm.conftest import ARGS, Loop
from tests.vllm.reading import with_transformers

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

LONG = {"type": "array", "items": {"type": "integer"}, "minItems": 200}
"""Nothing that follows this schema is short."""


def ask(loop: Loop, engine: VLLMEngine, pairs: list[Any]) -> list[Completion]:
    async def together() -> list[Completion]:
        return list(await asyncio.gather(*(engine.generate(*pair) for pair in pairs)))

    return loop.run(together())


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_roles_with_their_own_adapters_share_one_vllm_and_each_gets_its_own_answers(
    loop: Loop, engines: dict[str, VLLMEngine], adapted: tuple[Adapted, Adapted]
) -> None:
    assert len(vllm_shared._running) == 1
    pairs = [make_request(number, max_tokens=12) for number in range(8)]
    models = {"base": "p2r-tiny", "a": adapted[0].merged, "b": adapted[1].merged}
    answers = {name: texts(ask(loop, engine, pairs)) for name, engine in engines.items()}
    assert len({tuple(answer) for answer in answers.values()}) == 3
    for name, model in models.items():
        assert answers[name] == texts(with_transformers(model, pairs))
    identities = {loop.run(engine.identify()) for engine in engines.values()}
    assert len(identities) == 3


def test_prompts_have_the_transformers_engines_tokens(
    loop: Loop, engines: dict[str, VLLMEngine]
) -> None:
    pairs = [make_request(number, max_tokens=8) for number in range(10, 22)]
    here, there = ask(loop, engines["base"], pairs), with_transformers("p2r-tiny", pairs)
    for count in ("prompt_tokens", "visual_tokens", "output_tokens", "finish_reason", "text"):
        assert [getattr(c, count) for c in here] == [getattr(c, count) for c in there]


def test_a_schema_is_followed(loop: Loop, engines: dict[str, VLLMEngine]) -> None:
    request, images = make_request(3, sizes=((128, 96),), text="Is it there?", max_tokens=40)
    bound = replace(request, schema={"enum": ["yes", "no"]})
    free, asked = ask(loop, engines["base"], [(request, images), (bound, images)])
    with pytest.raises(ValueError):
        json.loads(free.text)
    assert json.loads(asked.text) in ("yes", "no")


def test_boxes_asked_for_by_a_schema_are_those_that_the_model_gives_freely(
    loop: Loop, engines: dict[str, VLLMEngine]
) -> None:
    free, bound = (
        TwoStage(load_profile("tiny")),
        TwoStage(load_profile("tiny").replace(structured_boxes=True)),
    )
    pairs: list[Any] = []
    for sample in SynthHR().samples(DataSource(params={"seed": 11, "rows": 8})):
        data = read_image(sample.image)
        sample = replace(sample, image=probe(sample.image, data))
        for two in (free, bound):
            request = two.perceive_request(sample)
            images = [render(recipe, decode(data)) for recipe in request.recipes]
            pairs.append((request, images))
    answers = texts(ask(loop, engines["base"], pairs))
    assert answers[::2] == answers[1::2]
    assert [pair[0].schema is None for pair in pairs[:2]] == [True, False]
    for text in answers:
        assert len(parse_boxes(text)) == len(json.loads(text)) >= 1


def test_urgent_requests_run_before_those_that_wait(
    loop: Loop, engines: dict[str, VLLMEngine]
) -> None:
    order: list[str] = []

    async def one(name: str, number: int, priority: int) -> None:
        request, images = make_request(number, sizes=(), priority=priority, max_tokens=24)
        schema = {**LONG, "minItems": 100}
        await engines["base"].generate(replace(request, schema=schema), images)
        order.append(name)

    async def all_at_once() -> None:
        patient = [asyncio.ensure_future(one("patient", n, 0)) for n in range(64)]
        await asyncio.sleep(0.2)
        urgent = [asyncio.ensure_future(one("urgent", n, -1)) for n in range(100, 108)]
        await asyncio.gather(*patient, *urgent)

    loop.run(all_at_once())
    last_urgent = max(index for index, name in enumerate(order) if name == "urgent")
    assert len(order) - 1 - last_urgent >= 16, order


@pytest.mark.parametrize("sampled", [False, True])
def test_what_is_reused_of_an_image_changes_no_answer(
    loop: Loop, engines: dict[str, VLLMEngine], sampled: bool
) -> None:
    """Rotations: one image, one beginning of the question, other options."""
    number = 500 + sampled
    engine, llm = engines["base"], engines["base"]._shared.llm
    sampling = {"temperature": 0.8, "seed": 7} if sampled else {}
    pairs = []
    for rotation in ("A. red B. blue", "A. blue B. red", "A. green B. red", "A. red B. green"):
        text = f"What colour is the smallest sign? {rotation}"
        pairs.append(
            make_request(number, sizes=((448, 288),), text=text, max_tokens=24, **sampling)
        )

    async def one_by_one(forget: bool) -> list[Completion]:
        answers = []
        for pair in pairs:
            if forget:
                assert await llm.reset_prefix_cache()
                await llm.reset_mm_cache()
            answers.append(await engine.generate(*pair))
        return answers

    alone, shared = loop.run(one_by_one(True)), loop.run(one_by_one(False))
    assert [c.cached_tokens for c in alone] == [0] * 4
    assert all(c.cached_tokens >= 126 for c in shared[1:])
    assert texts(shared) == texts(alone)


def test_a_cancelled_request_is_aborted(loop: Loop, engines: dict[str, VLLMEngine]) -> None:
    from prometheus_client import REGISTRY  # shows the vLLM that was started last

    engine = engines["base"]
    llm = engine._shared.llm

    def running() -> float:
        return sum(
            sample.value
            for metric in REGISTRY.collect()
            if metric.name == "vllm:num_requests_running"
            for sample in metric.samples
        )

    async def session() -> Completion:
        doomed = []
        for number in range(16):
            request, images = make_request(number, sizes=(), max_tokens=3000)
            request = replace(request, schema={**LONG, "minItems": 3000})
            doomed.append(asyncio.ensure_future(engine.generate(request, images)))
        async with asyncio.timeout(200):
            while running() < 16:
                await asyncio.sleep(0.05)
        for task in doomed:
            task.cancel()
        await asyncio.wait(doomed)
        assert all(task.cancelled() for task in doomed)
        assert llm.get_num_unfinished_requests() == 0
        return await engine.generate(*make_request(50, sizes=(), max_tokens=4))

    assert loop.run(session()).output_tokens >= 1
    assert running() == 0  # else they would go on for thousands of tokens


def test_an_image_that_vllms_process_does_not_have_is_sent_again(
    loop: Loop, engines: dict[str, VLLMEngine]
) -> None:
    engine = engines["base"]
    request, images = make_request(700, sizes=((64, 64), (96, 64)), max_tokens=6)

    async def session() -> list[Completion]:
        llm = engine._shared.llm
        prompt = engine._format.prompt(request, images)
        await llm.renderer.render_cmpl_async([prompt])  # as if the request had then been cancelled
        lost = await engine.generate(request, images)
        return [lost, await engine.generate(request, images)]

    first, second = texts(loop.run(session()))
    assert first == second == with_transformers("p2r-tiny", [(request, images)])[0].text


def test_what_does_not_fit_is_an_error_of_its_own_kind(
    loop: Loop, engines: dict[str, VLLMEngine]
) -> None:
    too_long = make_request(1, sizes=(), text="long " * 9000)
    too_many = make_request(2, sizes=((64, 64),) * 5)
    for pair, kind in ((too_long, "too_long"), (too_many, "refused")):
        with pytest.raises(EngineError) as caught:
            ask(loop, engines["base"], [pair])
        assert caught.value.kind == kind
        assert not caught.value.retryable


def test_facts_name_what_decides(engines: dict[str, VLLMEngine]) -> None:
    can = engines["base"].capabilities()
    assert can.schema
    assert can.facts["attention"] == "auto"
    assert can.facts["dtype"] == "float32"
    assert can.facts["prefix_caching"] is True
    assert can.facts["vllm"]
    assert (can.min_pixels, can.max_pixels, can.factor) == (None, 131072, 32)


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        (
            "attention",
            "flash-attn",
            "attention=flash-attn cannot be used: on a CPU",
        ),
        ("quantization", "no-such-thing", "no-such-thing"),
        ("max_model_len", "100000", "max_model_len"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_at_start(
    loop: Loop, argument: str, value: str, said: str
) -> None:
    engine = VLLMEngine(EngineConfig("p2r-tiny", args={**ARGS, argument: value}))

    async def start() -> None:
        try:
            await engine.start()
        finally:
            await engine.close()

    with pytest.raises(UserError, match=said):
        loop.run(start())


def test_canaries_pass_and_images_under_one_identity_are_found(
    loop: Loop, engines: dict[str, VLLMEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, roles = load_profile("tiny"), ("perceive", "reason")
    told = loop.run(check(engines["base"], profile, roles, 4, Policy()))
    assert {name: outcome["result"] for name, outcome in told.items()} == {
        **dict.fromkeys(("box", "tokens", "images", "cache"), "passed"),
        "order": "not applicable",  # the bundled model does not name colours
    }
    whole = Format.prompt

    def one_identity(self: Format, request: Any, images: Any) -> dict[str, Any]:
        prompt = whole(self, request, images)
        if "multi_modal_uuids" in prompt:
            prompt["multi_modal_uuids"] = {"image": ["canary-of-this-test"] * len(images)}
        return prompt

    monkeypatch.setattr(Format, "prompt", one_identity)
    only_images = Policy(frozenset({"box", "order", "tokens", "cache"}))
    with pytest.raises(UserError, match="'images' failed"):
        loop.run(check(engines["base"], profile, roles, 4, only_images))
