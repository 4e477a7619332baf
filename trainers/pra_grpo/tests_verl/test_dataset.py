"""Rows that verl trains on are evaluation's requests, without pixels until a worker needs them."""

from __future__ import annotations

import asyncio
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from making import TINY, At, config_of, prepared, samples_of, stage_of
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.dataset import StageDataset
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.rows import Row, read_rows, sample_from_json, write_rows
from p2r_bench_pra_grpo.config import profile_of
from p2r_bench_pra_grpo.stage import Frozen, StageRole
from verl.trainer.ppo.utils import create_rl_dataset
from verl.utils import hf_processor, hf_tokenizer

from p2r_bench.adapter import TwoStage, decode, render
from p2r_bench.engines.chat import chat_messages
from p2r_bench.errors import UserError
from p2r_bench.tasks.reading import read_image
from p2r_bench.testing.samples import tiny_samples
from p2r_bench.types import Completion

BOXES = '[{"bbox_2d": [100, 100, 300, 300], "label": "plate"}, {"bbox_2d": [600, 500, 700, 650], "label": "sign"}]'


class Stored(At):
    """The frozen perceiver of a reasoner's stage."""

    async def __aenter__(self) -> Stored:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def ask(self, request: object) -> Completion:
        return Completion(BOXES)


def frozen_of(role: StageRole) -> Frozen | None:
    return Stored(None) if role == "reasoner" else None  # type: ignore[return-value]


def dataset_of(config: object, role: StageRole) -> StageDataset:
    *_, told = prepared(config, role, frozen_of(role))  # type: ignore[arg-type]
    tokenizer, processor = hf_tokenizer(str(TINY)), hf_processor(str(TINY))
    found = create_rl_dataset(told.data.train_files, told.data, tokenizer, processor, is_train=True)
    assert isinstance(found, StageDataset)
    return found


@pytest.mark.parametrize("role", ["perceiver", "reasoner", "baseline"])
def test_rows_are_evaluations_requests_to_the_byte(role: StageRole, tmp_path: Path) -> None:
    config = config_of(tmp_path, rows=6)
    data, two = dataset_of(config, role), TwoStage(profile_of(config))
    for item, sample in enumerate(samples_of(config)):
        expected = Row(sample, BOXES).request(two, role)
        row = data[item]
        bare = [
            {
                **message,
                "content": message["content"]
                if isinstance(message["content"], str)
                else [{"type": "image"} if p["type"] == "image" else p for p in message["content"]],
            }
            for message in row["raw_prompt"]
        ]
        assert bare == chat_messages(expected, lambda _: {"type": "image"})
        images, videos, audios = asyncio.run(
            StageDataset.process_multi_modal_info(row["raw_prompt"], 16, None)
        )
        source = decode(read_image(sample.image))
        assert [i.tobytes() for i in images or ()] == [
            render(recipe, source).tobytes() for recipe in expected.recipes
        ]
        assert videos is None and audios is None
        rollout = data.request(item).sampling
        assert (rollout.temperature, rollout.top_p) == (1.0, 1.0)
        assert rollout == replace(expected.sampling, temperature=1.0, top_p=1.0)


def test_rows_hold_no_pixels(tmp_path: Path) -> None:
    data = dataset_of(config_of(tmp_path), "reasoner")
    assert max(len(pickle.dumps(data[item])) for item in range(len(data))) < 16_000


def test_the_reward_finds_the_sample_in_the_row(tmp_path: Path) -> None:
    config = config_of(tmp_path, rows=4)
    data = dataset_of(config, "perceiver")
    found = [sample_from_json(data[n]["extra_info"]["sample"]) for n in range(len(data))]
    assert found == samples_of(config)


def test_every_answer_form_survives_the_file(tmp_path: Path) -> None:
    samples = tiny_samples()
    write_rows(tmp_path / "rows.parquet", [Row(s) for s in samples], tmp_path / "images")
    found = [row.sample for row in read_rows(tmp_path / "rows.parquet")]
    for before, after in zip(samples, found, strict=True):
        assert read_image(after.image) == read_image(before.image)
        assert replace(after, image=before.image) == before


def test_an_interrupted_run_reads_the_same_rows_again(tmp_path: Path) -> None:
    data = dataset_of(config_of(tmp_path, rows=4), "perceiver")
    before = [data[item]["extra_info"] for item in range(4)]
    data.resume_dataset_state()
    assert [data[item]["extra_info"] for item in range(4)] == before


def test_a_prompt_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, grpo={"batch_size": 2, "num_generations": 2, "max_prompt_tokens": 20}
    )
    backend, stage = VerlBackend(config), stage_of(config, "perceiver")
    rows = backend.rows(stage, samples_of(config), None)
    with pytest.raises(
        UserError, match=rf"{rows[0].sample.id}.*grpo\.perceiver\.max_prompt_tokens"
    ):
        backend.prepare(stage, rows, At(None), StagePaths.next(stage))  # type: ignore[arg-type]


def test_another_profile_on_a_node_is_refused(tmp_path: Path) -> None:
    _, _, paths, told = prepared(config_of(tmp_path, rows=4), "perceiver")
    values = json.loads(paths.stage_file.read_text())
    other = paths.stage_file.with_name("other.json")
    other.write_text(json.dumps({**values, "profile": "0" * 64}))
    told.data.p2r_stage = str(other)
    with pytest.raises(UserError, match="profile"):
        StageDataset(told.data.train_files, None, told.data)
