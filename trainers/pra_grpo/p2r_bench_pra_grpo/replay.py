"""Replay of rollouts as the answers to a mode's calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from p2r_bench.types import Ask, Completion, Request


class Replay:
    """An `ask` that answers some roles with rollouts and passes the other calls on.

    Args:
        completions: Role to its completion, which is replayed once.
        ask: Answers the other roles; None without a second model.
    """

    def __init__(self, completions: Mapping[str, Completion], ask: Ask | None = None) -> None:
        self._left = dict(completions)
        self._roles = frozenset(completions)
        self._ask = ask

    async def ask(self, request: Request) -> Completion:
        """Return the rollout of the request's role, or the answer of the model that plays it."""
        if request.role in self._left:
            completion = self._left.pop(request.role)
            return replace(completion, request=completion.request or request)
        if request.role in self._roles or self._ask is None:
            raise RuntimeError(
                f"the mode calls the role {request.role!r} once more than there are rollouts"
            )
        answer = await self._ask(request)
        return answer if answer.request is not None else replace(answer, request=request)
