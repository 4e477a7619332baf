"""verl's dataset and reward send what evaluation sends, for every answer form."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from making import TINY, URL, config_of, rolled_out, stage_of, verl_config
from omegaconf import OmegaConf
from p2r_bench_pra_grpo.backends.verl import rows as verl_rows
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.dataset import StageDataset
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.reward import RolloutFailed, StageRewardManager
from p2r_bench_pra_grpo.backends.verl.rows import Row
from p2r_bench_pra_grpo.backends.verl.stage_file import StageFile
from p2r_bench_pra_grpo.images import SampleImages
from p2r_bench_pra_grpo.stage import StageRole
from pra_grpo_testing.parity import (
    Calls,
    Rendered,
    boxes_for,
    differences,
    parity_samples,
    rendered,
)
from pra_grpo_testing.parity.sides import by_evaluation, by_verl
from verl.utils import hf_tokenizer

from p2r_bench.adapter import Profile
from p2r_bench.types import Completion, Request, Sample

ROLES = get_args(StageRole)
COUNT = 50


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return parity_samples(tmp_path_factory.mktemp("parity"), COUNT)


@pytest.fixture(scope="module")
def expected(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Calls:
    return by_evaluation(samples, "tiny", tmp_path_factory.mktemp("runs") / "a")


def dataset(samples: list[Sample], role: StageRole, folder: Path) -> StageDataset:
    """Rows of the samples, written and read as a stage's are."""
    verifier = {"url": "http://127.0.0.1:9/v1", "model": "none", "retries": 0}
    services = {"reasoner": URL, "perceiver": URL, "pause_after": 10**6}
    config = config_of(folder, profile="tiny", judges={"verifier": verifier}, services=services)
    backend = VerlBackend(config)
    stage = stage_of(backend.config, role)
    paths = StagePaths.next(stage)
    rows = [Row(s, boxes_for(s) if role == "reasoner" else None) for s in samples]
    verl_rows.write_rows(paths.rows, rows, paths.images)
    told = {"role": role, "round": 1, "seed": 0, "profile": backend.profile.hash}
    where = {"rows": paths.rows, "journals": paths.journals, "frozen": None}
    StageFile(**told, **where, config=backend.config).write(paths.stage_file)  # type: ignore[arg-type]
    data = verl_config(backend, stage, paths).data
    return StageDataset(data.train_files, None, data)


@pytest.mark.parametrize("role", ROLES)
def test_verls_rows_are_evaluations_calls(
    role: StageRole, samples: list[Sample], expected: Calls, tmp_path: Path
) -> None:
    calls = by_verl(dataset(samples, role, tmp_path), role)
    assert len(calls) == len(samples) == 6 * COUNT
    for key, call in calls.items():
        assert differences(call, expected[key], rollout=True) == []


def test_verls_reward_makes_evaluations_calls(
    samples: list[Sample], expected: Calls, tmp_path: Path
) -> None:
    data = dataset(samples, "perceiver", tmp_path)
    tokenizer = hf_tokenizer(str(TINY))
    told = OmegaConf.create({"data": data.config, "reward": {"num_workers": 1}})
    manager = StageRewardManager(told, tokenizer)
    recorder = Recorder(samples)
    manager._frozen = recorder  # type: ignore[assignment]

    async def reward_all() -> None:
        for item, sample in enumerate(samples):
            with suppress(RolloutFailed):  # no verifier here: the calls have been made all the same
                await manager.run_single(rolled_out(data[item], boxes_for(sample), tokenizer))

    manager.loop.run_until_complete(reward_all())
    assert len(recorder.calls) == len(samples)
    for key, call in recorder.calls.items():
        assert differences(call, expected[key]) == []


class Recorder:
    """The frozen reasoner, which is asked by the reward and says one thing."""

    def __init__(self, samples: list[Sample]) -> None:
        self.calls: dict[tuple[str, str], Rendered] = {}
        self._images = SampleImages(samples)

    async def ask(self, request: Request) -> Completion:
        async with self._images.of(request) as images:
            self.calls[request.sample_id, request.role] = rendered(request, images)
        return Completion("<answer>A</answer>", request=request)


def test_a_changed_profile_is_seen(
    samples: list[Sample], expected: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def louder(stage: StageFile) -> Profile:
        profile = load(stage)
        pack = profile.pack
        return profile.replace(pack=type(pack)(**{**vars(pack), "system": pack.system + " "}))

    load = StageFile.load_profile
    monkeypatch.setattr(StageFile, "load_profile", louder)
    calls = by_verl(dataset(samples[:3], "baseline", tmp_path), "baseline")
    assert all(differences(call, expected[key], rollout=True) for key, call in calls.items())
