"""Evaluation, the reward, the lmms-eval models and the embedded trainer send the same, byte by byte."""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from p2r_bench_pra_grpo.reward import Rewarder
from p2r_bench_pra_grpo.stage import CALL_ROLE, STAGE_ROLES, StageRole
from PIL import Image
from pra_grpo_testing.parity import Calls, boxes_for, differences, parity_samples
from pra_grpo_testing.parity.rendered import pixels
from pra_grpo_testing.parity.sides import by_embedded, by_evaluation, by_lmms_eval, by_reward

from p2r_bench import Profile, Sample, load_profile
from p2r_bench.judges.select import make_judge

PROFILE = "tiny"
COUNT = 50


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return parity_samples(tmp_path_factory.mktemp("parity"), COUNT)


@pytest.fixture(scope="module")
def expected(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Calls:
    return by_evaluation(samples, PROFILE, tmp_path_factory.mktemp("runs") / "a")


def rewarder(profile: Profile) -> Rewarder:
    params = {"verifier": {"url": "http://127.0.0.1:9/v1", "model": "none", "retries": 0}}
    names = ("strict", "numeric", "yes-no", "word", "verifier")
    return Rewarder(profile, [make_judge(name, params.get(name, {})) for name in names])


def assert_equal(calls: Calls, expected: Calls, *, rollout: bool = False) -> None:
    for key, call in calls.items():
        assert differences(call, expected[key], rollout=rollout) == []


def test_evaluation_calls_every_role_for_every_sample(
    samples: list[Sample], expected: Calls
) -> None:
    assert Counter(s.answer_form for s in samples) == dict.fromkeys(
        ("choice", "number", "free", "word", "caption", "yes_no"), COUNT
    )
    assert Counter(role for _, role in expected) == dict.fromkeys(
        ("perceive", "reason", "think"), len(samples)
    )
    shown = Counter(len(expected[s.id, "reason"].images) for s in samples)
    assert shown[1] and shown[2] and shown[4], "without a crop, with one, and with three"


def test_the_reward_sends_what_evaluation_sends(samples: list[Sample], expected: Calls) -> None:
    calls = by_reward(samples, rewarder(load_profile(PROFILE)))
    judged = [s for s in samples if s.answer_form not in ("free", "caption")]
    assert set(calls) >= {(s.id, role) for s in judged for role in ("perceive", "reason", "think")}
    assert set(calls) >= {(s.id, "reason") for s in samples}
    assert_equal(calls, expected)


def test_the_lmms_eval_models_send_what_evaluation_sends(
    samples: list[Sample], expected: Calls, tmp_path: Path
) -> None:
    calls = by_lmms_eval(samples, PROFILE, tmp_path)
    assert set(calls) == set(expected)
    assert_equal(calls, expected)


@pytest.mark.parametrize("role", STAGE_ROLES)
def test_the_embedded_trainers_policy_reads_what_evaluation_sends(
    samples: list[Sample], expected: Calls, role: StageRole
) -> None:
    calls = by_embedded(samples, load_profile(PROFILE), role)
    assert set(calls) == {(s.id, CALL_ROLE[role]) for s in samples}
    assert_equal(calls, expected, rollout=True)


def test_a_service_receives_the_same_pixels_and_text(
    samples: list[Sample], expected: Calls, tmp_path: Path
) -> None:
    import asyncio

    from p2r_bench_pra_grpo.config import load_config
    from p2r_bench_pra_grpo.services.frozen import frozen_model
    from pra_grpo_testing import FakeServer, tiny_training

    from p2r_bench import Completion, UserError

    few = [s for s in samples if s.answer_form == "choice"][:12]
    with FakeServer("frozen") as server:
        service = {"kind": "url", "urls": [server.url], "model": "frozen"}
        config = load_config(tiny_training(tmp_path, services={"reasoner": service}))
        profile = load_profile(PROFILE)
        model = frozen_model(
            "it", config.services.reasoner, Path(config.model), config, profile, few
        )

        async def work() -> None:
            async with model:
                for sample in few:
                    server.seen.clear()
                    said = Completion(boxes_for(sample))
                    await rewarder(profile).perceiver(sample, said, model.ask)
                    (body,) = server.seen
                    assert received(body) == wanted(sample)

        def received(body: dict[str, Any]) -> tuple[list[str], Any]:
            texts, images = [], []
            for message in body["messages"]:
                content = message["content"]
                for part in (
                    [{"type": "text", "text": content}] if isinstance(content, str) else content
                ):
                    if part["type"] == "text":
                        texts.append(part["text"])
                    else:
                        data = part["image_url"]["url"].partition(",")[2]
                        images.append(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
            return texts, pixels(images)

        def wanted(sample: Sample) -> tuple[list[str], Any]:
            call = expected[sample.id, "reason"]
            texts = [p for _, parts in call.messages for p in parts if isinstance(p, str)]
            return texts, call.images

        try:
            asyncio.run(work())
        except UserError as error:  # pragma: no cover - says why instead of an attribute error
            pytest.fail(str(error))


CHANGES = {
    "prompt": lambda p: p.replace(pack=replace(p.pack, reason=p.pack.reason + " Go.")),
    "system": lambda p: p.replace(pack=replace(p.pack, system="Other.")),
    "budget": lambda p: p.replace(image=replace(p.image, max_pixels=16 * 32**2)),
    "EXIF": lambda p: p.replace(image=replace(p.image, exif="ignore")),
    "alpha": lambda p: p.replace(image=replace(p.image, alpha="drop")),
    "line width": lambda p: p.replace(annotate=replace(p.annotate, min_width=9)),
    "crops": lambda p: p.replace(crop=replace(p.crop, count=2)),
    "tokens": lambda p: p.replace(
        sampling=replace(p.sampling, reason=replace(p.sampling.reason, max_tokens=7))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_profile_is_seen(samples: list[Sample], expected: Calls, change: str) -> None:
    changed = CHANGES[change](load_profile(PROFILE))  # type: ignore[no-untyped-call]
    chosen = [s for s in samples if s.answer_form == "choice"]
    calls = by_reward(chosen, rewarder(changed))
    assert any(differences(call, expected[key]) for key, call in calls.items())


def test_differences_are_named(samples: list[Sample], expected: Calls) -> None:
    call = expected[samples[0].id, "reason"]
    assert differences(call, call) == []
    hotter = replace(call, sampling={**call.sampling, "temperature": 1.0})
    assert differences(call, hotter) and not differences(call, hotter, rollout=True)
    other = replace(call, images=call.images[:-1])
    assert "images" in differences(call, other)[0]


def test_only_rgb_is_compared() -> None:
    with pytest.raises(ValueError, match="mode L"):
        pixels([Image.new("L", (2, 2))])
