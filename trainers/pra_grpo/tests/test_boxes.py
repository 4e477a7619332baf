"""The frozen perceiver is asked once per image, question, checkpoint and profile; its texts are replayed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from p2r_bench_pra_grpo.boxes import BoxStore, StoredBoxes
from p2r_bench_pra_grpo.stage import ServiceDown

from p2r_bench import Completion, EngineError, Request, Sample, TwoStage, UserError, load_profile
from p2r_bench.testing import tiny_sample

PROFILE = load_profile("tiny")
SAMPLES = [replace(tiny_sample(), id=f"s{n}", question=f"Question {n}?") for n in range(6)]


class Perceiver:
    def __init__(self, *failing: str, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.failing = failing
        self.error = error or EngineError("too long", kind="http_400", retryable=False)

    async def ask(self, request: Request) -> Completion:
        self.asked.append(request.sample_id)
        if request.sample_id in self.failing:
            raise self.error
        return Completion(f'[{{"bbox_2d": [0, 0, 9, 9], "label": "{request.sample_id}"}}]')


def store(folder: Path, checkpoint: str = "abc", profile: str = "tiny") -> BoxStore:
    return BoxStore(folder / "boxes.jsonl", checkpoint, load_profile(profile))


def fill(boxes: BoxStore, perceiver: Perceiver, samples: list[Sample] = SAMPLES) -> list[str]:
    return asyncio.run(boxes.fill(samples, perceiver.ask, 2))


def test_every_sample_is_asked_once_for_all(tmp_path: Path) -> None:
    perceiver = Perceiver()
    assert fill(store(tmp_path), perceiver) == []
    assert fill(store(tmp_path), perceiver) == []
    assert sorted(perceiver.asked) == [s.id for s in SAMPLES]
    assert '"s3"' in store(tmp_path).completion(SAMPLES[3]).text


@pytest.mark.parametrize("other", [{"checkpoint": "other"}, {"profile": "p2r"}])
def test_another_checkpoint_or_profile_is_asked_anew(tmp_path: Path, other: dict[str, str]) -> None:
    fill(store(tmp_path), Perceiver())
    perceiver = Perceiver()
    fill(store(tmp_path, **other), perceiver)
    assert len(perceiver.asked) == len(SAMPLES)
    assert all(s in store(tmp_path) for s in SAMPLES)


def test_a_line_torn_by_a_crash_is_asked_again(tmp_path: Path) -> None:
    fill(store(tmp_path), Perceiver())
    path = tmp_path / "boxes.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    perceiver = Perceiver()
    fill(store(tmp_path), perceiver)
    assert len(perceiver.asked) == 1
    assert all(s in store(tmp_path) for s in SAMPLES)


def test_a_failure_is_never_an_empty_list_of_boxes(tmp_path: Path) -> None:
    many = [replace(SAMPLES[0], id=f"m{n}", question=f"Q{n}?") for n in range(40)]
    left_out = fill(store(tmp_path), Perceiver("m7"), many)
    assert len(left_out) == 1 and left_out[0].startswith("m7: too long")
    assert many[7] not in store(tmp_path) and many[8] in store(tmp_path)


def test_too_many_failures_refuse_the_stage_and_keep_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no boxes for 1 of 6 samples, the first s2: too long"):
        fill(store(tmp_path), Perceiver("s2"))
    assert SAMPLES[3] in store(tmp_path)


def test_a_perceiver_that_is_down_pauses_the_stage(tmp_path: Path) -> None:
    with pytest.raises(ServiceDown):
        fill(store(tmp_path), Perceiver("s5", error=ServiceDown("down")))
    perceiver = Perceiver()
    fill(store(tmp_path), perceiver)
    assert "s5" in perceiver.asked


def test_stored_boxes_answer_the_perceivers_requests_whatever_the_seed(tmp_path: Path) -> None:
    fill(store(tmp_path), Perceiver())
    frozen, two = StoredBoxes(store(tmp_path)), TwoStage(PROFILE)
    answers = [
        asyncio.run(frozen.ask(two.perceive_request(SAMPLES[1]))),
        asyncio.run(frozen.ask(two.perceive_request(SAMPLES[1]).with_seed(5))),
    ]
    assert answers[0].text == answers[1].text
    with pytest.raises(EngineError, match="no stored boxes"):
        asyncio.run(frozen.ask(two.perceive_request(replace(SAMPLES[1], question="Another?"))))
