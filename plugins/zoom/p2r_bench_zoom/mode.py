"""`zoom-tools`: one model, several turns, and a tool that shows regions of the image enlarged."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2r_bench import (
    Ask,
    Box,
    Completion,
    Evidence,
    Message,
    Prediction,
    Profile,
    Recipe,
    Request,
    Sample,
    TwoStage,
    UserError,
)
from p2r_bench_zoom import wording
from p2r_bench_zoom.tool import Mistake, read_calls

ROLE = "zoom"
"""Role whose sampling and answer policy apply to every turn."""


class ZoomTools:
    """The model calls a zoom tool with a box, gets the crop, and answers when it has seen enough.

    A crop is the same as p2r's for the same box: with the profile's padding and pixel budget. For a call that cannot
    be run, the model receives the reason; it uses a turn, and counts in `usage` as a tool error. A model that
    still calls the tool when no turn is left has given no answer.

    Args:
        max_turns: Most calls of the tool. The turn that answers is not counted.
    """

    roles = (ROLE,)

    def __init__(self, max_turns: int = 4) -> None:
        if isinstance(max_turns, bool) or not isinstance(max_turns, int) or max_turns < 1:
            raise UserError(
                f"zoom-tools: max_turns is {max_turns!r}; it must be a whole number of at least 1"
            )
        self.max_turns = max_turns

    def max_images(self, profile: Profile) -> int:
        """Return 1 + `max_turns`: a request holds the whole image and all earlier crops."""
        return 1 + self.max_turns

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        """See `Mode.solve`."""
        talk = _Talk(sample, profile, self.max_turns)
        for left in range(self.max_turns, -1, -1):
            reply = await ask(talk.request())
            calls = talk.hear(reply)
            if not calls:
                return talk.prediction(talk.two.answer(reply.text, ROLE))
            talk.respond(calls, left)
        return talk.prediction(None)


@dataclass
class _Talk:
    """Conversation about one sample."""

    sample: Sample
    profile: Profile
    max_turns: int
    messages: list[Message] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    crops: dict[int, Recipe] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.two = TwoStage(self.profile)
        newline = ("\n",) if self.profile.newline_after_image else ()
        text = wording.question(self.sample, self.profile, self.max_turns)
        self.messages += [
            Message("system", (wording.system(self.profile),)),
            Message("user", (self.two.whole(self.sample), *newline, text)),
        ]

    def request(self) -> Request:
        """Return the next request; its priority rises with the turns."""
        sampling = self.profile.sampling.for_role(ROLE)
        turn = len(self.completions)
        return Request(self.sample.id, ROLE, tuple(self.messages), sampling, priority=-turn)

    def hear(self, reply: Completion) -> tuple[Box | Mistake, ...]:
        """Add a reply, and return the tool calls at its end."""
        self.completions.append(reply)
        self.messages.append(Message("assistant", (reply.text,)))
        calls = read_calls(reply.text)
        self.calls += len(calls)
        return calls

    def respond(self, calls: tuple[Box | Mistake, ...], left: int) -> None:
        """Run the first call if a turn is left; further calls of the same turn are mistakes."""
        self.mistakes += ["more than one call in a turn"] * (len(calls) - 1)
        if not left:
            self.mistakes.append("a call when none was left")
            return
        rest = wording.rest(left - 1)
        if len(calls) > 1:
            rest = f"Only the first call of a turn is run. {rest}"
        crop = self._crop(calls[0])
        if isinstance(crop, Recipe):
            content = wording.shown(crop, self.profile, rest)
        else:
            self.mistakes.append(crop.reason)
            content = wording.refused(crop.reason, rest)
        self.messages.append(Message("user", content))

    def _crop(self, call: Box | Mistake) -> Recipe | Mistake:
        if isinstance(call, Mistake):
            return call
        self.boxes.append(call)
        crop = self.two.crop(self.sample, call)
        if crop is None:
            return Mistake(
                "nothing of this region lies in the image, whose corners are 0, 0 and 1000, 1000"
            )
        self.crops[len(self.boxes) - 1] = crop
        return crop

    def prediction(self, answer: str | None) -> Prediction:
        """Return the outcome, with every enlarged region as evidence."""
        evidence = Evidence(
            boxes=tuple(self.boxes),
            crops=tuple(self.crops.values()),
            crop_boxes=tuple(self.crops),
            parse_status="boxes" if self.boxes else "invalid" if self.mistakes else "empty",
            ignored=tuple(self.mistakes),
        )
        return Prediction(
            self.sample.id,
            answer=answer,
            evidence=evidence,
            completions=tuple(self.completions),
            usage={"tool_calls": self.calls, "tool_errors": len(self.mistakes)},
        )
