"""Stored runs of any size, written as parquet files without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from p2r_bench.judges.strict import Strict
from p2r_bench.store.identity import RunIdentity, RunLabels
from p2r_bench.store.manifest import Manifest
from p2r_bench.store.schema import METRICS, SAMPLES, VERDICTS, Table
from p2r_bench.types import Metric

PER_IMAGE = 4


def stored_run(out: Path, rows: int, accuracy: float, seed: int) -> Path:
    """Write a finished run of a choice task, four rows to an image, and return its folder.

    Args:
        accuracy: Share of right rows, each drawn by itself.
        seed: Decides which rows are right; part of the run's identity.
    """
    models = {"reason": "0" * 64}
    identity = RunIdentity(
        "HR-Bench", "p2r", "p2r-bench 0.1.0", models, "d" * 64, "e" * 64, seed=seed
    )
    folder = out / "runs" / f"stored-{seed}"
    folder.mkdir(parents=True)
    manifest = Manifest.create(
        folder, identity, RunLabels({"reason": "stored"}, "p2r"), (Metric(),)
    )
    ids = [f"4K/{n}" for n in range(rows)]
    text = "<think>The sign at the corner shows a five.</think><answer>B</answer>"
    samples = {
        "sample_id": ids,
        "repeat": np.zeros(rows, np.int32),
        "index": np.arange(rows),
        "task": ["HR-Bench"] * rows,
        "subset": ["4K"] * rows,
        "category": ["single", "cross"] * (rows // 2) + ["single"] * (rows % 2),
        "cells": [[{"subset": "4K", "category": None}]] * rows,
        "group": [f"{n // PER_IMAGE:064x}" for n in range(rows)],
        "question_id": [f"4K/q{n // PER_IMAGE}" for n in range(rows)],
        "question": ["Which digit does the sign at the corner show?"] * rows,
        "answer": ["B"] * rows,
        "answer_form": ["choice"] * rows,
        "status": ["ok"] * rows,
        "extracted_answer": ["B"] * rows,
        "stages": [[{"role": "reason", "text": text, "finish_reason": "stop"}]] * rows,
        "n_calls": np.full(rows, 2, np.int32),
    }
    right = np.random.default_rng(seed).random(rows) < accuracy
    verdicts = {
        "sample_id": ids,
        "repeat": np.zeros(rows, np.int32),
        "index": np.arange(rows),
        "scorer": ["strict"] * rows,
        "version": [Strict.version] * rows,
        "params_hash": [Strict.params_hash] * rows,
        "extracted": ["B"] * rows,
        "correct": right,
        "score": right.astype(float),
        "status": ["ok"] * rows,
    }
    _write(folder, SAMPLES, samples, rows)
    _write(folder, VERDICTS, verdicts, rows)
    _write(folder, METRICS, {}, 0)
    manifest.expected = {("4K", None): rows}
    manifest.finish(journal_bytes=0, samples=rows, scorer="strict", complete=True)
    return folder


def _write(folder: Path, table: Table, values: dict[str, Any], rows: int) -> None:
    columns = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.nulls(rows, field.type)
        for field in table.schema
    ]
    pq.write_table(
        pa.Table.from_arrays(columns, schema=table.schema), folder / f"{table.name}.parquet"
    )
