"""Dead code: vulture over everything that ships, given the classes and functions that are named in texts.

`python -m tools.dead_code` prints each finding and exits with status 1 when there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parent.parent
SHIPPED = (
    "p2r_bench",
    "plugins/lmms_eval/p2r_bench_lmms_eval",
    "plugins/zoom/p2r_bench_zoom",
    "trainers/pra_grpo/p2r_bench_pra_grpo",
    "tools",
    "benchmarks",
    "noxfile.py",
)

DECORATORS = ("@*.command", "@*.group", "@nox.session*")
"""Decorators whose functions click or nox calls."""

CALLED_FROM_OUTSIDE = (
    *("register_*", "hookimpl"),  # pluggy
    *("__getattr__", "__dir__"),
    *("format_commands", "exit_code", "param"),  # click
    *("do_GET", "do_POST", "log_message", "protocol_version", "daemon_threads"),  # http.server
    *("default_venv_backend", "reuse_existing_virtualenvs"),  # nox
    *("generate_until_multi_round", "loglikelihood", "task_dict"),  # lmms-eval
    *("P2RDefault", "P2RThinking"),  # lmms-eval, by name
    *("StageAgentLoop", "StageDataset", "StageRewardManager", "GroupSampler"),  # verl, by file
    *("process_multi_modal_info", "image_patch_size", "resume_dataset_state", "run_single"),  # verl
    *("_attn_implementation", "pre_tokenizer", "decoder"),  # transformers, tokenizers
    *("PUBLIC",),  # read by a test
    *("profile_text", "ci_method"),  # fields of dataclasses that are written whole
)
"""Names that only other libraries use, by the library."""

_TARGET = re.compile(r"[\w.{}]:([A-Za-z_]\w*)[\"']")
"""A string such as "package.module:Class"."""


def unused(paths: Sequence[Path]) -> list[str]:
    """Return a line for each piece of code in files and folders that nothing in them uses."""
    files = list(chain.from_iterable(p.rglob("*.py") if p.is_dir() else [p] for p in paths))
    named = {name for file in files for name in _TARGET.findall(file.read_text("utf-8"))}
    finder = Vulture(ignore_names=[*CALLED_FROM_OUTSIDE, *named], ignore_decorators=[*DECORATORS])
    finder.scavenge(paths)
    return [item.get_report() for item in finder.get_unused_code(min_confidence=60)]


if __name__ == "__main__":
    found = unused([ROOT / name for name in SHIPPED])
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))
