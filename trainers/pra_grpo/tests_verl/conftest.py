"""verl on a machine without a GPU, and no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.update(
    CUDA_VISIBLE_DEVICES="",
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    RAY_DEDUP_LOGS="0",
    RAY_raylet_start_wait_time_s="300",
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
)
HERE = Path(__file__).parent
CORE_TESTS = HERE.parents[2] / "tests" / "engines"
SUPPORT = HERE.parent / "support"
sys.path.append(str(CORE_TESTS))  # its small HTTP server
sys.path.insert(0, str(SUPPORT))

import pytest  # noqa: E402
import ray  # noqa: E402


@pytest.fixture
def cluster() -> Iterator[None]:
    """A new Ray on this machine, whose workers find the tests' stand-ins."""
    ray.init(
        num_cpus=8,  # places, not cores
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": f"{HERE}{os.pathsep}{SUPPORT}", **_passed_on()}},
    )
    yield
    ray.shutdown()


def _passed_on() -> dict[str, str]:
    return {
        name: os.environ[name]
        for name in ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
    }
