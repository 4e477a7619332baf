"""Facts about the machine and the software that a run records."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import p2r_bench
from p2r_bench.redaction import redacted_command

_DECIDING = ("p2r-bench", "pillow", "torch", "transformers", "vllm", "flash-attn")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a number, by name."""
    found = {"python": platform.python_version()}
    for name in _DECIDING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return the processor type and the system. Accelerators are among the engine's own facts."""
    return {"machine": platform.machine(), "system": platform.system(), "cpus": os.cpu_count()}


@cache
def git_state() -> dict[str, Any] | None:
    """Return the commit of p2r-bench's checkout, and whether it has changes; None outside a checkout."""
    root = Path(p2r_bench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str | None:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except FileNotFoundError:
        return None


def command() -> list[str]:
    """Return the command line of this process, without passwords and the values of headers."""
    return redacted_command([Path(sys.argv[0]).name, *sys.argv[1:]])
