"""No test loads third-party plugins, reaches a network, or fails because the machine is slow."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["P2R_BENCH_LOAD_PLUGINS"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"

# CI tries the same examples every time, so that a change is judged by what it changed; elsewhere new ones are tried.
settings.register_profile("p2r-bench", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("p2r-bench")
