"""No test loads third-party plugins or reaches a network."""

from __future__ import annotations

import os

os.environ["P2R_BENCH_LOAD_PLUGINS"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"
