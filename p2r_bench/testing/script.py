"""Replies written down beforehand, in place of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from p2r_bench.types import Completion, Request, Sample

Reply = str | Exception
"""The text of a reply, or what is raised in its place."""

Replies = (
    Reply | Sequence[Reply] | Mapping[str, Reply | Sequence[Reply]] | Callable[[Request], Reply]
)
"""One reply to everything; a sequence, one for each call of a sample in turn; either of them by role;
or a function of the request."""


class Script:
    """Answers requests from `replies`: `await script(request)` is what a mode knows as `ask`, and
    `ScriptedEngine(config, script.text)` is an engine that does the same.

    The same requests get the same replies in whatever order samples are worked on, since a sequence is
    counted for each sample, and for each role where replies are given by role.

    Attributes:
        requests: What was asked, in order.
        completions: What was answered, in order; each holds its request, as the runner leaves it.
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
        """The reply to a request.

        Raises:
            Exception: The reply is one.
            AssertionError: The script holds no reply for the request.
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
    """Replies by built-in role that lead to the sample's right answer: its boxes, and the answer in its format."""
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
