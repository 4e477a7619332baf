"""A frozen model or a verifier that fails, in every way that servers fail: never a reward, always a way on."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from p2r_bench_pra_grpo.boxes import BoxStore
from p2r_bench_pra_grpo.config import Config, load_config, profile_of
from p2r_bench_pra_grpo.data.load import load_samples
from p2r_bench_pra_grpo.metrics import StepFile
from p2r_bench_pra_grpo.rewarding import make_rewarder
from p2r_bench_pra_grpo.services.frozen import FrozenModel, connect, frozen_model
from p2r_bench_pra_grpo.services.manager import ServiceManager
from p2r_bench_pra_grpo.services.naming import served_name
from p2r_bench_pra_grpo.stage import NoReward, ServiceDown, Stage
from p2r_bench_pra_grpo.trainer import PRAGRPO
from pra_grpo_testing import FakeServer, ScriptedBackend, tiny_training, write_p2r10k
from pra_grpo_testing.server import BOXES

from p2r_bench import Completion, EngineError, Sample, UserError
from p2r_bench.http import retries

LIMITS = {"retries": 1, "timeout": 1.0, "pause_after": 3, "pause_at_most": 0.0, "concurrency": 4}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries.random, "uniform", lambda low, high: 0.0)
    monkeypatch.setattr("p2r_bench_pra_grpo.services.breaker.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("p2r_bench_pra_grpo.services.frozen.RETRY_WAIT_S", 0.0)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer("frozen") as serving:
        yield serving


@pytest.fixture
def config(tmp_path: Path, server: FakeServer) -> Config:
    service = {"kind": "url", "urls": [server.url], "model": "frozen"}
    services = {"reasoner": service, "perceiver": service, **LIMITS}
    return load_config(tiny_training(tmp_path, services=services))


def frozen(config: Config, samples: list[Sample]) -> FrozenModel:
    folder = Path(config.model)
    return frozen_model(
        "the frozen reasoner", config.services.reasoner, folder, config, profile_of(config), samples
    )


def reward(config: Config, server: FakeServer, behaviour: str) -> float:
    samples = load_samples(config)
    rewarder = make_rewarder(config, profile_of(config), samples)

    async def work() -> float:
        async with frozen(config, samples) as model:
            server.behaviour = behaviour  # type: ignore[assignment]
            earned = await rewarder.perceiver(samples[0], Completion(BOXES), model.ask)
            return earned.value

    return asyncio.run(work())


def test_a_reasoner_that_answers_earns_the_boxes_their_reward(
    config: Config, server: FakeServer
) -> None:
    assert reward(config, server, "answers") == 1.0


@pytest.mark.parametrize(
    ("behaviour", "kind", "calls"),
    [
        ("400", "http_400", 1),
        ("429", "http_429", 2),
        ("500", "http_500", 2),
        ("slow", "timeout", 2),
        ("garbage", "bad_response", 1),
        ("no text", "empty", 1),
        ("aborts", "aborted", 2),
    ],
)
def test_a_reasoner_that_fails_gives_a_typed_failure_and_no_reward(
    config: Config, server: FakeServer, behaviour: str, kind: str, calls: int
) -> None:
    with pytest.raises(EngineError) as caught:
        reward(config, server, behaviour)
    assert caught.value.kind == kind
    assert server.calls >= calls


def test_a_reasoner_that_dies_in_the_middle_gives_no_reward(config: Config) -> None:
    samples = load_samples(config)
    rewarder = make_rewarder(config, profile_of(config), samples)

    async def work() -> None:
        with FakeServer("frozen") as dying:
            service = replace(config.services.reasoner, urls=(dying.url,))
            services = replace(config.services, reasoner=service)
            model = frozen(replace(config, services=services), samples)
            await model.__aenter__()
        try:
            await rewarder.perceiver(samples[0], Completion(BOXES), model.ask)
        finally:
            await model.__aexit__(None, None, None)

    with pytest.raises(EngineError) as caught:
        asyncio.run(work())
    assert caught.value.kind == "connection"


@pytest.mark.parametrize("name", ["frozen", "another"])
def test_a_server_with_another_model_is_refused(config: Config, name: str) -> None:
    service = replace(config.services.reasoner, model=name)
    given = replace(config, services=replace(config.services, reasoner=service))
    services = ServiceManager(given, [], lambda line: None)
    stage = Stage(1, "perceiver", Path(config.model), Path(config.model), config.out, 0)
    if name == "frozen":
        services.ensure_frozen(stage)
    else:
        with pytest.raises(
            UserError, match=r"serves frozen, not another\. Serve .* under that name"
        ):
            services.ensure_frozen(stage)


def test_without_a_name_the_weights_decide_what_must_be_served(config: Config) -> None:
    service = replace(config.services.reasoner, model=None)
    given = replace(config, services=replace(config.services, reasoner=service))
    stage = Stage(1, "perceiver", Path(config.model), Path(config.model), config.out, 0)
    expected = served_name(Path(config.model), service)
    with pytest.raises(UserError, match=f"not {expected}"):
        ServiceManager(given, [], lambda line: None).ensure_frozen(stage)


def test_a_server_that_is_not_there_is_named_with_the_way_out(config: Config) -> None:
    service = replace(config.services.reasoner, urls=("http://127.0.0.1:9/v1",))
    given = replace(config, services=replace(config.services, reasoner=service))
    stage = Stage(1, "perceiver", Path(config.model), Path(config.model), config.out, 0)
    with pytest.raises(UserError, match=r"does not answer\. Serve"):
        ServiceManager(given, [], lambda line: None).ensure_frozen(stage)


def train(config: Config, server: FakeServer, behaviour: str) -> Stage:
    """One perceiver's stage whose reasoner begins to misbehave when it has been started."""
    samples = load_samples(config)
    stage = Stage(1, "perceiver", Path(config.model), Path(config.model), config.out / "s", 0)
    stage.folder.mkdir(parents=True)

    class Turning(FrozenModel):
        async def __aenter__(self) -> Any:
            entered = await super().__aenter__()
            server.behaviour = behaviour  # type: ignore[assignment]
            return entered

    model = frozen(config, samples)
    model.__class__ = Turning
    ScriptedBackend(config).train(stage, samples, model, lambda row: None)
    return stage


