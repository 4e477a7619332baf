"""The openai engine against a real local server that misbehaves on demand."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from p2r_bench.engines.openai import OpenAIEngine
from p2r_bench.engines.openai_format import chat_body
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.errors import EngineError, UserError
from p2r_bench.http.retries import base_url, retry_after
from p2r_bench.types import Capabilities, EngineConfig
from tests.engines.local_server import STANDARD, Fault, LocalServer, reply
from tests.engines.requests_made import make_request

UNCHECKED = {"pixels": "unchecked"}


def use(
    server: LocalServer | str,
    work: Callable[[OpenAIEngine], Any],
    family: str | None = None,
    **args: str,
) -> Any:
    """Runs a coroutine function on an engine started against the server."""
    url = server if isinstance(server, str) else server.url
    config = EngineConfig("scripted", args={"base_url": url, **args}, family=family)

    async def session() -> Any:
        engine = OpenAIEngine(config)
        try:
            await engine.start()
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(session())


async def capabilities(engine: OpenAIEngine) -> Capabilities:
    return engine.capabilities()


def ask(number: int = 1, **sampling: Any) -> Callable[[OpenAIEngine], Any]:
    async def work(engine: OpenAIEngine) -> Any:
        try:
            return await engine.generate(*make_request(number, **sampling))
        except EngineError as error:
            return error

    return work


def ask_after_faults(server: LocalServer, *faults: Fault, **args: str) -> Any:
    """The outcome of one request that meets these faults."""

    async def work(engine: OpenAIEngine) -> Any:
        server.faults.extend(faults)
        return await ask()(engine)

    return use(server, work, **UNCHECKED, **args)


# What is sent


def test_every_sampling_field_is_sent(scripted_server: LocalServer) -> None:
    use(
        scripted_server,
        ask(
            temperature=0.7,
            top_p=0.8,
            top_k=20,
            min_p=0.05,
            repetition_penalty=1.05,
            presence_penalty=1.5,
            frequency_penalty=0.25,
            max_tokens=99,
            seed=7,
            stop=("a", "b"),
        ),
        **UNCHECKED,
    )
    body = scripted_server.bodies[-1]
    assert body["temperature"] == 0.7
    assert body["top_p"] == 0.8
    assert body["repetition_penalty"] == 1.05
    assert body["max_tokens"] == 99
    assert body["seed"] == 7
    assert body["stop"] == ["a", "b"]
    assert (body["top_k"], body["min_p"]) == (20, 0.05)
    assert (body["presence_penalty"], body["frequency_penalty"], body["n"]) == (1.5, 0.25, 1)


def test_what_is_switched_off_is_sent_too(scripted_server: LocalServer) -> None:
    use(scripted_server, ask(), **UNCHECKED)
    body = scripted_server.bodies[-1]
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (-1, 0.0, 1.0)
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.0, 0.0)


def test_images_are_sent_lossless_in_their_place(scripted_server: LocalServer) -> None:
    request, images = make_request(1, sizes=((64, 32), (32, 96)), text="how many?")
    seen: list[Any] = []
    generate = scripted_server.engine.generate

    async def record(request: Any, images: Any) -> Any:
        seen.append(images)
        return await generate(request, images)

    scripted_server.engine.generate = record  # type: ignore[method-assign]
    for level in "0", "1":
        use(scripted_server, lambda e: e.generate(request, images), png_level=level, **UNCHECKED)
        assert [image.tobytes() for image in seen[-1]] == [image.tobytes() for image in images]
        content = scripted_server.bodies[-1]["messages"][1]["content"]
        assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
        assert scripted_server.bodies[-1]["messages"][0] == {
            "role": "system",
            "content": "Be brief.",
        }


def test_what_its_encoder_made_is_sent_as_it_is(scripted_server: LocalServer) -> None:
    request, images = make_request(1, sizes=((64, 32), (32, 96)))

    async def work(engine: OpenAIEngine) -> Any:
        encoder = engine.capabilities().image_encoder
        assert encoder is not None
        wire = [encoder.encode(*pair) for pair in zip(request.recipes, images, strict=True)]
        await engine.generate(request, wire)
        return [image.data.decode() for image in wire]

    urls = use(scripted_server, work, **UNCHECKED)
    content = scripted_server.bodies[-1]["messages"][1]["content"]
    assert [part["image_url"]["url"] for part in content[:2]] == urls


def test_a_body_is_whole_however_large_and_can_be_sent_again(scripted_server: LocalServer) -> None:
    """Three images of four megapixels that do not compress, with one refusal on the way."""
    noise = [Image.effect_noise((2048, 1024), 90).convert("RGB") for _ in range(3)]
    request, _ = make_request(1, sizes=((2048, 1024),) * 3)

    async def work(engine: OpenAIEngine) -> Any:
        scripted_server.faults.append(Fault(status=503, headers={"Retry-After": "0"}))
        return await engine.generate(request, noise)

    use(scripted_server, work, png_level="0", **UNCHECKED)
    first, second = scripted_server.bodies[-2:]
    assert first == second
    parts = [p for p in second["messages"][1]["content"] if p["type"] == "image_url"]
    sent = [Image.open(io.BytesIO(base64.b64decode(p["image_url"]["url"][22:]))) for p in parts]
    assert [image.tobytes() for image in sent] == [image.tobytes() for image in noise]


def test_a_schema_is_sent_where_the_server_follows_schemas(scripted_server: LocalServer) -> None:
    import dataclasses

    scripted_server.schemas = True
    request, images = make_request(1)
    schema = {"type": "object", "properties": {"colour": {"enum": ["red"]}}}

    async def work(engine: OpenAIEngine) -> Any:
        assert engine.capabilities().schema
        return await engine.generate(dataclasses.replace(request, schema=schema), images)

    assert json.loads(use(scripted_server, work, **UNCHECKED).text) == {"colour": "red"}


@settings(deadline=None)
@given(text=st.text(), stops=st.lists(st.text(min_size=1), max_size=3))
def test_any_text_survives_the_body(text: str, stops: list[str]) -> None:
    text = text.encode("utf-8", "replace").decode()
    stops = [stop.encode("utf-8", "replace").decode() for stop in stops]
    request, _ = make_request(1, sizes=((32, 32), (32, 32)), text=text, stop=tuple(stops))
    body = json.loads(bytes(chat_body("m", request, [b"data:one", b"data:two"], extra=False)))
    content = body["messages"][1]["content"]
    assert [part["image_url"]["url"] for part in content[:2]] == ["data:one", "data:two"]
    assert content[2]["text"] == text
    assert body["stop"] == (stops or None)


# Failures


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, b"oops"),
        Fault(502, b"<html>bad gateway</html>"),
        Fault(503, b'{"error": "loading"}'),
        Fault(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "0"}),
        Fault(200, b"this is no JSON"),
        Fault(200, b'{"error": {"message": "overloaded"}}'),
        Fault(200, b'{"choices": null}'),
        Fault(200, json.dumps(reply(content="B", finish_reason="abort")).encode()),
        Fault(200, json.dumps(reply(content="")).encode()),
        Fault(drop=True),
    ],
)
def test_a_passing_failure_is_tried_again(scripted_server: LocalServer, fault: Fault) -> None:
    assert ask_after_faults(scripted_server, fault, fault).text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(400, b'{"error": {"message": "bad image"}}'), "http_400"),
        (Fault(401, b""), "http_401"),
        (Fault(404, b'{"detail": "no such model"}'), "http_404"),
        (Fault(422, b'{"detail": "unexpected"}'), "http_422"),
        (Fault(400, b"This model's maximum context length is 4096 tokens"), "too_long"),
    ],
)
def test_a_lasting_failure_is_not_tried_again(
    scripted_server: LocalServer, fault: Fault, kind: str
) -> None:
    error = ask_after_faults(scripted_server, fault)
    assert isinstance(error, EngineError)
    assert (error.kind, error.retryable) == (kind, False)
    assert not scripted_server.faults


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(500), "http_500"),
        (Fault(429), "http_429"),
        (Fault(drop=True), "connection"),
        (Fault(200, json.dumps(reply(content="B", finish_reason="abort")).encode()), "aborted"),
        (Fault(200, json.dumps(reply(content="")).encode()), "empty"),
        (Fault(200, b'{"error": {"message": "overloaded"}}'), "error_body"),
    ],
)
def test_a_failure_that_stays_is_an_error_with_its_cause(
    scripted_server: LocalServer, fault: Fault, kind: str
) -> None:
    error = ask_after_faults(scripted_server, *[fault] * 2, retries="1")
    assert isinstance(error, EngineError)
    assert (error.kind, error.retryable) == (kind, True)
    assert not scripted_server.faults


def test_an_answer_that_takes_too_long_is_an_error(scripted_server: LocalServer) -> None:
    error = ask_after_faults(scripted_server, Fault(delay_s=2.0), timeout="0.3", retries="0")
    assert isinstance(error, EngineError)
    assert error.kind == "timeout"


def test_retry_after_is_obeyed(scripted_server: LocalServer) -> None:
    ask_after_faults(scripted_server, Fault(429, b"", {"Retry-After": "1"}))
    first, second = scripted_server.arrivals[-2:]
    assert second - first >= 1.0


def test_retry_after_is_read_in_both_forms() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after({"retry-after": date}) or 0) <= 30
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "1e9"}) == 600
    assert retry_after({}) is None


def test_no_more_requests_are_in_flight_than_allowed(scripted_server: LocalServer) -> None:
    async def work(engine: OpenAIEngine) -> Any:
        scripted_server.most_active = 0
        body = json.dumps(reply(content="A")).encode()
        scripted_server.faults.extend([Fault(200, body, until_active=3)] * 20)
        return await asyncio.gather(*(engine.generate(*make_request(n)) for n in range(20)))

    use(scripted_server, work, concurrency="3", **UNCHECKED)
    assert scripted_server.most_active == 3


def test_a_cancelled_request_closes_its_connection(scripted_server: LocalServer) -> None:
    async def work(engine: OpenAIEngine) -> float:
        scripted_server.faults.append(Fault(delay_s=0.5))
        task = asyncio.ensure_future(engine.generate(*make_request(1)))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return time.monotonic() - begun

    assert use(scripted_server, work, **UNCHECKED) < 0.3


# Several servers


@pytest.fixture
def second_server() -> Iterator[LocalServer]:
    with LocalServer(ScriptedEngine(EngineConfig("scripted")), model="scripted") as server:
        yield server


def test_several_servers_share_the_work(
    scripted_server: LocalServer, second_server: LocalServer
) -> None:
    async def work(engine: OpenAIEngine) -> set[str]:
        done = await asyncio.gather(*(engine.generate(*make_request(n)) for n in range(12)))
        return {c.engine["endpoint"] for c in done}

    urls = f"{scripted_server.url},{second_server.url}"
    assert use(urls, work, **UNCHECKED) == {scripted_server.url, second_server.url}


def test_a_server_that_fails_is_left_alone_for_a_while(
    scripted_server: LocalServer, second_server: LocalServer
) -> None:
    async def work(engine: OpenAIEngine) -> list[str]:
        scripted_server.faults.extend([Fault(503, headers={"Retry-After": "60"})] * 100)
        return [(await engine.generate(*make_request(n))).engine["endpoint"] for n in range(6)]

    begun = time.monotonic()
    urls = f"{scripted_server.url},{second_server.url}"
    assert set(use(urls, work, **UNCHECKED)) == {second_server.url}
    assert time.monotonic() - begun < 30
    assert len(scripted_server.faults) >= 98


def test_servers_that_differ_are_refused(
    scripted_server: LocalServer, second_server: LocalServer
) -> None:
    second_server.models = [{"id": "scripted", "root": "/models/other"}]
    with pytest.raises(UserError, match="servers differ"):
        use(f"{scripted_server.url},{second_server.url}", capabilities, **UNCHECKED)


# What is found out at start


def test_without_a_url_the_error_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match="base_url=http"):
        asyncio.run(OpenAIEngine(EngineConfig("m")).start())


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        use("http://127.0.0.1:9/v1", capabilities)


def test_a_model_that_is_not_served_is_refused_with_those_that_are(
    scripted_server: LocalServer,
) -> None:
    scripted_server.models = [{"id": "one"}, {"id": "two"}]
    with pytest.raises(UserError, match="lists: one, two"):
        use(scripted_server, capabilities)


def test_a_server_that_lists_nothing_can_be_trusted(scripted_server: LocalServer) -> None:
    async def work(engine: OpenAIEngine) -> Any:
        return await ask()(engine)

    scripted_server.models = [{"id": "scripted"}]
    listing, scripted_server.models = scripted_server.models, []
    with pytest.raises(UserError, match="check_model=no"):
        use(scripted_server, work)
    scripted_server.models = listing
    assert use(scripted_server, work, check_model="no", **UNCHECKED).text


def test_the_context_length_is_the_servers(scripted_server: LocalServer) -> None:
    scripted_server.models = [{"id": "scripted", "max_model_len": 8192}]
    assert use(scripted_server, capabilities, **UNCHECKED).context_tokens == 8192


@pytest.mark.parametrize(
    "field", [{"repetition_penalty": 1.05}, {"top_k": 20}, {"min_p": 0.1}], ids=str
)
def test_a_server_without_the_extra_fields_cannot_honour_them(
    scripted_server: LocalServer, field: dict[str, Any]
) -> None:
    scripted_server.known = STANDARD
    can = use(scripted_server, capabilities, **UNCHECKED)
    assert not can.sampling & field.keys()
    assert use(scripted_server, ask(), **UNCHECKED).text
    error = use(scripted_server, ask(**field), **UNCHECKED)
    assert isinstance(error, EngineError)
    assert error.kind == "unsupported"


class Processor:
    """Resizes as the Qwen-VL families' processors do."""

    def __init__(self, min_pixels: int, max_pixels: int, factor: int = 32) -> None:
        self.limits = {"min_pixels": min_pixels, "max_pixels": max_pixels, "factor": factor}

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = smart_resize(size[1], size[0], **self.limits)
        return width, height


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (4 * 1024, 16384 * 1024, (4096, 4097 * 1024 - 1)),  # nothing that matters is resized
        (65536, 16384 * 1024, (65536, 4097 * 1024 - 1)),  # the family's own settings
        (16 * 1024, 2048 * 1024, (16384, 2049 * 1024 - 1)),
        (8192, 29184, (8192, 29 * 1024 - 1)),  # the bundled model's: 28 tokens fit
    ],
)
def test_sizes_that_the_server_leaves_alone_are_measured(
    scripted_server: LocalServer, low: int, high: int, found: tuple[int, int]
) -> None:
    scripted_server.pixels = Processor(low, high)
    can = use(scripted_server, capabilities)
    assert (can.min_pixels, can.max_pixels, can.factor) == (*found, 32)


