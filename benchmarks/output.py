"""Output of benchmarks: a table for people, and one JSON object as the last line."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench.run.environment import versions


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    return parser


def emit(
    name: str, figures: Mapping[str, Any], lines: Sequence[tuple[str, str]], *, as_json: bool
) -> None:
    """Print a benchmark's outcome.

    Args:
        lines: Values with their meaning, for people.
    """
    if not as_json:
        width = max(len(value) for value, _ in lines)
        for value, what in lines:
            print(f"{value:>{width}}  {what}")
    print(json.dumps({"benchmark": name, **figures, "machine": machine()}))


def machine() -> dict[str, Any]:
    """Return facts about this machine."""
    known = versions()
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "pillow": known.get("pillow"),
        "p2r_bench": known.get("p2r-bench"),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
