"""No test loads installed plugins, reaches a network beyond this machine, or shares a cache with the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SUPPORT = str(Path(__file__).parents[1] / "support")
sys.path.insert(0, SUPPORT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")]))

from pra_grpo_testing import scripted_engine  # noqa: E402

os.environ["P2R_BENCH_LOAD_PLUGINS"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("pra-grpo", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("pra-grpo")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Rendered images and cached replies are shared by the tests of this session and by nothing else."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture
def scripted() -> Iterator[None]:
    """The engine "scripted" is registered beside the core's own."""
    with scripted_engine():
        yield