@pytest.mark.parametrize("family", ["qwen2.5-vl", "glm-4v"])
def test_sizes_are_measured_in_the_family_s_own_tiles(
    scripted_server: LocalServer, family: str
) -> None:
    tile = 28 * 28
    scripted_server.pixels = Processor(4 * tile, 16384 * tile, 28)
    scripted_server.factor = 28
    can = use(scripted_server, capabilities, family)
    assert (can.min_pixels, can.max_pixels, can.factor) == (4 * tile, 4096 * 32**2, 28)
    with pytest.raises(UserError, match=r"other visual tokens than the family qwen3-vl.*--family"):
        use(scripted_server, capabilities, "qwen3-vl")


def test_a_family_that_leaves_sizes_to_the_server_needs_no_argument(
    scripted_server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_server.pixels = lambda size: (448, 448)
    can = use(scripted_server, capabilities, "server")
    assert (can.factor, can.max_pixels, can.facts["pixels"]) == (None, None, "unchecked")
    assert "--family NAME" in caplog.text


def test_the_model_that_replies_name_is_recorded(scripted_server: LocalServer) -> None:
    scripted_server.rewrite = lambda answer: {**answer, "model": "scripted-2026-08-01"}
    can = use(scripted_server, capabilities, **UNCHECKED)
    assert can.facts["reply_model"] == "scripted-2026-08-01"


def test_a_reply_by_another_model_is_an_error_with_the_way_out(
    scripted_server: LocalServer,
) -> None:
    async def work(engine: OpenAIEngine) -> Any:
        scripted_server.rewrite = lambda answer: {**answer, "model": "scripted-2026-09-01"}
        return await ask()(engine)

    scripted_server.rewrite = lambda answer: {**answer, "model": "scripted-2026-08-01"}
    error = use(scripted_server, work, **UNCHECKED)
    assert isinstance(error, EngineError) and (error.kind, error.retryable) == (
        "other_model",
        False,
    )
    assert "scripted-2026-09-01" in str(error) and "scripted-2026-08-01" in str(error)
    assert "--engine-arg reply_model=unchecked" in str(error)
    assert use(scripted_server, work, reply_model="unchecked", **UNCHECKED).text
    scripted_server.rewrite = lambda answer: {k: v for k, v in answer.items() if k != "model"}
    assert use(scripted_server, ask(), **UNCHECKED).text


def test_servers_whose_replies_name_different_models_are_refused(
    scripted_server: LocalServer,
) -> None:
    count = 0

    def alternate(answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {**answer, "model": f"scripted-{count % 2}"}

    scripted_server.rewrite = alternate
    with pytest.raises(UserError, match=r"scripted-0.*scripted-1.*reply_model=unchecked"):
        use(scripted_server, capabilities, **UNCHECKED)


def test_an_image_that_the_server_refuses_is_one_that_it_cannot_take(
    scripted_server: LocalServer,
) -> None:
    chat = scripted_server.chat

    def short_context(body: dict[str, Any]) -> tuple[int, Any]:
        status, answer = chat(body)
        if status == 200 and answer["usage"]["prompt_tokens"] > 1100:
            return 400, {"error": {"message": "maximum context length is 1100"}}
        return status, answer

    scripted_server.chat = short_context  # type: ignore[method-assign]
    assert use(scripted_server, capabilities).max_pixels == 1025 * 1024 - 1


def test_a_server_that_resizes_everything_is_refused(scripted_server: LocalServer) -> None:
    scripted_server.pixels = lambda size: (448, 448)
    with pytest.raises(UserError, match="pixels=unchecked"):
        use(scripted_server, capabilities)
    assert use(scripted_server, capabilities, **UNCHECKED).facts["pixels"] == "unchecked"


def test_a_server_that_takes_too_few_images_is_refused(scripted_server: LocalServer) -> None:
    scripted_server.most_images = 2
    with pytest.raises(UserError, match="4 small images"):
        use(scripted_server, capabilities, max_pixels="131072")


def test_a_server_that_does_not_count_tokens_cannot_be_checked(
    scripted_server: LocalServer,
) -> None:
    scripted_server.rewrite = lambda answer: {k: v for k, v in answer.items() if k != "usage"}
    with pytest.raises(UserError, match="prompt tokens"):
        use(scripted_server, capabilities)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        ("host:8000", "http://host:8000/v1"),
        ("https://host/api/openai", "https://host/api/openai"),
    ],
)
def test_base_urls_get_their_v1(given: str, expected: str) -> None:
    assert base_url(given) == expected
