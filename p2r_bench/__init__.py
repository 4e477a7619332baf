"""p2r-bench: benchmark vision-language models under Perceive-to-Reason.

Everything a plugin or a notebook needs is here: `from p2r_bench import TwoStage, evaluate`. Names
are imported on first use, so importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("p2r_bench")
"""Marks a function of a plugin as the implementation of the hook of the same name."""

_HOMES = {
    "p2r_bench.types": (
        "Ask",
        "Box",
        "Capabilities",
        "Completion",
        "DataSource",
        "Engine",
        "EngineConfig",
        "ErrorInfo",
        "Evidence",
        "ImageEncoder",
        "ImageRef",
        "Judge",
        "Message",
        "Metric",
        "Mode",
        "Prediction",
        "Recipe",
        "Request",
        "Sample",
        "Sampling",
        "Task",
        "Trainer",
        "Verdict",
        "WireImage",
    ),
    "p2r_bench.errors": ("EngineError", "ImageError", "JudgeError", "P2RError", "UserError"),
    "p2r_bench.adapter": ("Profile", "TwoStage", "load_profile"),
    "p2r_bench.session": (
        "AsyncSession",
        "EngineChoice",
        "SampleSet",
        "RunResult",
        "RunSpec",
        "Session",
        "evaluate",
    ),
}
_EXPORTS = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", "hookimpl", *sorted(_EXPORTS)]

if TYPE_CHECKING:
    from p2r_bench.adapter import Profile as Profile
    from p2r_bench.adapter import TwoStage as TwoStage
    from p2r_bench.adapter import load_profile as load_profile
    from p2r_bench.errors import EngineError as EngineError
    from p2r_bench.errors import ImageError as ImageError
    from p2r_bench.errors import JudgeError as JudgeError
    from p2r_bench.errors import P2RError as P2RError
    from p2r_bench.errors import UserError as UserError
    from p2r_bench.session import AsyncSession as AsyncSession
    from p2r_bench.session import EngineChoice as EngineChoice
    from p2r_bench.session import RunResult as RunResult
    from p2r_bench.session import RunSpec as RunSpec
    from p2r_bench.session import SampleSet as SampleSet
    from p2r_bench.session import Session as Session
    from p2r_bench.session import evaluate as evaluate
    from p2r_bench.types import Ask as Ask
    from p2r_bench.types import Box as Box
    from p2r_bench.types import Capabilities as Capabilities
    from p2r_bench.types import Completion as Completion
    from p2r_bench.types import DataSource as DataSource
    from p2r_bench.types import Engine as Engine
    from p2r_bench.types import EngineConfig as EngineConfig
    from p2r_bench.types import ErrorInfo as ErrorInfo
    from p2r_bench.types import Evidence as Evidence
    from p2r_bench.types import ImageRef as ImageRef
    from p2r_bench.types import Judge as Judge
    from p2r_bench.types import Message as Message
    from p2r_bench.types import Metric as Metric
    from p2r_bench.types import Mode as Mode
    from p2r_bench.types import Prediction as Prediction
    from p2r_bench.types import Recipe as Recipe
    from p2r_bench.types import Request as Request
    from p2r_bench.types import Sample as Sample
    from p2r_bench.types import Sampling as Sampling
    from p2r_bench.types import Task as Task
    from p2r_bench.types import Trainer as Trainer
    from p2r_bench.types import Verdict as Verdict


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'p2r_bench' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
