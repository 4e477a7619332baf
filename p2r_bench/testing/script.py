"""Scripted replies in place of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from p2r_bench.types import Completion, Request, Sample

Reply = str | Exception
"""The text of a reply, or an exception to raise."""

Replies = (
    Reply | Sequence[Reply] | Mapping[str, Reply | Sequence[Reply]] | Callable[[Request], Reply]
)
"""One reply to everything; a sequence with a reply for each call of a sample; a mapping from role to either;
or a function of the request."""


class Script:
    """Scripted model. `await script(request)` is a mode's `ask`; `ScriptedEngine(config, script.text)` is an engine
    with the same replies.

    Equal requests get equal replies in any order of samples: a sequence is counted per sample, and per role if replies
    are by role.

    Attributes:
        requests: The requests, in order.
        completions: The completions, in order, each with its request.
    """

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._asked: Counter[tuple[str, str]] = Counter()
        self.requests: list[Request] = []
        self.completions: list[Completion] = []

    async def __call__(self, request: Request) -> Completion:
        self.requests.append(request)
        text = self.text(request)
        completion = Completion(text, output_tokens=len(text.split()), request=request)
        self.completions.append(completion)
        return completion

    def text(self, request: Request) -> str:
        """Return the reply to a request.

        Raises:
            Exception: The scripted exception.
            AssertionError: No reply for the request.
        """
        reply = self._reply(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _reply(self, request: Request) -> Reply:
        replies = self._replies
        if callable(replies):
            return replies(request)
        role = ""
        if isinstance(replies, Mapping):
            role = request.role
            if role not in replies:
                raise AssertionError(
                    f"the script has no reply for the role {role!r}, only for {', '.join(replies)}"
                )
            replies = replies[role]
        if isinstance(replies, (str, Exception)):
            return replies
        turn = self._asked[request.sample_id, role]
        self._asked[request.sample_id, role] += 1
        if turn >= len(replies):
            raise AssertionError(
                f"the script has {len(replies)} replies for a sample{f' and role {role!r}' if role else ''}; "
                f"{request.sample_id} asks once more"
            )
        return replies[turn]


def right_replies(sample: Sample) -> dict[str, Reply]:
    """Return replies by built-in role that lead to the sample's right answer: its boxes, and the answer in its format."""
    boxes = ", ".join(
        f'{{"bbox_2d": [{", ".join(f"{c:g}" for c in box.xyxy)}], "label": "{box.label or "it"}"}}'
        for box in sample.boxes or ()
    )
    reasoned = f"<think>I see it.</think><answer>{sample.answer}</answer>"
    return {
        "perceive": f"[{boxes}]",
        "reason": reasoned,
        "think": reasoned,
        "answer": sample.answer,
    }
