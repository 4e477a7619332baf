"""Help for tests of plugins: contracts, scripted replies, tiny samples and a tiny benchmark.

`from p2r_bench.testing import ModeContract` is enough to use a contract; `pytest_plugins = "p2r_bench.testing"`
in a conftest.py adds the fixtures `tiny_bench` and `scripted_run`. docs/plugins/testing.md shows both.
"""

from __future__ import annotations

import pytest

_PARTS = ("engine", "family", "judge", "mode", "task", "trainer")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from p2r_bench.testing.bench import scripted_run, tiny_bench, write_bench  # noqa: E402
from p2r_bench.testing.bench import scripted_run_fixture as scripted_run_fixture  # noqa: E402
from p2r_bench.testing.engine import EngineContract  # noqa: E402
from p2r_bench.testing.family import FamilyContract  # noqa: E402
from p2r_bench.testing.judge import JudgeContract, ServiceJudgeContract  # noqa: E402
from p2r_bench.testing.mode import ModeContract  # noqa: E402
from p2r_bench.testing.registering import plugin_of  # noqa: E402
from p2r_bench.testing.samples import tiny_sample, tiny_samples, without_boxes  # noqa: E402
from p2r_bench.testing.script import Replies, Reply, Script, right_replies  # noqa: E402
from p2r_bench.testing.solving import solve  # noqa: E402
from p2r_bench.testing.task import TaskContract  # noqa: E402
from p2r_bench.testing.trainer import TrainerContract  # noqa: E402

__all__ = [
    "EngineContract",
    "FamilyContract",
    "JudgeContract",
    "ModeContract",
    "Replies",
    "Reply",
    "Script",
    "ServiceJudgeContract",
    "TaskContract",
    "TrainerContract",
    "plugin_of",
    "right_replies",
    "scripted_run",
    "solve",
    "tiny_bench",
    "tiny_sample",
    "tiny_samples",
    "without_boxes",
    "write_bench",
]
