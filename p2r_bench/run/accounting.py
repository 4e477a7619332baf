"""Resources used by a session of a run: time by stage, tokens, engine load, images, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from p2r_bench.types import Completion, Verdict

if TYPE_CHECKING:
    from p2r_bench.run.schedule.pipeline import Outcome

TIMES = ("queue", "image", "engine")
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens", "visual_tokens")


class EngineMeter:
    """Number of requests inside an engine over time.

    Attributes:
        busy_s: Seconds with at least one request inside.
        request_s: Seconds summed over the requests inside; at most `capacity` of them count at a time.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.busy_s = 0.0
        self.request_s = 0.0
        self._inside = 0
        self._since = 0.0

    def enter(self, now: float) -> None:
        """Count a request that enters the engine at `now`, a time of `perf_counter`."""
        self._count(now)
        self._inside += 1

    def leave(self, now: float) -> None:
        """Count a request that leaves the engine."""
        self._count(now)
        self._inside -= 1

    def read(self) -> dict[str, float]:
        """Return the capacity and the seconds up to now."""
        self._count(time.perf_counter())
        return {
            "capacity": self.capacity,
            "busy_s": self.busy_s,
            "request_s": self.request_s,
        }

    def _count(self, now: float) -> None:
        if self._inside:
            passed = now - self._since
            self.busy_s += passed
            self.request_s += passed * min(self._inside, self.capacity)
        self._since = now


class Ledger:
    """Sums over the outcomes of a session."""

    def __init__(self) -> None:
        self.rows = 0
        self.errors = 0
        self.judge_s = 0.0
        self._stages: dict[str, dict[str, Any]] = {}

    def add(self, outcome: Outcome) -> None:
        """Count an outcome that has been recorded."""
        self.rows += 1
        self.errors += outcome.prediction.status == "error"
        self.judge_s += judge_seconds(outcome.verdicts) or 0.0
        for completion in outcome.prediction.completions:
            self._add_call(completion)

    def _add_call(self, completion: Completion) -> None:
        role = completion.request.role if completion.request else "?"
        stage = self._stages.get(role)
        if stage is None:
            stage = self._stages[role] = {
                "calls": 0,
                **{f"{name}_s": 0.0 for name in TIMES},
                **dict.fromkeys(TOKENS, 0),
            }
        stage["calls"] += 1
        for name in TIMES:
            stage[f"{name}_s"] += completion.timings.get(name, 0.0)
        for name in TOKENS:
            tokens = getattr(completion, name)
            # A count missing from one call makes the sum unknown.
            stage[name] = None if tokens is None or stage[name] is None else stage[name] + tokens

    def summary(self, seconds: float, launcher: Mapping[str, Any]) -> dict[str, Any]:
        """Return the manifest's accounting of a session; see docs/throughput.md.

        Args:
            seconds: From the start of the first row until the last one is on disk.
            launcher: The result of `Launcher.accounting`; returned with sums over its replicas added.
        """
        pipelines = list(launcher.get("replicas", {"": launcher}).values())
        return {
            "rows": self.rows,
            "errors": self.errors,
            "seconds": round(seconds, 3),
            "rows_per_s": round(self.rows / seconds, 3),
            "peak_mb": round(peak_mb(), 1),
            "judge_s": round(self.judge_s, 6),
            "stages": {role: _rounded(stage) for role, stage in self._stages.items()},
            "engine": _shares([m for p in pipelines for m in p.get("engines", ())], seconds),
            "images": {
                name: sum(p.get("images", {}).get(name, 0) for p in pipelines)
                for name in ("sent", "made", "decoded")
            },
            **launcher,
        }


def _shares(meters: Sequence[Mapping[str, float]], seconds: float) -> dict[str, float | None]:
    """Return the load of all engines together, from readings of `EngineMeter.read`."""
    capacity = sum(meter["capacity"] for meter in meters)
    if not capacity:
        return {"capacity": 0, "busy_share": None, "fullness": None}
    busy, request = (sum(meter[name] for meter in meters) for name in ("busy_s", "request_s"))
    return {
        "capacity": capacity,
        "busy_share": round(busy / seconds / len(meters), 4),
        "fullness": round(request / seconds / capacity, 4),
    }


def judge_seconds(verdicts: Sequence[Verdict]) -> float | None:
    """Return the seconds that all judges of a sample took; None without a verdict."""
    return sum(verdict.seconds or 0.0 for verdict in verdicts) if verdicts else None


def block(accounting: Mapping[str, Any]) -> list[str]:
    """Return a session's accounting as text: one line for the run, one for the images, one for each stage."""
    engine, images = accounting["engine"], accounting["images"]
    head = f"{accounting['rows_per_s']:.1f} rows/s for {accounting['seconds']:.0f} s"
    if engine["busy_share"] is not None:
        head += f"; engine busy {100 * engine['busy_share']:.0f} % of the time, {100 * engine['fullness']:.0f} % full"
    lines = [
        f"{head}; peak memory {accounting['peak_mb']:.0f} MB",
        f"{images['sent']} images sent, {images['made']} rendered, {images['decoded']} decoded",
    ]
    for role, stage in accounting["stages"].items():
        times = ", ".join(f"{name} {stage[f'{name}_s'] / stage['calls']:.3f} s" for name in TIMES)
        lines.append(f"{role}, mean of {stage['calls']} calls: {times}; tokens {_tokens(stage)}")
    return lines


def _tokens(stage: Mapping[str, Any]) -> str:
    names = {"prompt": "in", "cached": "of them cached", "visual": "visual", "output": "out"}
    sums = {name: stage[f"{name}_tokens"] for name in names}
    means = [f"{n / stage['calls']:.0f} {names[name]}" for name, n in sums.items() if n is not None]
    return ", ".join(means) or "unavailable"


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _rounded(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in stage.items()}
