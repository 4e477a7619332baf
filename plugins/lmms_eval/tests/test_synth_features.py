"""`datasets` reads the output of `data synth` like the published files: images are images."""

from __future__ import annotations

from pathlib import Path

import datasets
from PIL import Image

from p2r_bench.synth import write_synth


def test_datasets_sees_images(tmp_path: Path) -> None:
    path = write_synth(tmp_path, seed=0, rows=1, format="vstar", workers=1)
    (row,) = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(row["image"], Image.Image)
    assert row["image"].size == (3840, 2160)
    assert len(row["boxes"][0]["bbox_2d"]) == 4