def test_failed_rollouts_leave_their_groups_and_are_counted(
    config: Config, server: FakeServer
) -> None:
    rows = StepFile(train(config, server, "400").metrics).rows
    assert rows and all(row["failed_share"] == 1.0 for row in rows)
    assert all(row["reward_mean"] is None and row["groups_skipped"] == 2 for row in rows)


def test_a_reasoner_that_goes_on_failing_pauses_the_stage(
    config: Config, server: FakeServer
) -> None:
    with pytest.raises(ServiceDown, match="fails every call"):
        train(config, server, "500")


def test_boxes_that_the_server_broke_off_are_not_kept(config: Config, server: FakeServer) -> None:
    samples = load_samples(config)
    store = BoxStore(config.out / "boxes.jsonl", "digest", profile_of(config))
    patient = replace(config, services=replace(config.services, pause_after=1000))

    async def fill() -> None:
        async with frozen(patient, samples) as model:
            server.behaviour = "aborts"
            await store.fill(samples, model.ask, 2)

    with pytest.raises(UserError, match=r"no boxes for 4 of 4 samples.*'abort'"):
        asyncio.run(fill())
    assert not any(sample in store for sample in samples)


def test_a_paused_training_says_so_and_goes_on_later(
    tmp_path: Path, server: FakeServer, scripted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = {"kind": "url", "urls": [server.url], "model": "frozen"}
    services = {"reasoner": service, "perceiver": service, **LIMITS}
    values = tiny_training(tmp_path, services=services)
    asked = FrozenModel.__aenter__

    async def turning(self: FrozenModel) -> Any:
        entered = await asked(self)
        if entered and behaviours:
            server.behaviour = behaviours.pop(0)
        return entered

    behaviours: list[Any] = ["answers", "down"]
    monkeypatch.setattr(FrozenModel, "__aenter__", turning)
    with pytest.raises(UserError, match="paused: the frozen reasoner"):
        PRAGRPO(values).run()
    assert PRAGRPO(values).status()["next"] == "round-1/perceiver/train"
    server.behaviour = "answers"
    PRAGRPO(values).run()
    assert PRAGRPO(values).status()["state"] == "finished"
    undisturbed = tiny_training(tmp_path / "again", services=services)
    PRAGRPO(undisturbed).run()
    weights = "round-1/reasoner/model/model.safetensors"
    again = Path(undisturbed["out"]) / weights
    assert (Path(values["out"]) / weights).read_bytes() == again.read_bytes()


def test_another_process_reaches_the_same_model(config: Config, server: FakeServer) -> None:
    samples = load_samples(config)
    sent = json.loads(json.dumps(frozen(config, samples).at))

    async def work() -> Completion:
        from p2r_bench import TwoStage

        async with connect(sent, config, samples, concurrency=2) as model:
            two = TwoStage(profile_of(config))
            return await model.ask(two.reason_request(samples[0], two.evidence(samples[0], BOXES)))

    assert "<answer>B</answer>" in asyncio.run(work()).text


@pytest.fixture
def verified(tmp_path: Path) -> Iterator[tuple[Config, FakeServer]]:
    with FakeServer("verifier") as server:
        verifier = {"kind": "url", "urls": [server.url], "model": "verifier"}
        data = write_p2r10k(tmp_path / "free", forms=("free_form",))
        values = tiny_training(
            tmp_path,
            services={"verifier": verifier, "retries": 0, "timeout": 1.0},
            judges={"verifier": {"cache_dir": str(tmp_path / "replies")}},
            data=[{"format": "p2r-10k", "path": str(data)}],
        )
        yield load_config(values), server


ANSWER = Completion("<think>x</think><answer>a square</answer>")


def test_free_answers_are_rewarded_by_the_verifier(verified: tuple[Config, FakeServer]) -> None:
    config, _ = verified
    samples = load_samples(config)
    rewarder = make_rewarder(config, profile_of(config), samples)
    assert asyncio.run(rewarder.baseline(samples[0], ANSWER)).value == 1.0


@pytest.mark.parametrize("behaviour", ["500", "400", "429", "garbage", "no text", "slow"])
def test_a_verifier_that_fails_gives_no_reward(
    verified: tuple[Config, FakeServer], behaviour: str
) -> None:
    config, server = verified
    samples = load_samples(config)
    rewarder = make_rewarder(config, profile_of(config), samples)
    server.behaviour = behaviour  # type: ignore[assignment]
    with pytest.raises(NoReward):
        asyncio.run(rewarder.baseline(samples[0], ANSWER))


def judged(
    config: Config, answers: Sequence[str], first: Callable[[], object] = lambda: None
) -> list[Any]:
    """Return the reward or the error of each free answer, in turn.

    Args:
        first: Called when the first one has been judged.
    """
    sample, profile = load_samples(config)[0], profile_of(config)
    rewarder = make_rewarder(config, profile, [sample])

    async def work() -> list[Any]:
        told: list[Any] = []
        for answer in answers:
            rollout = Completion(f"<think>x</think><answer>{answer}</answer>")
            try:
                told.append((await rewarder.baseline(sample, rollout)).value)
            except (NoReward, ServiceDown) as error:
                told.append(type(error))
            if len(told) == 1:
                first()
        return told

    return asyncio.run(work())


def impatient(config: Config, pause_at_most: float = 0.0) -> Config:
    limits = replace(config.services, pause_after=2, pause_at_most=pause_at_most)
    return replace(config, services=limits)


def test_a_dead_verifier_pauses_the_stage(verified: tuple[Config, FakeServer]) -> None:
    config, server = verified
    server.behaviour = "500"
    assert judged(impatient(config), "abcd") == [NoReward, NoReward, ServiceDown, ServiceDown]
    assert server.calls == 3, "two answers and the check"


def test_answers_that_need_no_verifier_do_not_hide_that_it_is_dead(
    verified: tuple[Config, FakeServer],
) -> None:
    config, server = verified

    def dies() -> None:
        server.behaviour = "500"

    told = judged(impatient(config), ["known", "a", "known", "", "b", "known", "", "c"], first=dies)
    assert told == [1.0, NoReward, 1.0, 0.0, NoReward, 1.0, 0.0, ServiceDown]


def test_answers_wait_for_a_verifier_that_comes_back(
    verified: tuple[Config, FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, server = verified
    server.behaviour = "500"
    answering = server.answer

    def recovers(body: dict[str, Any]) -> tuple[int, bytes]:
        if server.calls == 5:
            server.behaviour = "answers"
        return answering(body)

    monkeypatch.setattr(server, "answer", recovers)
    assert judged(impatient(config, 60.0), "abcd") == [NoReward, NoReward, 1.0, 1.0]


def test_a_verifier_that_refuses_single_answers_goes_on(
    verified: tuple[Config, FakeServer],
) -> None:
    config, server = verified
    server.behaviour = "400"
    assert judged(impatient(config), "abcd") == [NoReward] * 4


def test_workers_share_the_requests_to_the_verifier(
    verified: tuple[Config, FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, server = verified
    at_once, most, answering = 0, 0, server.answer
    lock = threading.Lock()

    def counted(body: dict[str, Any]) -> tuple[int, bytes]:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return answering(body)

    monkeypatch.setattr(server, "answer", counted)
    eight = replace(config, services=replace(config.services, concurrency=8))
    sample = load_samples(config)[0]
    rewarder = make_rewarder(eight, profile_of(config), [sample], workers=4)

    async def work() -> None:
        answers = [Completion(f"<answer>{n}</answer>") for n in range(12)]
        await asyncio.gather(*(rewarder.baseline(sample, answer) for answer in answers))

    asyncio.run(work())
    assert most == 2


def test_a_dead_verifier_pauses_a_stage_whose_other_answers_have_rewards(
    verified: tuple[Config, FakeServer], tmp_path: Path
) -> None:
    config, server = verified
    data = write_p2r10k(tmp_path / "mixed", forms=("mca", "free_form"))
    mixed = replace(config.data[0], path=data)
    config = impatient(replace(config, data=(mixed,), grpo=replace(config.grpo, num_epochs=8)))
    samples = load_samples(config)
    stage = Stage(1, "baseline", Path(config.model), None, config.out / "s", 0)
    stage.folder.mkdir(parents=True)
    server.behaviour = "down"
    with pytest.raises(ServiceDown, match="the verifier has not answered"):
        ScriptedBackend(config).train(stage, samples, None, lambda row: None)


def test_a_second_url_of_the_verifier_is_refused_and_not_ignored(tmp_path: Path) -> None:
    verifier = {"kind": "url", "urls": ["http://a/v1", "http://b/v1"], "model": "verifier"}
    with pytest.raises(UserError, match=r"services\.verifier\.urls: more than one"):
        load_config(tiny_training(tmp_path, services={"verifier": verifier}))


def test_a_verifier_is_tried_before_it_is_needed(verified: tuple[Config, FakeServer]) -> None:
    config, server = verified
    samples = load_samples(config)
    ServiceManager(config, samples, lambda line: None).ensure_verifier()
    server.behaviour = "500"
    with pytest.raises(UserError, match=r"verifier: .*as told"):
        ServiceManager(config, samples, lambda line: None).ensure_verifier()
    server.behaviour = "answers"
    server.reply = lambda text: "VERDICT: INCORRECT"
    with pytest.raises(UserError, match='says that "a red fox" is not "a red fox"'):
        ServiceManager(config, samples, lambda line: None).ensure_verifier()


def test_an_unreachable_verifier_is_refused_at_the_start(
    verified: tuple[Config, FakeServer],
) -> None:
    config, _ = verified
    assert config.services.verifier is not None
    gone = replace(config.services.verifier, urls=("http://127.0.0.1:9/v1",))
    given = replace(config, services=replace(config.services, verifier=gone))
    with pytest.raises(UserError, match=r"verifier: .* does not answer"):
        ServiceManager(given, load_samples(config), lambda line: None).ensure_verifier()
