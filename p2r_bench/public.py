"""Public modules, for plugins, notebooks and scripts. Any other module may change without notice."""

from __future__ import annotations

PUBLIC = {
    "p2r_bench": "what most plugins need, under one name",
    "p2r_bench.adapter": "profiles, prompts, boxes, crops, rendering, answers",
    "p2r_bench.atomic": "files written whole or not at all",
    "p2r_bench.commands": "the group of commands that `register_commands` receives",
    "p2r_bench.errors": "the errors",
    "p2r_bench.families": "model families",
    "p2r_bench.hookspecs": "the hooks",
    "p2r_bench.judges.choice": "letters out of an answer's text",
    "p2r_bench.judges.verdicts": "a judge's verdict, with its failure as a status",
    "p2r_bench.plugins": "names that are registered, and who registered them",
    "p2r_bench.public": "this list",
    "p2r_bench.session": "running: `Session`, `AsyncSession`, `evaluate`",
    "p2r_bench.store.reader": "reading a run folder",
    "p2r_bench.store.rows": "samples and predictions from stored rows",
    "p2r_bench.synth": "the procedural benchmark",
    "p2r_bench.tasks.benchmark": "rows of a benchmark in a folder of shards",
    "p2r_bench.tasks.fields": "fields of a row, with errors that name them",
    "p2r_bench.tasks.hr_bench": "HR-Bench",
    "p2r_bench.tasks.location": "folders of data and caches",
    "p2r_bench.tasks.mme_realworld": "MME-RealWorld",
    "p2r_bench.tasks.reading": "images by reference: probing and reading",
    "p2r_bench.tasks.rotations": "rotations of one question",
    "p2r_bench.tasks.shards": "parquet and arrow shards",
    "p2r_bench.tasks.synth_hr": "Synth-HR",
    "p2r_bench.tasks.vstar": "V*",
    "p2r_bench.terminal": "text from outside, escaped for a terminal",
    "p2r_bench.testing": "contracts and fixtures for tests of plugins",
    "p2r_bench.types": "the types and protocols that cross a boundary",
}
"""Module to its contents."""
