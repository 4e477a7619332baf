"""The `openai` engine: any server with the chat completions API."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from p2r_bench.engines.arguments import argument, read_arguments
from p2r_bench.engines.chat import check_images
from p2r_bench.engines.openai_access import dialect, query, request_headers
from p2r_bench.engines.openai_format import EXTRA_FIELDS, chat_body
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import (
    Capabilities,
    Completion,
    EngineConfig,
    Request,
    Sampling,
    WireImage,
    changed,
)

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.engines.openai_answer import ReplyModel
    from p2r_bench.engines.server_probe import Found
    from p2r_bench.http.body import Body
    from p2r_bench.http.retries import Endpoints


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arguments:
    """The arguments of `--engine-arg`."""

    base_url: tuple[str, ...] = argument(
        (), "URL of the server, or of several that serve the same model; else from OPENAI_BASE_URL"
    )
    api_key_env: str = argument("OPENAI_API_KEY", "environment variable that holds the API key")
    api_key_header: str = argument(
        "Authorization",
        "header that carries the key: as a bearer token in this one, bare in others",
    )
    headers: Mapping[str, str] = argument(
        {}, "further headers; ${NAME} in a value stands for an environment variable"
    )
    api_version: str | None = argument(None, "api-version of every call's query, for Azure")
    concurrency: int = argument(32, "requests in flight at once, over all servers", least=1)
    timeout: float = argument(600.0, "seconds to wait for a whole answer", least=0.001)
    retries: int = argument(4, "how often a failed call is repeated", least=0)
    wait: float = argument(
        0.0, "seconds to wait at start for a server that is still loading", least=0
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = argument(
        "max_tokens", "name under which the token cap is sent"
    )
    omit: tuple[str, ...] = argument(
        (), "request fields that are not sent, so that the server's defaults decide"
    )
    extra_body: Mapping[str, Any] = argument({}, "further fields of every request")
    png_level: int = argument(
        1, "compression of images, 0 (none) to 9; more than 1 takes ten times as long", least=0
    )
    check_model: bool = argument(True, "whether the server must list the model under /v1/models")
    pixels: Literal["checked", "unchecked"] = argument(
        "checked", "whether to check at start that the server leaves image sizes alone"
    )
    reply_model: Literal["checked", "unchecked"] = argument(
        "checked", "whether all replies must name the same model"
    )
    max_pixels: int = argument(4096 * 32**2, "largest image size to check, in pixels", least=65536)


class OpenAIEngine:
    """Sends requests to one or several servers that serve the same model."""

    identifies_weights = False

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.arguments = read_arguments(Arguments, config.args, "openai")
        self._dialect = dialect(self.arguments)
        self.urls = self.arguments.base_url or tuple(
            url for url in os.environ.get("OPENAI_BASE_URL", "").split(",") if url
        )
        self._endpoints: Endpoints | None = None
        self._places = asyncio.Semaphore(self.arguments.concurrency)
        self._found: Found | None = None
        self._served: Mapping[str, Any] = {}
        self._reply_model: ReplyModel | None = None
        self._factor: int | None = None
        self._gives_logprobs = True

    async def identify(self) -> str:
        """Return the model's name on the server, with the revision that the user gave.

        The server is not asked, so that a finished run is recognised after the server has stopped.
        """
        return f"{self.config.model}@{self.config.revision or 'served'}"

    async def start(self) -> None:
        """Check that every server serves the model, and find the servers' capabilities; see `Engine.start`."""
        from p2r_bench.engines.openai_answer import ReplyModel
        from p2r_bench.engines.openai_start import Start
        from p2r_bench.http.retries import Endpoints

        if not self.urls:
            raise UserError(
                "The openai engine needs the server's URL: --engine-arg base_url=http://localhost:8000/v1 "
                "(several are separated by commas), or OPENAI_BASE_URL."
            )
        arguments = self.arguments
        self._endpoints = Endpoints(
            self.urls,
            headers=request_headers(arguments, key_is_wanted="api_key_env" in self.config.args),
            params=query(arguments),
            concurrency=arguments.concurrency,
            timeout_s=arguments.timeout,
            retries=arguments.retries,
        )
        if arguments.png_level > 9:
            raise UserError(f"--engine-arg png_level={arguments.png_level}: levels are 0 to 9.")
        self._reply_model = ReplyModel(checked=arguments.reply_model == "checked")
        start = Start(
            self._endpoints,
            arguments,
            self.config.model,
            self._body,
            self.config.max_images,
            self._reply_model,
            self.config.family,
        )
        served = [await start.look_up(endpoint) for endpoint in self._endpoints.all]
        found = [await start.find(endpoint) for endpoint in self._endpoints.all]
        if len(set(found)) > 1 or len({entry.get("root") for entry in served}) > 1:
            listing = "\n".join(
                f"  {e.url}: {entry.get('root', self.config.model)}, {f}"
                for e, entry, f in zip(self._endpoints.all, served, found, strict=True)
            )
            raise UserError(
                f"The servers differ; several servers must serve the same model alike:\n{listing}"
            )
        family = start.sized_family()
        self._found, self._served = found[0], served[0]
        self._factor = family.factor if family else None
        if arguments.pixels == "checked" and family is None:
            log.warning(
                "%s: image sizes are not checked, because the family %s leaves them to the server; "
                "--family NAME names the model's own family",
                *(self.config.model, self.config.family),
            )

    def capabilities(self) -> Capabilities:
        """The capabilities found at start."""
        if self._found is None:
            raise RuntimeError("the engine has not been started")
        from p2r_bench.engines.data_urls import url_encoder

        arguments, found, served = self.arguments, self._found, self._served
        context = served.get("max_model_len")
        return Capabilities(
            sampling=frozenset(Sampling.__dataclass_fields__) - self._not_taken,
            schema=found.schema,
            concurrency=arguments.concurrency,
            context_tokens=context if isinstance(context, int) else None,
            min_pixels=found.min_pixels,
            max_pixels=found.max_pixels,
            factor=self._factor,
            facts={
                "engine": "openai",
                "served": served.get("root", self.config.model),
                "owned_by": served.get("owned_by"),
                "reply_model": self._reply_model.name if self._reply_model else None,
                "pixels": "unchecked" if self._factor is None else "checked",
                "extra_fields": found.extra,
                **({"omitted": sorted(arguments.omit)} if arguments.omit else {}),
                **({"extra_body": dict(arguments.extra_body)} if arguments.extra_body else {}),
            },
            image_encoder=url_encoder(self.arguments.png_level),
            canaries=("box", "order", "tokens", "images", "cache"),
        )

    @property
    def _not_taken(self) -> frozenset[str]:
        """Sampling fields that the server does not know, except those that the user omits."""
        assert self._found is not None
        return frozenset() if self._found.extra else EXTRA_FIELDS - self._dialect.omit

    async def generate(
        self, request: Request, images: Sequence[Image.Image | WireImage]
    ) -> Completion:
        """Run one request; see `Engine.generate`."""
        if self._endpoints is None or self._found is None:
            raise EngineError("the engine is not running", kind="closed")
        check_images(request, images, None)
        for name in sorted(self._not_taken):
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
            try:
                completion, endpoint = await self._endpoints.post(
                    "/chat/completions", body, self._read
                )
            except EngineError as error:
                if not self._refused_logprobs(request, error):
                    raise
                body = await self._body(request, images, self._found.extra)
                completion, endpoint = await self._endpoints.post(
                    "/chat/completions", body, self._read
                )
        return dataclasses.replace(
            completion,
            timings={
                "queue": started - begun,
                "prepare": encoded - started,
                "engine": time.monotonic() - encoded,
            },
            engine={"engine": "openai", "endpoint": endpoint.url},
        )

    async def ask_each(
        self, request: Request, images: Sequence[Image.Image]
    ) -> Mapping[str, Completion]:
        """Return each server's completion by URL. An empty text is accepted.

        Log-probabilities are left out once a server has refused the field.

        Raises:
            EngineError: A server gives no completion.
        """
        if self._endpoints is None or self._found is None:
            raise EngineError("the engine is not running", kind="closed")
        from p2r_bench.engines.openai_answer import parse_answer

        def read(answer: Any) -> Completion:
            assert self._reply_model is not None
            self._reply_model.compare(answer)
            return parse_answer(answer)[0]

        body = await self._body(request, images, self._found.extra)
        replies = {}
        try:
            for endpoint in self._endpoints.all:
                replies[endpoint.url] = await self._endpoints.ask(
                    endpoint, "POST", "/chat/completions", body, read
                )
        except EngineError as error:
            if not self._refused_logprobs(request, error):
                raise
            return await self.ask_each(request, images)
        return replies

    def _read(self, answer: Any) -> Completion:
        from p2r_bench.engines.openai_answer import read_completion

        assert self._reply_model is not None
        self._reply_model.compare(answer)
        return read_completion(answer)

    def _refused_logprobs(self, request: Request, error: EngineError) -> bool:
        """Return whether an error may be about log-probabilities. If so, stop requesting them."""
        asked = request.logprobs and self._gives_logprobs
        if asked and error.status in (400, 422):
            self._gives_logprobs = False
            return True
        return False

    async def _body(
        self, request: Request, images: Sequence[Image.Image | WireImage], extra: bool
    ) -> Body:
        from p2r_bench.engines.data_urls import wire_images

        if not self._gives_logprobs:
            request = changed(request, logprobs=False)
        if all(isinstance(image, WireImage) for image in images):
            ready = wire_images(images, self.arguments.png_level)
        else:
            ready = await asyncio.to_thread(wire_images, images, self.arguments.png_level)
        urls = [image.data for image in ready]
        return chat_body(self.config.model, request, urls, extra=extra, dialect=self._dialect)

    async def close(self) -> None:
        """Close connections."""
        endpoints, self._endpoints = self._endpoints, None
        if endpoints is not None:
            await endpoints.close()
