"""Start-up checks: what an engine mixes up is found before the first sample."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from p2r_bench.adapter import load_profile
from p2r_bench.errors import EngineDead, EngineError, EngineStopped, UserError
from p2r_bench.run.canaries import NAMES, Policy, check
from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from p2r_bench.types import Capabilities, Completion, Request
from tests.run.conftest import FakeEngine, FakeEngines, write_bench

ROLES = ("perceive", "reason")


@dataclass
class SeeingEngine:
    """Grounds the sign, names colours, counts tokens; each fault makes it do one of these wrong.

    Attributes:
        faults: "box": names a wrong place; "blind": names none; "order": mixes two images up; "mute": says nothing of
            colours; "tokens": counts other tokens; "ids": its image cache ignores identities; "cache": replies from
            the cache differ; "noise": no two replies are alike; "error": every call fails; "dead".
    """

    faults: tuple[str, ...] = ()
    logprobs: bool = True
    factor: int | None = 32
    canaries: tuple[str, ...] = NAMES
    asked: list[Request] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)

    def capabilities(self) -> Capabilities:
        return Capabilities(factor=self.factor, canaries=self.canaries)

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        self.asked.append(request)
        if "error" in self.faults:
            raise EngineError("no capacity", kind="http_503")
        if "dead" in self.faults:
            raise EngineDead("the device is lost")
        count = self.seen[request.digest] = self.seen.get(request.digest, 0) + 1
        red, _, blue = images[0].getpixel((0, 0))  # type: ignore[misc]
        colour = "red" if red > blue or "ids" in self.faults else "blue"
        tokens = 10 + sum(i.width * i.height // 1024 for i in images)
        if request.role == "perceive":
            place = "[100, 700, 200, 900]" if "box" in self.faults else "[560, 260, 610, 360]"
            text = f'[{{"bbox_2d": {place}, "label": "red sign"}}]'
            text = "I see a sign." if "blind" in self.faults else text
        elif len(images) == 2 and "order" in self.faults:
            text = "Red."
        else:
            text = f"{colour.title()}."
        if "mute" in self.faults and request.role != "perceive":
            text = "Yes."
        if "cache" in self.faults and count > 1:
            text = "Green."
        if "noise" in self.faults:
            text = f"Colour {len(self.asked)}."
        if "tokens" in self.faults:
            tokens = 10 + 64 * len(images)
        logprob = -0.1 if colour == "red" else -0.2
        return Completion(
            text,
            prompt_tokens=tokens,
            logprobs=(logprob, logprob) if self.logprobs and request.logprobs else None,
        )


def outcomes(engine: SeeingEngine, policy: str = "warn", roles: Sequence[str] = ROLES) -> Any:
    profile = load_profile("tiny")
    told = asyncio.run(check(engine, profile, roles, 4, Policy.read(policy)))  # type: ignore[arg-type]
    return {name: outcome["result"] for name, outcome in told.items()}


def test_a_sound_engine_passes_all_with_a_few_short_requests() -> None:
    engine = SeeingEngine()
    assert outcomes(engine) == dict.fromkeys(NAMES, "passed")
    assert len(engine.asked) <= 8
    assert all(request.sampling.temperature == 0 for request in engine.asked)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (("tokens",), r"'tokens' failed: .* 0 prompt tokens more .*skip=tokens"),
        (("ids", "mute"), r"'images' failed: .* exactly equal probabilities.*skip=images"),
        (
            ("cache",),
            r"'cache' failed: .*'Red\.' at first and 'Green\.' from the cache.*skip=cache",
        ),
    ],
)
def test_a_certain_fault_refuses_the_run_and_names_the_way_out(
    faults: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        outcomes(SeeingEngine(faults))
    (name,) = (word for word in ("tokens", "images", "cache") if word in message)
    assert outcomes(SeeingEngine(faults), f"skip={name}")[name] == "skipped"


@pytest.mark.parametrize(("fault", "name"), [("box", "box"), ("blind", "box"), ("order", "order")])
def test_a_fault_that_may_be_the_models_is_a_warning_unless_strict(
    fault: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert outcomes(SeeingEngine((fault,)))[name] == "failed"
    assert f"canary '{name}' failed" in caplog.text
    with pytest.raises(UserError, match=f"'{name}' failed"):
        outcomes(SeeingEngine((fault,)), "strict")


def test_what_decides_nothing_is_neither_passed_nor_failed() -> None:
    assert outcomes(SeeingEngine(("mute",)))["order"] == "not applicable"
    assert outcomes(SeeingEngine(("ids", "mute"), logprobs=False))["images"] == "unclear"
    assert outcomes(SeeingEngine(("noise",)))["cache"] == "unclear"
    assert outcomes(SeeingEngine(("tokens",), factor=None))["tokens"] == "unclear"
    assert set(outcomes(SeeingEngine(("error",))).values()) == {"unclear"}


def test_canaries_apply_to_what_an_engine_is_used_for() -> None:
    assert outcomes(SeeingEngine(), roles=["answer"])["box"] == "not applicable"
    assert outcomes(SeeingEngine(canaries=("tokens",)))["cache"] == "not applicable"
    silent = SeeingEngine(canaries=())
    assert outcomes(silent) == {} and silent.asked == []
    off = SeeingEngine()
    assert set(outcomes(off, "off").values()) == {"skipped"} and off.asked == []


def test_a_dead_engine_stops_the_start() -> None:
    with pytest.raises(EngineStopped, match="the device is lost"):
        outcomes(SeeingEngine(("dead",)))


@pytest.mark.parametrize("text", ["", "skip", "skip=", "skip=nothing", "loud", "strict=1"])
def test_a_policy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--canaries"):
        Policy.read(text)


def test_outcomes_stand_in_the_manifest(tmp_path: Path) -> None:
    class Engine(FakeEngine):
        def capabilities(self) -> Capabilities:
            return Capabilities(canaries=("box", "order"))

        async def generate(self, request: Request, images: Any) -> Completion:
            if request.sample_id == "canary":
                return await SeeingEngine().generate(request, images)
            return await super().generate(request, images)

    spec = RunSpec(
        "HR-Bench",
        data_dir=write_bench(tmp_path / "data", questions=1),
        out=tmp_path / "out",
        profile="tiny",
    )
    result = asyncio.run(run(spec, FakeEngines(Engine())))
    manifest = json.loads((result.path / "manifest.json").read_text())
    (told,) = manifest["sessions"][0]["noted"]["canaries"].values()
    assert told["box"]["result"] == told["order"]["result"] == "passed"
    assert told["cache"]["result"] == "not applicable"


def test_a_bad_policy_is_refused_before_an_engine_starts(tmp_path: Path) -> None:
    engine = FakeEngine()
    spec = RunSpec(
        "HR-Bench",
        data_dir=write_bench(tmp_path / "data", questions=1),
        out=tmp_path / "out",
        profile="tiny",
        canaries="skip=nothing",
    )
    with pytest.raises(UserError, match="--canaries skip=nothing"):
        asyncio.run(run(spec, FakeEngines(engine)))
    assert engine.starts == 0
    assert not (tmp_path / "out").exists()
