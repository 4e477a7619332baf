"""Local copies of lmms-eval's tasks: its own task files, reading small datasets in its formats from this disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import lmms_eval
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2r_bench.synth.writer import write_synth

THEIRS = Path(lmms_eval.__file__).parent / "tasks"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COLOURS = ("red", "green", "blue", "black")
ROWS = 4

COPIES = {
    "vstar_local": ("vstar_bench/vstar_bench.yaml", "vstar", "test"),
    "hrbench_local": ("hrbench/hrbench4k.yaml", "hrbench", "hrbench_4k"),
    "mme_local": ("mme_realworld/mme_realworld_lite.yaml", "mme", "train"),
}
"""Name of the copy: lmms-eval's file, the format of its data, its split."""

UTILS = """
def to_visual(doc):
    return [doc["photo"].convert("RGB")]

def to_half(doc):
    image = doc["photo"].convert("RGB")
    return [image.crop((0, 0, image.width // 2, image.height))]

def to_pair(doc):
    return [doc["photo"], doc["photo"]]

def to_text(doc, lmms_eval_specific_kwargs):
    return doc["question"] + lmms_eval_specific_kwargs["post_prompt"]

def process(doc, results):
    return {"colour_acc": float(results[0].strip().lower() == doc["colour"])}

def submission_file(results):
    return 0.0
"""
OWN = """\
task: {name}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.{visual}
doc_to_text: !function utils.to_text
doc_to_target: colour
process_results: !function utils.process
metric_list:
  - {{metric: colour_acc, aggregation: {aggregation}, higher_is_better: true}}
lmms_eval_specific_kwargs:
  default: {{pre_prompt: "", post_prompt: "\\nAnswer the question using a single word or phrase."}}
"""


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for lmms-eval's `--include_path`: copies of three benchmarks and four tasks about colours."""
    folder = tmp_path_factory.mktemp("theirs")
    for name, (file, layout, split) in COPIES.items():
        data = write_synth(folder / layout, seed=3, rows=ROWS, format=layout, workers=1)  # type: ignore[arg-type]
        lines = [f"include: {THEIRS / file}", f"task: {name}", "dataset_path: parquet"]
        lines += ["dataset_name: null", f"dataset_kwargs: {{data_files: {{{split}: {data}}}}}"]
        (folder / f"{name}.yaml").write_text("\n".join(lines))
    colours = write_colours(folder / "colours.parquet")
    (folder / "utils.py").write_text(UTILS)
    for name, visual, aggregation in (
        ("colours", "to_visual", "mean"),
        ("half_colours", "to_half", "mean"),
        ("paired_colours", "to_pair", "mean"),
        ("sent_colours", "to_visual", "!function utils.submission_file"),
    ):
        text = OWN.format(name=name, file=colours, visual=visual, aggregation=aggregation)
        (folder / f"{name}.yaml").write_text(text)
    return folder


def write_colours(path: Path) -> Path:
    """Four pictures of one colour each, and the question which."""
    rows = []
    for number, colour in enumerate(COLOURS):
        buffer = BytesIO()
        Image.new("RGB", (96 + number, 64), colour).save(buffer, "PNG")
        image = {"bytes": buffer.getvalue(), "path": None}
        rows.append(
            {"question": f"Which colour has picture {number}?", "colour": colour, "photo": image}
        )
    schema = pa.schema([("question", pa.string()), ("colour", pa.string()), ("photo", IMAGE)])
    features = {
        "question": {"dtype": "string", "_type": "Value"},
        "colour": {"dtype": "string", "_type": "Value"},
        "photo": {"_type": "Image"},
    }
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.Table.from_pylist(rows, schema.with_metadata(meta)), path)
    return path


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of datasets and of ours that are nobody else's."""
    before = dict(os.environ)
    folder = tmp_path_factory.mktemp("caches")
    os.environ.update(
        XDG_CACHE_HOME=str(folder / "ours"), LMMS_EVAL_DATASETS_CACHE=str(folder / "datasets")
    )
    for name in ("OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_API_KEY"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def load(theirs: Path) -> Callable[[str], Any]:
    """Loads a task of `theirs`, without indexing those that come with lmms-eval."""
    from lmms_eval.tasks import TaskManager

    manager = TaskManager(
        "WARNING", include_path=str(theirs), include_defaults=False, model_name="p2r"
    )

    def loaded(name: str) -> Any:
        return manager.load_task_or_group([name], task_type="chat")[name]

    return loaded
