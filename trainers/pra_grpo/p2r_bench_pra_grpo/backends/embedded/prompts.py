"""Prompts of the policy: requests of the adapter, as token ids and visual features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from cachetools import FIFOCache

from p2r_bench.adapter import TwoStage
from p2r_bench.errors import EngineError, ImageError, P2RError
from p2r_bench.types import Completion, Request, Sample
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt, PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.pictures import Images, Pictures
from p2r_bench_pra_grpo.backends.embedded.policy import Policy, Seen
from p2r_bench_pra_grpo.config import GRPO
from p2r_bench_pra_grpo.stage import CALL_ROLE, StageRole

KEPT_BYTES = 1 << 30
"""Most bytes of visual features in the cache of a frozen vision tower."""


Made = tuple[Prompt, Seen | None] | P2RError


@dataclass(frozen=True)
class Asked:
    """One prompt of a step.

    Attributes:
        request: The adapter's request, with the sampling of rollouts.
        seen: Visual features; None where the tower is trained too.
    """

    sample: Sample
    request: Request
    prompt: Prompt
    seen: Seen | None


class Prompts:
    """Builder of the policy's prompts. Features of a frozen tower are cached by request.

    Args:
        builder: Builder of the policy's checkpoint.
    """

    def __init__(
        self,
        role: StageRole,
        two: TwoStage,
        grpo: GRPO,
        policy: Policy,
        builder: PromptBuilder,
        pictures: Pictures,
    ) -> None:
        self._role = role
        self._two = two
        self._grpo = grpo
        self._policy = policy
        self._builder = builder
        self._pictures = pictures
        self._known: FIFOCache[str, tuple[Prompt, Seen]] = FIFOCache(
            KEPT_BYTES, getsizeof=lambda known: _size(known[1])
        )

    def request(self, sample: Sample, boxes: Completion | None) -> Request:
        """Return the policy's request for a sample.

        Args:
            boxes: The frozen perceiver's text, for a reasoner.

        Raises:
            ImageError: The image's shape is one the model family refuses.
        """
        grpo, two = self._grpo, self._two
        sampling = {"temperature": grpo.temperature, "top_p": grpo.top_p}
        if grpo.max_response_tokens is not None:
            sampling["max_tokens"] = grpo.max_response_tokens
        if self._role == "perceiver":
            return two.perceive_request(sample, **sampling)
        if self._role == "baseline":
            return two.single_request(sample, CALL_ROLE[self._role], **sampling)
        if boxes is None:
            raise ValueError("a reasoner's prompt needs the perceiver's text")
        return two.reason_request(sample, two.evidence(sample, boxes.text), **sampling)

    def of(
        self, samples: Sequence[Sample], boxes: Sequence[Completion | P2RError | None]
    ) -> list[Asked | P2RError]:
        """Return the prompt of every sample, or the error."""
        requests: list[Request | P2RError] = []
        for sample, said in zip(samples, boxes, strict=True):
            try:
                requests.append(said if isinstance(said, P2RError) else self.request(sample, said))
            except ImageError as error:
                requests.append(error)
        asked = {_key(r): r for r in requests if isinstance(r, Request)}
        made: dict[str, Made] = {k: self._known[k] for k in asked if k in self._known}
        made |= self._make({k: r for k, r in asked.items() if k not in self._known})
        found: list[Asked | P2RError] = []
        for sample, request in zip(samples, requests, strict=True):
            one = request if isinstance(request, P2RError) else made[_key(request)]
            if isinstance(request, P2RError) or isinstance(one, P2RError):
                found.append(one)  # type: ignore[arg-type]
            else:
                found.append(Asked(sample, request, *one))
        return found

    def _make(self, requests: Mapping[str, Request]) -> dict[str, Made]:
        """Build prompts and features of requests that are not in the cache."""
        made: dict[str, Made] = {}
        ready: dict[str, Prompt] = {}
        images = self._pictures.of(list(requests.values()))
        for (key, request), pixels in zip(requests.items(), images, strict=True):
            try:
                ready[key] = self._prompt(request, pixels)
            except (EngineError, ImageError) as error:
                made[key] = error
        if self._policy.train_vision or not ready:
            return {**made, **{key: (prompt, None) for key, prompt in ready.items()}}
        with torch.no_grad():
            seen = self._policy.see(list(ready.values()))
        for (key, prompt), features in zip(ready.items(), seen, strict=True):
            known = replace(prompt, images=()), features
            made[key] = known
            with suppress(ValueError):  # larger than the cache
                self._known[key] = known
        return made

    def _prompt(self, request: Request, images: Images | ImageError) -> Prompt:
        if isinstance(images, ImageError):
            raise images
        prompt = self._builder.build(request, images)
        cap = self._grpo.max_prompt_tokens
        if cap is not None and len(prompt.ids) > cap:
            raise EngineError(
                f"{request.id}: {len(prompt.ids)} prompt tokens, more than grpo.max_prompt_tokens = {cap}",
                kind="too_long",
                retryable=False,
            )
        return prompt


def _key(request: Request) -> str:
    return f"{request.sample_id}:{request.digest}"


def _size(seen: Seen) -> int:
    return sum(t.numel() * t.element_size() for t in (seen.merged, *seen.deep))
