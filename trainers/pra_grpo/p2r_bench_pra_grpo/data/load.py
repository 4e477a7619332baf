"""All training samples of a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.plugins import registry
from p2r_bench.types import DataSource, Sample, Task, digest_of
from p2r_bench_pra_grpo.config import Config, DataConfig
from p2r_bench_pra_grpo.data.mixing import mixed
from p2r_bench_pra_grpo.data.p2r10k import files_of, load_p2r10k
from p2r_bench_pra_grpo.data.probing import probed

SYNTH = "Synth-HR"


def load_samples(config: Config) -> list[Sample]:
    """Return an epoch: every source read and mixed by weight, images with absolute paths and probed.

    The dataset, the reward and the embedded trainer all take samples from here, so a path means the same to each.

    Raises:
        UserError: Data is missing or wrong; the message names file, row and field.
    """
    sources = [_source(data, config.out) for data in config.data]
    epoch = mixed(sources, [data.weight for data in config.data], config.seed)
    unique = {sample.id: sample for sample in epoch}
    ready = {s.id: s for s in probed(list(unique.values()), config.out / "data" / "probes.json")}
    return [ready[sample.id] for sample in epoch]


def check_there(config: Config) -> None:
    """Check that files and folders of all data exist, without reading a row.

    Raises:
        UserError: A file or folder is missing; the message names it.
    """
    for number, data in enumerate(config.data):
        for key, place in (("path", data.path), ("images", data.images)):
            if place is not None and not place.exists():
                raise UserError(f"data[{number}].{key}: {place} does not exist")
        if data.format == "p2r-10k" and data.path is not None:
            files_of(data.path)
    folder = config.evaluation.data_dir
    if folder is not None and not folder.is_dir():
        raise UserError(f"evaluation.data_dir: {folder} is no folder")


def samples_digest(samples: Sequence[Sample]) -> str:
    """Return the identity of an epoch: ids, images, questions, answers and their forms, in order."""
    return digest_of(
        [
            [s.id, s.image.digest, s.question, dict(s.options), s.answer, s.answer_form]
            for s in samples
        ]
    )


def _source(data: DataConfig, out: Path) -> list[Sample]:
    if data.format == "p2r-10k":
        assert data.path is not None
        rows = load_p2r10k(data.path, data.images, (out / "data" / "images").resolve())
    else:
        task: Task = registry().get("task", SYNTH)()
        params = dict(data.params) if data.path else {"split": "train", **data.params}
        if params.get("split") == "test":
            raise UserError(
                'data.params.split = "test": the test scenes are for the evaluation; train on "train"'
            )
        rows = list(task.samples(DataSource(data.path, params=params)))
    rows = rows[: data.limit]
    twice = [name for name, times in Counter(s.id for s in rows).items() if times > 1]
    if twice:
        raise UserError(f"{data.path or data.format}: two rows have the id {twice[0]!r}")
    return rows
