"""Contract of modes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from p2r_bench.adapter import Profile, decode, load_profile, render
from p2r_bench.errors import EngineError
from p2r_bench.run.engines import max_images_of, roles_of
from p2r_bench.tasks.reading import read_image
from p2r_bench.testing.naming import named
from p2r_bench.testing.samples import tiny_sample, tiny_samples, without_boxes
from p2r_bench.testing.script import Replies, Script, right_replies
from p2r_bench.testing.solving import solve
from p2r_bench.types import Completion, Mode, Prediction, Request, Sample

UNUSUAL_REPLIES = (
    "",
    "I cannot tell.",
    "[]",
    "<answer></answer>",
    "</think><answer>",
    '[{"bbox_2d": [NaN, 1e400, null, true], "label": 3}]',
    '[{"bbox_2d": [5000, 5000, 6000, 6000], "label": "outside"}]',
    '<tool_call>{"name": 7}</tool_call>',
    "\udce9\x00",
    "{" * 2000,
)
"""Replies that a model may give to any request; a mode raises on none of them."""


class ModeContract:
    """Contract of modes. Subclass it and name the mode; pytest then runs the checks.

        class TestMajority(ModeContract):
            mode = "majority"

    Attributes:
        mode: The registered name, or the class.
        plugin: The module with the plugin's hooks; without it the plugin has to be installed.
        params: Keyword arguments of the instance.
        profile: Name of the profile to test under.
    """

    mode: Any
    plugin: Any = None
    params: Mapping[str, Any] = {}
    profile: str = "p2r"

    def make(self) -> Mode:
        """Return a fresh instance."""
        mode: Mode = named("mode", self.mode, self.plugin)(**self.params)
        return mode

    def replies(self, sample: Sample) -> Replies:
        """Return replies that lead to the right answer; override it for a mode with roles of its own."""
        roles = right_replies(sample)
        return lambda request: roles.get(request.role, roles["reason"])

    def solved(self, sample: Sample, replies: Replies | Script | None = None) -> Prediction:
        """Return a fresh instance's prediction, by default from `replies(sample)`."""
        return solve(
            self.make(), sample, self.replies(sample) if replies is None else replies, self.profile
        )

    def test_it_is_a_mode(self) -> None:
        assert isinstance(self.make(), Mode), (
            "a mode has `async def solve(self, sample, ask, profile)`"
        )

    @pytest.mark.parametrize("sample", tiny_samples(), ids=lambda s: s.answer_form)
    def test_the_right_replies_give_the_right_answer(self, sample: Sample) -> None:
        prediction = self.solved(sample)
        assert prediction.sample_id == sample.id
        if prediction.status != "not_applicable":
            assert (prediction.status, prediction.answer) == ("ok", sample.answer)

    @pytest.mark.parametrize("sample", tiny_samples(), ids=lambda s: s.answer_form)
    def test_a_sample_without_boxes_is_solved_or_not_applicable(self, sample: Sample) -> None:
        assert self.solved(without_boxes(sample)).status in ("ok", "not_applicable")

    def test_every_call_is_accounted_for(self) -> None:
        script = Script(self.replies(tiny_sample()))
        prediction = self.solved(tiny_sample(), script)
        known = {id(c) for c in prediction.completions}
        assert len(prediction.completions) == len(known), "a completion is in the prediction twice"
        assert known == {id(c) for c in script.completions}, (
            "`completions` must hold all that `ask` returned"
        )

    def test_calls_are_of_the_roles_that_the_mode_names(self) -> None:
        roles = roles_of(self.make())
        assert roles and all(isinstance(role, str) and role for role in roles)
        for request in self._requests():
            assert request.sample_id == tiny_sample().id
            assert request.role in roles, (
                f"name {request.role!r} in the attribute `roles` of the mode"
            )

    def test_images_can_be_made_and_are_as_many_as_promised(self) -> None:
        source = decode(read_image(tiny_sample().image))
        most = max_images_of(self.make(), self._profile)
        for request in self._requests():
            assert len(request.recipes) <= most, (
                "give the mode `max_images(profile)`: engines are set up for it"
            )
            for recipe in request.recipes:
                assert render(recipe, source).size == recipe.size

    def test_the_same_replies_give_the_same_requests(self) -> None:
        assert [r.digest for r in self._requests()] == [r.digest for r in self._requests()]

    def test_silence_is_no_answer(self) -> None:
        prediction = self.solved(tiny_sample(), "")
        assert (prediction.status, prediction.answer) in (("ok", None), ("not_applicable", None))

    @pytest.mark.parametrize("text", UNUSUAL_REPLIES, ids=range(len(UNUSUAL_REPLIES)))
    def test_no_reply_makes_it_raise(self, text: str) -> None:
        assert self.solved(tiny_sample(), text).status in ("ok", "not_applicable")

    def test_an_engine_error_reaches_the_runner(self) -> None:
        for number in range(len(self._requests())):
            error = EngineError("scripted failure")
            with pytest.raises(EngineError) as caught:
                self.solved(tiny_sample(), _Failing(self.replies(tiny_sample()), number, error))
            assert caught.value is error, "a mode never catches what `ask` raises"

    def test_cancelling_reaches_the_call(self) -> None:
        if not self._requests():
            return
        asyncio.run(self._cancel())

    def test_samples_at_once_do_not_mix(self) -> None:
        samples = [s for s in tiny_samples() if self.solved(s).status == "ok"]
        mode = self.make()

        async def together() -> list[Prediction]:
            return await asyncio.gather(
                *(mode.solve(s, self._slowly(s), self._profile) for s in samples)
            )

        for sample, prediction in zip(samples, asyncio.run(together()), strict=True):
            assert (prediction.sample_id, prediction.answer) == (sample.id, sample.answer)

    @property
    def _profile(self) -> Profile:
        return load_profile(self.profile)

    def _requests(self) -> list[Request]:
        script = Script(self.replies(tiny_sample()))
        self.solved(tiny_sample(), script)
        return script.requests

    def _slowly(self, sample: Sample) -> Any:
        script = Script(self.replies(sample))

        async def ask(request: Request) -> Completion:
            assert request.sample_id == sample.id
            await asyncio.sleep(0)
            return await script(request)

        return ask

    async def _cancel(self) -> None:
        called, cancelled = asyncio.Event(), asyncio.Event()

        async def ask(request: Request) -> Completion:
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            raise AssertionError("nothing ends this wait but cancelling it")

        solving = asyncio.ensure_future(self.make().solve(tiny_sample(), ask, self._profile))
        await asyncio.wait_for(called.wait(), 10)
        solving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(solving, 10)
        assert cancelled.is_set(), "cancelling `solve` must cancel the calls below"


class _Failing(Script):
    """Scripted `ask` that fails at one call, whose number counts from 0."""

    def __init__(self, replies: Replies, number: int, error: EngineError) -> None:
        super().__init__(replies)
        self._number, self._error = number, error

    def text(self, request: Request) -> str:
        if len(self.requests) == self._number + 1:
            raise self._error
        return super().text(request)
