"""Trainings that are killed, with SIGKILL and in processes of their own, at a moment of choice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [__name__, "p2r_bench_pra_grpo.rounds.machine", "matplotlib.figure"]
)


def killed_at_every_moment(
    values: Mapping[str, Any],
    told: Path,
    *,
    but: Collection[str] = (),
    killed: Callable[[str], object] = str,
) -> list[str]:
    """Run a training, killing it once at each moment: a step begins, is done, or is recorded, and every metrics row.

    Args:
        values: Of the configuration.
        told: File in which the processes tell where they were killed.
        but: Moments at which it is left alone.
        killed: Called with each moment after it was killed there.

    Returns:
        The moments, in the order in which it was killed there.
    """
    moments: list[str] = []
    while (status := _run(values, [*but, *moments], told)) != 0:
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the training ended with status {status} after {moments[-1:]}")
        moments.append(told.read_text("utf-8"))
        killed(moments[-1])
    return moments


def killed_after(values: Mapping[str, Any], seconds: Sequence[float]) -> int:
    """Run a training, killing it after so many seconds, each time; then run it to its end.

    Returns:
        How often it was killed before it had ended.
    """
    kills = 0
    for delay in seconds:
        process = _CONTEXT.Process(target=_train, args=(values, None, None))
        process.start()
        process.join(delay)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
        elif process.exitcode:
            raise RuntimeError(f"the training ended with status {process.exitcode}")
    if status := _run(values, None, None):
        raise RuntimeError(f"the training ended with status {status}")
    return kills


def _run(values: Mapping[str, Any], spared: list[str] | None, told: Path | None) -> int:
    process = _CONTEXT.Process(target=_train, args=(values, spared, told))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _train(values: Mapping[str, Any], spared: list[str] | None, told: Path | None) -> None:
    """Train; at the first moment that is not spared, tell it and die."""
    from p2r_bench_pra_grpo.backends import make_backend
    from p2r_bench_pra_grpo.config import load_config
    from p2r_bench_pra_grpo.rounds.machine import Rounds

    from pra_grpo_testing.engine import scripted_engine

    def pass_through(moment: str) -> None:
        if spared is None or moment in spared:
            return
        assert told is not None
        told.write_text(moment, "utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    with scripted_engine():
        config = load_config(values)
        rounds = Rounds(
            config,
            make_backend(config),
            say=lambda line: None,
            view=lambda row: pass_through(f"{row['round']} {row['role']} step {row['step']}"),
            watch=lambda step, moment: pass_through(f"{step.name} {moment}"),
        )
        rounds.run()
