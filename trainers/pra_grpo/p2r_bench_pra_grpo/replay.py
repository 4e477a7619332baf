"""Answering a mode's calls with what has been generated already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from p2r_bench.types import Ask, Completion, Request


class Replay:
    """An `ask` that gives rollouts for some roles and passes the other calls on.

    Args:
        completions: Role to what is replayed, once.
        ask: Answers the other roles; None where there is none.
    """

    def __init__(self, completions: Mapping[str, Completion], ask: Ask | None = None) -> None:
        self._left = dict(completions)
        self._roles = frozenset(completions)
        self._ask = ask

    async def ask(self, request: Request) -> Completion:
        """What is known for the request's role, or the answer of the model that plays it."""
        if request.role in self._left:
            completion = self._left.pop(request.role)
            return replace(completion, request=completion.request or request)
        if request.role in self._roles or self._ask is None:
            raise RuntimeError(
                f"the mode calls the role {request.role!r} once more than there are rollouts"
            )
        answer = await self._ask(request)
        return answer if answer.request is not None else replace(answer, request=request)
