"""The transformers engine against the library's own `generate`, and under stress."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, LogitsProcessor, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from p2r_bench.engines.completions import checked
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Completion, EngineConfig, Request, Sampling
from tests.engines.requests_made import make_request
from tests.engines.tiny_model import SPECIAL

Pair = tuple[Request, list[Image.Image]]
Using = Callable[..., Any]


@pytest.fixture
def using(tiny_folder: Path) -> Using:
    """Runs a coroutine function on a started engine; keyword arguments are engine arguments."""

    def call(
        work: Callable[[TransformersEngine], Any], folder: Path = tiny_folder, **args: str
    ) -> Any:
        async def session() -> Any:
            engine = TransformersEngine(EngineConfig(str(folder), args=args))
            await engine.start()
            try:
                return await work(engine)
            finally:
                await engine.close()

        return asyncio.run(session())

    return call


async def answers(engine: TransformersEngine, pairs: Sequence[Pair]) -> list[Any]:
    return await asyncio.gather(*(engine.generate(*p) for p in pairs), return_exceptions=True)


def texts(completions: Sequence[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def outcomes(results: Sequence[Any]) -> list[str]:
    return [r.text if isinstance(r, Completion) else r.kind for r in results]


def model_of(engine: TransformersEngine) -> Any:
    assert engine._loaded is not None
    return engine._loaded.model


def run_rows(engine: TransformersEngine) -> list[list[Any]]:
    """The rows of every batch that the engine runs from now on, in a list that grows."""
    assert engine._worker is not None
    generator, batches = engine._worker.generator, list[list[Any]]()
    run = generator.run

    def recorded(rows: Any, *args: Any) -> None:
        batches.append(list(rows))
        run(rows, *args)

    generator.run = recorded  # type: ignore[method-assign]
    return batches


class OutputPenalties(LogitsProcessor):
    """Presence and frequency penalties as the OpenAI API defines them, which the library lacks."""

    def __init__(self, sampling: Sampling, prompt_length: int) -> None:
        self.sampling = sampling
        self.prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        for token, count in Counter(input_ids[0, self.prompt_length :].tolist()).items():
            scores[0, token] -= self.sampling.presence_penalty
            scores[0, token] -= self.sampling.frequency_penalty * count
        return scores


@pytest.fixture(scope="session")
def reference(tiny_folder: Path) -> Iterator[Callable[[Pair], str]]:
    """Answers one request with the library's image processor and `generate`, greedily."""
    model = Qwen3VLForConditionalGeneration.from_pretrained(tiny_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    processor = Qwen2VLImageProcessorPil.from_pretrained(tiny_folder)
    suppressed = [
        tokenizer.convert_tokens_to_ids(t) for t in SPECIAL if "pad" in t or "vision" in t
    ]

    def answer(pair: Pair) -> str:
        request, images = pair
        messages = [
            {
                "role": m.role,
                "content": [
                    {"type": "text", "text": p} if isinstance(p, str) else {"type": "image"}
                    for p in m.content
                ],
            }
            for m in request.messages
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        seen = processor(images=images, return_tensors="pt") if images else {}
        for grid in seen.get("image_grid_thw", []):
            text = text.replace("<|image_pad|>", "<|hold|>" * int(grid.prod() // 4), 1)
        ids = tokenizer(text.replace("<|hold|>", "<|image_pad|>"), return_tensors="pt")["input_ids"]
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            **seen,
            do_sample=False,
            max_new_tokens=request.sampling.max_tokens,
            repetition_penalty=request.sampling.repetition_penalty,
            suppress_tokens=suppressed,
            logits_processor=[OutputPenalties(request.sampling, ids.shape[1])],
        )
        return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)

    yield answer


def test_greedy_answers_are_those_of_generate(
    using: Using, reference: Callable[[Pair], str]
) -> None:
    pairs = [
        make_request(seed, max_tokens=4 + seed, repetition_penalty=(1.0, 1.05, 1.3)[seed % 3])
        for seed in range(24)
    ]
    assert texts(using(lambda e: answers(e, pairs))) == [reference(pair) for pair in pairs]


def test_penalties_of_the_output_are_those_of_their_definition(
    using: Using, reference: Callable[[Pair], str]
) -> None:
    pairs = [
        make_request(
            seed,
            max_tokens=6 + seed,
            presence_penalty=(0.0, 1.5, -0.5)[seed % 3],
            frequency_penalty=(0.0, 0.7)[seed % 2],
            repetition_penalty=(1.0, 1.3)[seed % 2],
        )
        for seed in range(12)
    ]
    ours = texts(using(lambda e: answers(e, pairs)))
    assert ours == [reference(pair) for pair in pairs]
    plain = [make_request(seed, max_tokens=6 + seed) for seed in range(12)]
    assert ours != texts(using(lambda e: answers(e, plain)))


def test_sampled_answers_do_not_depend_on_the_batch(using: Using) -> None:
    settings: list[dict[str, float]] = [
        {"top_p": 0.9},
        {"top_k": 20, "presence_penalty": 1.5},
        {"min_p": 0.05, "frequency_penalty": 0.5},
    ]
    pairs = [
        make_request(seed, temperature=1.0, max_tokens=20, **settings[seed % 3])
        for seed in range(12)
    ]

    async def both(engine: TransformersEngine) -> tuple[list[str], list[str]]:
        alone = [(await engine.generate(*pair)).text for pair in pairs]
        return alone, texts(await answers(engine, pairs))

    alone, together = using(both)
    assert alone == together


def test_a_model_that_ends_at_once_gives_an_empty_answer(using: Using) -> None:
    async def end_at_once(engine: TransformersEngine) -> Any:
        loaded, worker = engine._loaded, engine._worker
        assert loaded is not None and worker is not None
        size = loaded.model.config.get_text_config().vocab_size
        others = sorted({*range(size)} - {*loaded.end_ids})
        worker.generator.suppressed = torch.tensor(others)
        return await engine.generate(*make_request(1))

    completion = using(end_at_once)
    assert (completion.text, completion.finish_reason, completion.output_tokens) == ("", "stop", 1)
    assert checked(completion, "the pipeline") == completion
    with pytest.raises(EngineError):
        checked(dataclasses.replace(completion, engine={}), "another engine")


def test_an_answer_without_text_is_an_error(using: Using) -> None:
    async def cut_at_once(engine: TransformersEngine) -> Any:
        text = (await engine.generate(*make_request(1))).text
        return await engine.generate(*make_request(1, stop=(text[:1],)))

    with pytest.raises(EngineError) as caught:
        using(cut_at_once)
    assert caught.value.kind == "empty"


def test_seeds_decide_sampled_answers(using: Using) -> None:
    pairs = [make_request(1, temperature=1.5, seed=seed, max_tokens=12) for seed in (1, 1, 2)]
    first, again, other = texts(using(lambda e: answers(e, pairs)))
    assert first == again != other


def test_vision_tokens_are_never_sampled(using: Using, tiny_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    forbidden = {tokenizer.convert_tokens_to_ids(t) for t in SPECIAL if "pad" in t or "vision" in t}
    pairs = [make_request(s, temperature=(0.0, 50.0)[s % 2], max_tokens=40) for s in range(6)]

    async def outputs(engine: TransformersEngine) -> set[int]:
        rows = run_rows(engine)
        # The model's favourite is a placeholder, for every prompt.
        model_of(engine).lm_head.register_forward_hook(
            lambda module, inputs, logits: logits.index_add(
                -1,
                torch.tensor(sorted(forbidden)),
                torch.full((*logits.shape[:-1], len(forbidden)), 1e4),
            )
        )
        await answers(engine, pairs)
        return {token for batch in rows for row in batch for token in row.output}

    chosen = using(outputs)
    assert len(chosen) > 10
    assert not chosen & forbidden


def test_each_row_of_a_batch_has_its_own_cap_and_stop_strings(using: Using) -> None:
    pairs = [make_request(seed, max_tokens=1 + 3 * (seed % 7)) for seed in range(20)]
    pairs += [make_request(seed, max_tokens=20, stop=("a", "e")) for seed in range(20, 24)]

    async def watch(engine: TransformersEngine) -> tuple[list[Any], list[int]]:
        rows = run_rows(engine)
        return await answers(engine, pairs), [len(batch) for batch in rows]

    completions, sizes = using(watch, batch_size="4")
    assert max(sizes) == 4
    assert len(sizes) < 12
    assert outcomes(completions) == outcomes(using(lambda e: answers(e, pairs)))
    for (request, _), completion in zip(pairs, completions, strict=True):
        if isinstance(completion, Completion) and completion.finish_reason == "length":
            assert completion.output_tokens == request.sampling.max_tokens
        if isinstance(completion, Completion) and request.sampling.stop:
            assert not set("ae") & set(completion.text)


def test_a_batch_holds_neighbours_in_length(using: Using) -> None:
    pairs = [
        make_request(n, sizes=(), text="a" * (400 if n % 2 else 20), max_tokens=2) for n in range(8)
    ]

    async def watch(engine: TransformersEngine) -> list[list[int]]:
        rows = run_rows(engine)
        await answers(engine, pairs)
        return [[row.prompt.length for row in batch] for batch in rows]

    batches = using(watch, batch_size="4", prefill_tokens="700")
    assert all(max(batch) - min(batch) < 100 for batch in batches)
    assert len(batches) < len(pairs)
    assert all(len(batch) * max(batch) <= 700 for batch in batches)


def test_urgent_requests_start_first(using: Using) -> None:
    pairs = [make_request(seed, priority=seed % 2, max_tokens=3) for seed in range(8)]
    order: list[str] = []

    async def run(engine: TransformersEngine) -> None:
        async def one(pair: Pair) -> None:
            await engine.generate(*pair)
            order.append(pair[0].sample_id)

        blocker = asyncio.ensure_future(engine.generate(*make_request(99, max_tokens=40)))
        await asyncio.sleep(0.05)
        await asyncio.gather(blocker, *map(one, pairs))

    using(run, batch_size="1")
    assert [int(name.split("-")[1]) % 2 for name in order] == [0] * 4 + [1] * 4


def test_a_cancelled_request_stops_decoding(using: Using) -> None:
    async def run(engine: TransformersEngine) -> int:
        rows = run_rows(engine)
        task = asyncio.ensure_future(
            engine.generate(*make_request(1, max_tokens=1500, text="hello"))
        )
        while not rows:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        await engine.generate(*make_request(2))
        return len(rows[0][0].output)

    assert using(run) < 1500


class Crowded:
    """Makes a model run out of memory when more rows than `most` decode together."""

    def __init__(self, engine: TransformersEngine, most: int) -> None:
        self.most, self.refused = most, 0
        model_of(engine).register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: Any, args: Any, inputs: dict[str, Any]) -> None:
        if len(inputs["input_ids"]) > self.most and inputs["input_ids"].shape[1] == 1:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.00 GiB.")


def test_out_of_memory_is_met_with_smaller_batches(using: Using) -> None:
    pairs = [make_request(seed, max_tokens=10) for seed in range(12)]

    async def crowded(engine: TransformersEngine) -> tuple[list[Any], int]:
        model = Crowded(engine, most=3)
        return await answers(engine, pairs), model.refused

    completions, refused = using(crowded)
    assert refused > 0
    assert texts(completions) == texts(using(lambda e: answers(e, pairs)))


def test_a_request_that_does_not_fit_alone_is_an_error_and_others_go_on(using: Using) -> None:
    async def crowded(engine: TransformersEngine) -> tuple[list[Any], Completion]:
        model = Crowded(engine, most=0)
        failed = await answers(engine, [make_request(seed) for seed in range(3)])
        model.most = 9
        return failed, await engine.generate(*make_request(4))

    failed, fine = using(crowded)
    assert all(isinstance(error, EngineError) and error.kind == "out_of_memory" for error in failed)
    assert fine.text


def test_numbers_that_overflow_are_an_error_not_an_answer(using: Using) -> None:
    async def overflow(engine: TransformersEngine) -> list[Any]:
        head = model_of(engine).lm_head
        head.register_forward_hook(lambda module, inputs, logits: logits * float("nan"))
        return await answers(engine, [make_request(1), make_request(2)])

    for error in using(overflow):
        assert isinstance(error, EngineError)
        assert error.kind == "nan"


def test_a_failing_model_fails_its_requests_and_the_engine_goes_on(using: Using) -> None:
    async def run(engine: TransformersEngine) -> tuple[list[Any], Completion]:
        def broken(*args: Any) -> Any:
            raise RuntimeError("device-side assert")

        hook = model_of(engine).register_forward_pre_hook(broken)
        failed = await answers(engine, [make_request(1), make_request(2)])
        hook.remove()
        return failed, await engine.generate(*make_request(3))

    failed, fine = using(run)
    assert all(isinstance(e, EngineError) and "device-side assert" in str(e) for e in failed)
    assert fine.text


def test_a_prompt_beyond_the_context_is_an_error(using: Using) -> None:
    pairs = [make_request(1, max_tokens=2040), make_request(2, text="a" * 3000)]
    for error in using(lambda e: answers(e, pairs)):
        assert isinstance(error, EngineError)
        assert error.kind == "too_long"


def test_a_question_that_contains_a_placeholder_is_an_error(using: Using) -> None:
    pairs = [make_request(1, sizes=((64, 64),), text="What is <|image_pad|>?")]
    (error,) = using(lambda e: answers(e, pairs))
    assert isinstance(error, EngineError)
    assert "<|image_pad|>" in str(error)


def test_closing_fails_what_is_waiting(using: Using) -> None:
    async def close(engine: TransformersEngine) -> list[Any]:
        work = asyncio.ensure_future(
            answers(engine, [make_request(s, max_tokens=900) for s in range(3)])
        )
        await asyncio.sleep(0.1)
        await engine.close()
        return await work

    for error in using(close):
        assert isinstance(error, EngineError)


def test_what_runs_is_recorded(using: Using) -> None:
    async def facts(engine: TransformersEngine) -> dict[str, str]:
        return dict(engine.capabilities().facts)

    found = using(facts, device="cpu", attention="eager", dtype="float32")
    assert found["attention"] == "eager"
    assert found["dtype"] == "float32"
    assert found["device"] == "cpu"
    assert found["torch"] == torch.__version__


def test_attention_implementations_agree(using: Using) -> None:
    pairs = [make_request(seed) for seed in range(8)]
    eager = using(lambda e: answers(e, pairs), attention="eager")
    assert texts(eager) == texts(using(lambda e: answers(e, pairs), attention="sdpa"))


def test_a_device_that_is_not_there_is_refused(using: Using) -> None:
    with pytest.raises(UserError, match="device=tpu"):
        using(lambda e: answers(e, []), device="tpu")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "preprocessor_config.json",
            {"patch_size": 14},
            "its processor .* an image .* has 70 visual tokens",
        ),
        ("config.json", {"model_type": "idefics3"}, "no model family serves .*'idefics3'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_family_is_refused(
    using: Using,
    tiny_folder: Path,
    tmp_path: Path,
    name: str,
    values: dict[str, object],
    message: str,
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_folder, folder)
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(UserError, match=message):
        using(lambda e: answers(e, []), folder=folder)


def test_an_image_that_the_processor_resizes_is_an_error(using: Using) -> None:
    async def resized(engine: TransformersEngine) -> list[Any]:
        assert engine._prompts is not None
        engine._prompts.processor.image_processor.merge_size = 1
        return await answers(engine, [make_request(1, sizes=((64, 64),))])

    (error,) = using(resized)
    assert (error.kind, error.retryable) == ("images", False)


def test_a_file_template_goes_before_the_tokenizers_own(
    using: Using, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "templated"
    shutil.copytree(tiny_folder, folder)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text("Attention please. " * 30 + template)
    pairs = [make_request(1)]
    (plain,), (prefixed,) = (
        using(lambda e: answers(e, pairs), folder=f) for f in (tiny_folder, folder)
    )
    assert prefixed.prompt_tokens == plain.prompt_tokens + 30 * len("Attention please. ")
