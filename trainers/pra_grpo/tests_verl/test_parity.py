"""verl's dataset and reward send what evaluation sends, for every answer form."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from making import config_of, stage_of, verl_config
from p2r_bench_pra_grpo.backends.verl import rows as verl_rows
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.dataset import StageDataset
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.rows import Row
from p2r_bench_pra_grpo.backends.verl.stage_file import StageFile
from p2r_bench_pra_grpo.parity import Calls, boxes_for, differences, parity_samples
from p2r_bench_pra_grpo.parity.sides import by_evaluation, by_verl
from p2r_bench_pra_grpo.stage import StageRole

from p2r_bench.adapter import Profile
from p2r_bench.types import Sample

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
    backend = VerlBackend(config_of(folder, profile="tiny"))
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
