"""Modes as a third party may write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from p2r_bench import Prediction, TwoStage
from p2r_bench.types import Ask, Sample


class Own:
    """One call of a role of its own, with the whole image as often as `images` says."""

    roles: tuple[str, ...] = ("zoom",)

    def __init__(self, images: int = 1) -> None:
        self.images = images

    def max_images(self, profile: Any) -> int:
        return self.images

    async def solve(self, sample: Sample, ask: Ask, profile: Any) -> Prediction:
        two = TwoStage(profile)
        request = two.single_request(sample, "think")
        system, user = request.messages
        content = (*[two.whole(sample)] * self.images, user.content[-1])
        reply = await ask(
            replace(request, role="zoom", messages=(system, replace(user, content=content)))
        )
        return Prediction(sample.id, answer=two.answer(reply.text, "zoom"), completions=(reply,))


class Unnamed(Own):
    """Calls a role that it does not name."""

    roles = ("perceive", "reason")
