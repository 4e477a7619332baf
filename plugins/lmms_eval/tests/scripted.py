"""A scripted engine under the name `scripted`, in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from p2r_bench import Completion, EngineConfig, Request
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.plugins import Entry, registry


class Scripted:
    """Replies of the scripted engine, and the requests it received.

    Attributes:
        reply: From a request to its answer; may raise EngineError.
        requests: What was asked.
        models: Role to the model that was asked.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Request], str] = self.by_role
        self.requests: list[Request] = []
        self.models: dict[str, str] = {}

    @staticmethod
    def by_role(request: Request) -> str:
        """A box for the perceiver, and always the answer A."""
        if request.role == "perceive":
            return '[{"bbox_2d": [100, 100, 400, 400], "label": "sign"}]'
        return "A" if request.role == "answer" else "<think>So.</think><answer>A</answer>"

    @classmethod
    def installed(cls, monkeypatch: pytest.MonkeyPatch) -> Scripted:
        """The engine, registered for the length of a test."""
        script = cls()

        class Engine(ScriptedEngine):
            def __init__(self, config: EngineConfig) -> None:
                super().__init__(config, script=lambda request: script.reply(request))

            async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
                script.requests.append(request)
                script.models[request.role] = self.config.model
                return await super().generate(request, images)

        entry = Entry("scripted", Engine, "tests", "1")
        known: dict[str, Any] = registry()._entries["engine"]
        monkeypatch.setitem(known, "scripted", entry)
        return script
