"""Versions of packages in the environment that runs verl. Run as a program there, the module prints them as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata

from p2r_bench.errors import UserError

PACKAGES = ("verl", "torch", "transformers", "vllm", "ray", "flash-attn")

Versions = Mapping[str, str | None]
"""Package to its version; None where it is not installed."""

_SECONDS = 120


def installed(python: str, environment: Mapping[str, str]) -> Versions:
    """Return the versions of `PACKAGES` for an interpreter, which is started once per process.

    Args:
        environment: Environment variables beside this process's own.

    Raises:
        UserError: The interpreter cannot be run, or lacks p2r-bench-pra-grpo.
    """
    return _asked(python, tuple(sorted(environment.items())))


@cache
def _asked(python: str, environment: tuple[tuple[str, str], ...]) -> Versions:
    command = [python, "-P", "-m", __name__]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **dict(environment)},
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"verl.python: {python} cannot be run: {error}") from error
    lines = (done.stdout if done.returncode == 0 else done.stderr).splitlines() or ["no output"]
    if done.returncode != 0:
        raise UserError(
            f"verl.python: {python} cannot import p2r-bench-pra-grpo, which verl's processes need; install "
            f"p2r-bench-pra-grpo[verl] in its environment ({lines[-1]})"
        )
    versions: Versions = json.loads(lines[-1])
    return versions


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps({package: _version(package) for package in PACKAGES}) + "\n")
