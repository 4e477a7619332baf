"""The `openai` engine: any server with the chat completions API."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from p2r_bench.engines.arguments import argument, read_arguments
from p2r_bench.engines.chat import check_images
from p2r_bench.engines.openai_format import EXTRA_FIELDS
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import (
    Capabilities,
    Completion,
    EngineConfig,
    Request,
    Sampling,
    WireImage,
)

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.engines.endpoints import Endpoint, Endpoints
    from p2r_bench.engines.http_body import Body
    from p2r_bench.engines.server_probe import Found


@dataclass(frozen=True)
class Arguments:
    """What `--engine-arg` sets."""

    base_url: tuple[str, ...] = argument(
        (), "URL of the server, or of several that serve the same model; else from OPENAI_BASE_URL"
    )
    api_key_env: str = argument("OPENAI_API_KEY", "environment variable that holds the API key")
    concurrency: int = argument(32, "requests in flight at once, over all servers", least=1)
    timeout: float = argument(600.0, "seconds to wait for an answer", least=0.001)
    retries: int = argument(4, "how often a failed call is repeated", least=0)
    png_level: int = argument(
        1, "compression of images, 0 (none) to 9; more than 1 takes ten times as long", least=0
    )
    check_model: bool = argument(True, "whether the server must list the model under /v1/models")
    pixels: Literal["checked", "unchecked"] = argument(
        "checked", "whether to check at start that the server leaves image sizes alone"
    )
    max_pixels: int = argument(4096 * 32**2, "largest image size to check, in pixels", least=65536)


class OpenAIEngine:
    """Sends requests to one or several servers that serve the same model."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.arguments = read_arguments(Arguments, config.args, "openai")
        self.urls = self.arguments.base_url or tuple(
            url for url in os.environ.get("OPENAI_BASE_URL", "").split(",") if url
        )
        self._endpoints: Endpoints | None = None
        self._places = asyncio.Semaphore(self.arguments.concurrency)
        self._found: Found | None = None
        self._served: Mapping[str, Any] = {}

    async def identify(self) -> str:
        """The name that the server knows, at the revision that the user says it serves.

        The server is not asked, so that a finished run is recognised when it is gone.
        """
        return f"{self.config.model}@{self.config.revision or 'served'}"

    async def start(self) -> None:
        """Check on every server that it serves the model and what it can honour; see `Engine.start`."""
        from p2r_bench.engines.endpoints import Endpoints

        if not self.urls:
            raise UserError(
                "The openai engine needs the server's URL: --engine-arg base_url=http://localhost:8000/v1 "
                "(several are separated by commas), or OPENAI_BASE_URL."
            )
        arguments = self.arguments
        self._endpoints = Endpoints(
            self.urls,
            key=os.environ.get(arguments.api_key_env),
            concurrency=arguments.concurrency,
            timeout_s=arguments.timeout,
            retries=arguments.retries,
        )
        if arguments.png_level > 9:
            raise UserError(f"--engine-arg png_level={arguments.png_level}: levels are 0 to 9.")
        served = [await self._look_up(endpoint) for endpoint in self._endpoints.all]
        found = [await self._probe(endpoint) for endpoint in self._endpoints.all]
        if len(set(found)) > 1 or len({entry.get("root") for entry in served}) > 1:
            listing = "\n".join(
                f"  {e.url}: {entry.get('root', self.config.model)}, {f}"
                for e, entry, f in zip(self._endpoints.all, served, found, strict=True)
            )
            raise UserError(
                f"The servers differ; several servers must serve the same model alike:\n{listing}"
            )
        self._found, self._served = found[0], served[0]

    async def _look_up(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """The server's entry for the model; empty when it is not to be checked."""
        assert self._endpoints is not None
        if not self.arguments.check_model:
            return {}
        model = self.config.model
        advice = "--engine-arg check_model=no trusts the name."
        try:
            answer = await self._endpoints.call(endpoint, "GET", "/models")
            entries = {str(entry["id"]): entry for entry in answer["data"]}
        except EngineError as error:
            raise UserError(f"{endpoint.url} cannot be used: {error}") from error
        except (KeyError, TypeError) as error:
            raise UserError(f"{endpoint.url}/models is no list of models. {advice}") from error
        if model not in entries:
            names = ", ".join(sorted(entries)) or "none"
            raise UserError(
                f"--model {model}: not served by {endpoint.url}, which lists: {names}. {advice}"
            )
        return dict(entries[model])

    async def _probe(self, endpoint: Endpoint) -> Found:
        from p2r_bench.engines.server_probe import probe

        async def send(request: Request, images: Sequence[Image.Image], extra: bool) -> Completion:
            assert self._endpoints is not None
            body = await self._body(request, images, extra)
            return self._read(
                await self._endpoints.call(endpoint, "POST", "/chat/completions", body)
            )

        return await probe(
            send,
            where=endpoint.url,
            max_images=self.config.max_images,
            max_pixels=self.arguments.max_pixels if self.arguments.pixels == "checked" else None,
        )

    def capabilities(self) -> Capabilities:
        """What was found at start."""
        if self._found is None:
            raise RuntimeError("the engine has not been started")
        from p2r_bench.engines.data_urls import url_encoder
        from p2r_bench.engines.server_probe import FACTOR

        found, served = self._found, self._served
        context = served.get("max_model_len")
        fields = frozenset(Sampling.__dataclass_fields__)
        checked = self.arguments.pixels == "checked"
        return Capabilities(
            sampling=fields if found.extra else fields - EXTRA_FIELDS,
            schema=found.schema,
            concurrency=self.arguments.concurrency,
            context_tokens=context if isinstance(context, int) else None,
            min_pixels=found.min_pixels,
            max_pixels=found.max_pixels,
            factor=FACTOR if checked else None,
            facts={
                "engine": "openai",
                "served": served.get("root", self.config.model),
                "owned_by": served.get("owned_by"),
                "pixels": self.arguments.pixels,
                "extra_fields": found.extra,
            },
            image_encoder=url_encoder(self.arguments.png_level),
        )

    async def generate(
        self, request: Request, images: Sequence[Image.Image | WireImage]
    ) -> Completion:
        """Run one request; see `Engine.generate`."""
        if self._endpoints is None or self._found is None:
            raise EngineError("the engine is not running", kind="closed")
        check_images(request, images, None)
        if not self._found.extra:
            for name in sorted(EXTRA_FIELDS):
                if getattr(request.sampling, name) != getattr(Sampling, name):
                    raise EngineError(
                        f"the server takes no {name}", kind="unsupported", retryable=False
                    )
        if request.schema is not None and not self._found.schema:
            raise EngineError(
                "the server does not enforce JSON schemas", kind="unsupported", retryable=False
            )
        begun = time.monotonic()
        async with self._places:
            started = time.monotonic()
            body = await self._body(request, images, self._found.extra)
            encoded = time.monotonic()
            answer, endpoint = await self._endpoints.post("/chat/completions", body)
        completion = self._read(answer)
        return dataclasses.replace(
            completion,
            visual_tokens=request.visual_tokens,
            timings={
                "queue": started - begun,
                "prepare": encoded - started,
                "engine": time.monotonic() - encoded,
            },
            engine={"engine": "openai", "endpoint": endpoint.url},
        )

    async def _body(
        self, request: Request, images: Sequence[Image.Image | WireImage], extra: bool
    ) -> Body:
        from p2r_bench.engines.data_urls import wire_images
        from p2r_bench.engines.openai_format import chat_body

        if all(isinstance(image, WireImage) for image in images):
            ready = wire_images(images, self.arguments.png_level)
        else:
            ready = await asyncio.to_thread(wire_images, images, self.arguments.png_level)
        urls = [image.data for image in ready]
        return chat_body(self.config.model, request, urls, extra=extra)

    @staticmethod
    def _read(answer: Any) -> Completion:
        from p2r_bench.engines.openai_format import read_completion

        return read_completion(answer)

    async def close(self) -> None:
        """Close connections."""
        endpoints, self._endpoints = self._endpoints, None
        if endpoints is not None:
            await endpoints.close()
