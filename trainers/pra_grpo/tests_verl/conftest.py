"""verl on a machine without a GPU: one Ray for all tests, and no network."""

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
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
)
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# Behind what is installed: the server of the core's own tests.
sys.path.append(str(ROOT))

import pytest  # noqa: E402
import ray  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Ray on this machine, whose workers find the tests' stand-ins."""
    ray.init(
        num_cpus=8,  # places, not cores
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": f"{HERE}:{ROOT}", **_passed_on()}},
    )
    yield
    ray.shutdown()


def _passed_on() -> dict[str, str]:
    return {
        name: os.environ[name]
        for name in ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
    }
