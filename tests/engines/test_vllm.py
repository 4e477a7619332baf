"""The vllm engine, as far as it goes without vLLM. tests/vllm has the rest, on a real one."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import transformers

from p2r_bench.bundled import resolve_model
from p2r_bench.engines.arguments import describe
from p2r_bench.engines.processors import PromptBuilder, load_processor
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.engines.vllm import VLLMEngine
from p2r_bench.engines.vllm_arguments import Arguments
from p2r_bench.engines.vllm_checkpoint import (
    Adapter,
    Checkpoint,
    read_adapter,
    read_checkpoint,
    reserved_rank,
)
from p2r_bench.engines.vllm_requests import Format
from p2r_bench.engines.vllm_shared import Shared, acquire, engine_arguments, release
from p2r_bench.errors import EngineError, UserError
from p2r_bench.families import Budget, family_serving, find_family
from p2r_bench.types import EngineConfig
from tests.engines.requests_made import make_request

TINY = Path(resolve_model("p2r-tiny"))


@cache
def tiny() -> Checkpoint:
    return replace(read_checkpoint(TINY, "p2r-tiny"), end_ids=(1616,), suppressed_ids=(1617, 1618))


def make_format(context: int = 8192) -> Format:
    return Format(tiny(), context)


def with_family(name: str) -> Checkpoint:
    return replace(tiny(), family=find_family(name))


def write_adapter(folder: Path, rank: int = 8, **more: Any) -> str:
    folder.mkdir(parents=True)
    tensors = more.pop("tensors", ("language_model.layers.0.mlp.up_proj.lora_A.weight",))
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, **more}))
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in tensors}
    )
    data = struct.pack("<Q", len(header)) + header.encode()
    (folder / "adapter_model.safetensors").write_bytes(data)
    return str(folder)


# --- before it starts


def test_the_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, p2r_bench.engines.vllm;"
        "print([m for m in ('vllm', 'torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_vllm_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"pip install 'p2r-bench\[vllm\]'"):
        asyncio.run(VLLMEngine(EngineConfig("p2r-tiny")).start())


def test_a_kv_cache_that_corrupts_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    for dtype in ("fp8_e4m3", "fp8_e5m2"):
        with pytest.raises(UserError, match="cannot be imported"):
            asyncio.run(
                VLLMEngine(EngineConfig("p2r-tiny", args={"kv_cache_dtype": dtype})).start()
            )
    (record,) = caplog.records
    assert "kv_cache_dtype=fp8_e5m2" in record.getMessage()


def test_it_is_identified_as_the_transformers_engine_identifies_it(tmp_path: Path) -> None:
    for args in ({}, {"lora": write_adapter(tmp_path / "adapter")}):
        config = EngineConfig("p2r-tiny", args=args)
        theirs = asyncio.run(TransformersEngine(config).identify())
        assert asyncio.run(VLLMEngine(config).identify()) == theirs


def test_more_than_all_of_the_memory_is_refused() -> None:
    with pytest.raises(UserError, match=r"gpu_memory=1\.2"):
        VLLMEngine(EngineConfig("any", args={"gpu_memory": "1.2"}))


@pytest.mark.parametrize("kind", ["qwen3_vl", "qwen2_5_vl", "glm4v", "gemma4", "internvl"])
def test_every_family_gives_its_rules_to_a_checkpoint(tmp_path: Path, kind: str) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "copy"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    config = transformers.CONFIG_MAPPING[kind]().to_dict() | {"image_token_id": 1620}
    (folder / "config.json").write_text(json.dumps(config))
    family = family_serving(kind)
    assert family is not None
    taken = tokenizer["added_tokens"]
    taken[-1]["content"] = family.never_sampled[-1]  # one that this tokenizer knows
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    checkpoint = read_checkpoint(folder, kind)
    assert checkpoint.family is family
    assert checkpoint.suppressed_ids >= (1620,) or 1620 in checkpoint.suppressed_ids
    assert taken[-1]["id"] in checkpoint.suppressed_ids


def test_a_model_that_no_family_serves_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "copy"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UserError, match=r"no model family serves its model_type 'llama'.*openai"):
        read_checkpoint(folder, "llama")


@pytest.mark.parametrize("line", describe(Arguments), ids=lambda line: line.split()[0])
def test_an_argument_is_documented_as_it_is(line: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    section = page[page.index("\n## vllm\n") : page.index("\n## openai\n")]
    name, _, rest = line.partition(" (")
    kind, _, help = rest.partition("): ")
    assert f"| `{name}` | {kind.replace('|', chr(92) + '|')} | {help} |" in section


# --- vLLM's arguments


def arguments_for(adapters: tuple[Adapter, ...] = (), **args: Any) -> dict[str, Any]:
    return engine_arguments(
        tiny(), Arguments(**args), dtype="float32", max_images=4, adapters=adapters
    )


def test_images_between_one_visual_token_and_the_limit_keep_their_size() -> None:
    size = arguments_for(max_pixels=65536)["mm_processor_kwargs"]["size"]
    assert size == {"shortest_edge": 32 * 32, "longest_edge": 65536}


@pytest.mark.parametrize("name", ["qwen3-vl", "qwen2.5-vl", "glm-4v", "gemma", "internvl"])
def test_limits_of_the_processor_and_the_context_are_the_familys(name: str) -> None:
    family = find_family(name)
    budget = Budget(family.alignment**2, 2**20)
    given = engine_arguments(
        with_family(name), Arguments(max_pixels=2**20), dtype="float32", max_images=1
    )
    assert given["mm_processor_kwargs"] == family.processor_size(budget)
    most = family.most_visual_tokens(budget)
    assert most is not None
    assert given["max_model_len"] == min(8192, most + 4096)
    sizes = with_family(name).probe_sizes(2**20, 8192)
    assert len(sizes) >= 2
    assert not family.settles or all(family.fit(size, budget) == size for size in sizes)
    assert max(family.visual_tokens(size) or 0 for size in sizes) > most // 2
    short = with_family(name).probe_sizes(2**20, 700)
    assert all((family.visual_tokens(size) or 0) < 700 for size in short)


def test_a_budget_below_the_familys_smallest_image_is_refused() -> None:
    with pytest.raises(UserError, match="max_pixels=65536: max_pixels must be at least"):
        engine_arguments(
            with_family("internvl"), Arguments(max_pixels=65536), dtype="float32", max_images=1
        )


def test_the_models_own_generation_settings_decide_nothing() -> None:
    assert arguments_for()["generation_config"] == "vllm"


def test_the_context_has_room_for_all_images_or_is_the_models_own() -> None:
    assert arguments_for()["max_model_len"] == 8192
    assert arguments_for(max_pixels=256 * 1024)["max_model_len"] == 4 * 256 + 4096
    assert arguments_for(max_model_len=2048)["max_model_len"] == 2048


def test_an_attention_backend_is_named_only_when_asked_for() -> None:
    assert "attention_backend" not in arguments_for()
    assert arguments_for(attention="flash-attn")["attention_backend"] == "FLASH_ATTN"


def test_room_is_reserved_for_the_adapters_of_all_roles() -> None:
    assert arguments_for()["enable_lora"] is False
    given = arguments_for((Adapter("a", "1", 12), Adapter("b", "2", 64)))
    assert (given["enable_lora"], given["max_loras"], given["max_lora_rank"]) == (True, 2, 64)


# --- adapters


def test_the_rank_of_an_adapter_is_its_largest(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", rank=8, rank_pattern={"q_proj": 24})
    assert read_adapter(folder).rank == 24
    assert reserved_rank([read_adapter(folder)]) == 32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rank": 1024}, "rank 1024"),
        ({"tensors": ("base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight",)}, "vision"),
    ],
)
def test_an_adapter_that_vllm_would_apply_in_part_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_adapter(write_adapter(tmp_path / "a", **change))
    assert "merge_and_unload" in str(caught.value)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        read_adapter(str(tmp_path / "a"))


# --- one vLLM for several engines


class StoppedLLM:
    """Counts how often it is stopped."""

    def __init__(self) -> None:
        self.stopped = 0

    def shutdown(self, timeout: float) -> None:
        self.stopped += 1


def begin(llm: StoppedLLM, *room: str) -> Any:
    return lambda: Shared(llm, 100, {}, frozenset(room))


def test_engines_with_equal_keys_share_one_vllm_until_the_last_one_leaves() -> None:
    llm, key = StoppedLLM(), ("model",)
    one = acquire(key, None, begin(llm, "a"))
    two = acquire(key, Adapter("x", "a", 8), begin(StoppedLLM()))
    assert one is two
    release(one)
    assert not llm.stopped
    release(two)
    assert llm.stopped == 1
    other = StoppedLLM()
    release(acquire(key, None, begin(other)))
    assert other.stopped == 1


def test_an_adapter_without_room_gets_a_vllm_of_its_own() -> None:
    first, second = StoppedLLM(), StoppedLLM()
    one = acquire(("model",), None, begin(first))
    two = acquire(("model",), Adapter("x", "a", 8), begin(second, "a"))
    assert one is not two
    release(one)
    release(two)
    assert first.stopped == second.stopped == 1


def test_requests_about_one_image_go_to_one_copy_and_new_images_take_turns() -> None:
    shared = Shared(None, 100, {}, copies=3)
    assert [shared.rank(source) for source in "abacab"] == [0, 1, 0, 2, 0, 1]
    assert shared.rank(None) is None
    assert Shared(None, 100, {}).rank("a") is None


# --- requests


def test_prompts_have_the_transformers_engines_token_ids() -> None:
    form = make_format()
    processor = load_processor(TINY, transformers.AutoConfig.from_pretrained(TINY), "p2r-tiny")
    builder = PromptBuilder(
        processor,
        form.checkpoint.template,
        find_family("qwen3-vl"),
        image_id=form.checkpoint.image_token,
        context=8192,
    )
    for number in range(30):
        request, images = make_request(number)
        prompt = form.prompt(request, images)
        expanded: list[int] = []
        counts = iter([image.width * image.height // 1024 for image in images])
        for token in prompt["prompt_token_ids"]:
            expanded += [token] * (next(counts) if token == form.checkpoint.image_token else 1)
        assert expanded == builder.build(request, images).ids
        uuids = prompt.get("multi_modal_uuids", {"image": []})["image"]
        assert uuids == [recipe.digest for recipe in request.recipes]


def test_a_question_that_holds_the_image_placeholder_is_refused() -> None:
    request, images = make_request(1, sizes=((64, 64),), text="What is <|image_pad|>?")
    with pytest.raises(EngineError, match=r"must not contain <\|image_pad\|>") as caught:
        make_format().prompt(request, images)
    assert (caught.value.kind, caught.value.retryable) == ("prompt", False)


def test_a_prompt_that_is_too_long_with_its_images_is_refused() -> None:
    request, images = make_request(1, sizes=((320, 320),), text="short", max_tokens=16)
    length = len(make_format().prompt(request, images)["prompt_token_ids"]) - 1 + 100 + 16
    make_format(length).prompt(request, images)
    with pytest.raises(EngineError) as caught:
        make_format(length - 1).prompt(request, images)
    assert caught.value.kind == "too_long"


def test_an_image_that_vllm_resized_is_an_error() -> None:
    form = make_format()
    request, _ = make_request(1, sizes=((64, 64),))
    image = form.checkpoint.image_token
    form.check_rendered(request, {"prompt_token_ids": [1, *[image] * 4, 2]})
    with pytest.raises(EngineError, match="resized") as caught:
        form.check_rendered(request, {"prompt_token_ids": [1, *[image] * 16, 2]})
    assert (caught.value.kind, caught.value.retryable) == ("images", False)
    unsettled = Format(with_family("gemma"), 8192)
    assert unsettled.check_rendered(request, {"prompt_token_ids": [image] * 16}) == 16


@pytest.mark.parametrize("name", ["qwen3-vl", "gemma"])
def test_a_processor_that_resizes_is_found_at_start(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Doubling:
        """A renderer whose processor makes two visual tokens of each."""

        async def render_cmpl_async(self, prompts: Any, **_: Any) -> list[dict[str, Any]]:
            (image,) = prompts[0]["multi_modal_data"]["image"]
            family, token = find_family(name), tiny().image_token
            return [{"prompt_token_ids": [token] * 2 * (family.visual_tokens(image.size) or 0)}]

    engine = VLLMEngine(EngineConfig("p2r-tiny", args={"max_pixels": "262144"}))
    engine._format = Format(with_family(name), 8192)
    engine._shared = Shared(SimpleNamespace(renderer=Doubling()), 8192, {})
    if name == "gemma":
        asyncio.run(engine._check_sizes())
        assert "its processor resizes images. The run records both counts" in caplog.text
    else:
        with pytest.raises(UserError, match=r"its processor resizes images, so .*transformers"):
            asyncio.run(engine._check_sizes())


# --- answers and failures, with a stand-in for AsyncLLM


class Refused(Exception):
    pass


class Dead(Exception):
    pass


class Failed(Exception):
    pass


class Parameters(SimpleNamespace):
    """Keeps what SamplingParams is made of."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The few names of vLLM that answering one request needs."""
    modules = {
        "vllm": {},
        "vllm.exceptions": {"VLLMClientError": Refused},
        "vllm.sampling_params": {
            "SamplingParams": Parameters,
            "StructuredOutputsParams": Parameters,
            "RequestOutputKind": SimpleNamespace(FINAL_ONLY="final"),
        },
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    yield


class OneAnswer:
    """An AsyncLLM that answers with given tokens, or fails; it may lose the images of the first requests."""

    def __init__(
        self, form: Format, outcome: Exception | list[int], finish: str = "stop", lost: int = 0
    ) -> None:
        self.form, self.outcome, self.finish, self.lost = form, outcome, finish, lost
        self.renderer = self
        self.errored = False
        self.asked: dict[str, Any] = {}

    async def render_cmpl_async(self, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return prompts

    async def generate(
        self, prompt: Any, sampling: Any, request_id: str, **more: Any
    ) -> AsyncIterator[Any]:
        self.asked = {"sampling": sampling, "id": request_id, **more}
        if isinstance(self.outcome, Exception):
            self.errored = isinstance(self.outcome, Dead)
            raise self.outcome
        tokens, finish = self.outcome, self.finish
        if self.lost:
            self.lost, tokens, finish = self.lost - 1, [], "error"
        times = SimpleNamespace(queued_ts=10.0, scheduled_ts=10.5, last_token_ts=12.5)
        answer = SimpleNamespace(token_ids=tokens, finish_reason=finish, logprobs=None)
        yield SimpleNamespace(
            outputs=[answer],
            prompt_token_ids=prompt["prompt_token_ids"],
            num_cached_tokens=3,
            metrics=times,
        )


def answer(llm: OneAnswer, **sampling: Any) -> Any:
    engine = VLLMEngine(EngineConfig("p2r-tiny"))
    engine._format = llm.form
    engine._shared = Shared(llm, 8192, {}, users=2)
    engine._tokenizing = ThreadPoolExecutor(1)
    request, images = make_request(1, sizes=(), priority=-5, **sampling)

    async def session() -> Any:
        try:
            return await engine.generate(request, images)
        finally:
            await engine.close()

    return asyncio.run(session())


def test_an_answer_has_text_counts_and_times(stand_in: None) -> None:
    form = make_format()
    tokens = [*form.checkpoint.tokenizer("B")["input_ids"], 1616]
    llm = OneAnswer(form, tokens)
    completion = answer(llm)
    assert completion.text == "B"
    assert (completion.cached_tokens, completion.output_tokens) == (3, len(tokens))
    assert completion.timings["queue"] == 0.5
    assert completion.timings["engine"] == 2.0
    assert llm.asked["priority"] == -5


def test_every_sampling_field_is_sent(stand_in: None) -> None:
    llm = OneAnswer(make_format(), [5, 1616])
    answer(
        llm,
        temperature=0.5,
        top_p=0.9,
        top_k=20,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=1.5,
        frequency_penalty=0.25,
        max_tokens=7,
        stop=("x",),
    )
    sent = llm.asked["sampling"]
    assert (sent.temperature, sent.top_p, sent.repetition_penalty) == (0.5, 0.9, 1.1)
    assert (sent.max_tokens, sent.seed, sent.stop, sent.n) == (7, 1, ["x"], 1)
    assert (sent.top_k, sent.min_p) == (20, 0.1)
    assert (sent.presence_penalty, sent.frequency_penalty) == (1.5, 0.25)
    assert sent.stop_token_ids == [1616]
    assert sent.logit_bias == {1617: float("-inf"), 1618: float("-inf")}
    assert sent.output_kind == "final"


@pytest.mark.parametrize(
    ("outcome", "kind", "retryable"),
    [
        (Refused("too many images"), "refused", False),
        (Dead(), "dead", True),
        (Failed(), "model", True),
    ],
)
def test_a_failure_is_an_error_of_its_own_kind(
    stand_in: None, outcome: Exception, kind: str, retryable: bool
) -> None:
    with pytest.raises(EngineError) as caught:
        answer(OneAnswer(make_format(), outcome))
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)


@pytest.mark.parametrize("finish", ["abort", "error"])
def test_an_answer_that_was_broken_off_is_an_error(stand_in: None, finish: str) -> None:
    with pytest.raises(EngineError, match=finish):
        answer(OneAnswer(make_format(), [5], finish))


def test_an_answer_without_text_is_an_error(stand_in: None) -> None:
    with pytest.raises(EngineError) as caught:
        answer(OneAnswer(make_format(), [1616]))
    assert caught.value.kind == "empty"


def test_a_request_whose_images_vllm_has_lost_is_sent_again(stand_in: None) -> None:
    form = make_format()
    tokens = [*form.checkpoint.tokenizer("B")["input_ids"], 1616]
    assert answer(OneAnswer(form, tokens, lost=2)).text == "B"
    with pytest.raises(EngineError) as caught:
        answer(OneAnswer(form, tokens, lost=100))
    assert caught.value.retryable


def test_an_engine_that_does_not_run_answers_with_an_error() -> None:
    engine = VLLMEngine(EngineConfig("p2r-tiny"))
    with pytest.raises(EngineError, match="not running"):
        asyncio.run(engine.generate(*make_request(1)))
    asyncio.run(engine.close())
