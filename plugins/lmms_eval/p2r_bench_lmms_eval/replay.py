"""Model that replays stored answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms

from p2r_bench_lmms_eval.scoring import handed
from p2r_bench_lmms_eval.tokens import token_counts

if TYPE_CHECKING:
    from p2r_bench_lmms_eval.export import Stored


class Replay(lmms):
    """Model that answers each document with its stored answer."""

    is_simple = False

    def __init__(self, task: Any, stored: Mapping[int, Stored]) -> None:
        super().__init__()
        self._task = task
        self._stored = stored

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        results = []
        for request in requests:
            one = self._stored[request.args[3]]
            text = handed(self._task, one.sample, one.prediction.answer)
            results.append(GenerationResult(text, TokenCounts(**token_counts(one.prediction))))
        return results

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError("stored runs hold generate_until answers only")

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError("stored runs hold generate_until answers only")
