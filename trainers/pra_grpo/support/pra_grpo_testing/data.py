"""Tiny training data, model folders and configurations on disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench_pra_grpo.backends.verl.installed import PACKAGES
from PIL import Image, ImageDraw

from p2r_bench.testing.bench import write_bench

COLOURS = ("red", "green", "blue", "black")
_QUESTIONS: Mapping[str, tuple[str, str]] = {
    "mca": ("<image>\nWhich colour is square {n}?\nA. red\nB. green\nC. blue\nD. black", "B"),
    "na": ("<image>\nHow many squares are in picture {n}?", "1"),
    "free_form": ("<image>\nWhat is drawn in picture {n}?", "a square"),
    "word": ("<image>\nWhich colour is square {n}?", "green"),
    "caption": ("<image>\nDescribe picture {n}.", "A square on a white sheet."),
    "yes_no": ("<image>\nIs square {n} green?", "yes"),
}


def write_p2r10k(folder: Path, rows: int = 4, forms: Sequence[str] = ("mca",)) -> Path:
    """Rows in P2R-10k's format, in turns of the answer forms, each with a picture of its own beside it.

    Returns:
        The parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "images").mkdir(parents=True, exist_ok=True)
    table = []
    for number in range(rows):
        form = forms[number % len(forms)]
        question, answer = _QUESTIONS[form]
        name = f"images/{number}.png"
        picture = Image.new("RGB", (160, 128), "white")
        draw = ImageDraw.Draw(picture)
        draw.rectangle((20 + number % 60, 30, 60 + number % 60, 70), fill="green")
        draw.rectangle((0, 0, number % 160, 3), fill="grey")
        picture.save(folder / name)
        table.append(
            {
                "prompt": [{"role": "user", "content": question.format(n=number)}],
                "images": [{"path": name}],
                "reward_model": {"ground_truth": answer, "style": "rule"},
                "extra_info": {"answer_form": form},
            }
        )
    file = folder / "train.parquet"
    pq.write_table(pa.Table.from_pylist(table), file)
    return file


def write_model(folder: Path, weights: Sequence[float] = (0.0,)) -> Path:
    """A model folder with a configuration and one tensor, which no engine but a scripted one can use."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "qwen3_vl"}', "utf-8")
    data = struct.pack(f"<{len(weights)}f", *weights)
    entry = {"dtype": "F32", "shape": [len(weights)], "data_offsets": [0, len(data)]}
    header = json.dumps({"weights": entry}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    return folder


def tiny_training(folder: Path, **changes: Any) -> dict[str, Any]:
    """The values of a configuration that trains for a second, everything scripted; see `scripted_engine`."""
    bench = write_bench(folder / "bench", questions=1)
    values: dict[str, Any] = {
        "model": str(write_model(folder / "start")),
        "out": str(folder / "out"),
        "profile": "tiny",
        "backend": "pra_grpo_testing.backend:ScriptedBackend",
        "data": [{"format": "p2r-10k", "path": str(write_p2r10k(folder / "data"))}],
        "grpo": {"num_generations": 2, "batch_size": 2},
        "services": {
            "reasoner": {"engine": "scripted"},
            "perceiver": {"engine": "scripted"},
            "retries": 0,
            "timeout": 5.0,
        },
        "evaluation": {"tasks": ["HR-Bench"], "engine": "scripted", "data_dir": str(bench)},
    }
    return {**values, **changes}


def write_interpreter(path: Path, versions: Mapping[str, str], otherwise: str = "exit 1") -> Path:
    """A program in the place of an environment's interpreter, which only says what is installed there.

    Args:
        versions: Package to version; the others of `installed.PACKAGES` are not installed.
        otherwise: Shell command for all other calls.
    """
    told = json.dumps({**dict.fromkeys(PACKAGES), **versions})
    path.write_text(f"#!/bin/sh\n[ \"$1\" = -P ] && exec echo '{told}'\n{otherwise}\n", "utf-8")
    path.chmod(0o755)
    return path
