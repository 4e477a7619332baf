"""lmms-eval's own scoring of one answer."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from p2r_bench.errors import JudgeError, UserError
from p2r_bench.judges.choice import strict_letter
from p2r_bench.types import Sample

NO_ANSWER = "Z"
"""Text that a scorer receives for no answer: no option's letter, and HR-Bench's own word for "none of them"."""

_SERVICE = re.compile(r"OPENAI_API_KEY|AZURE_API_KEY|chat/completions|get_server\(|llm_judge")
_KEYS = ("OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_API_KEY")
_SCORES = ("score", "gpt_score", "correct", "is_correct", "acc")


def handed(task: Any, sample: Sample, answer: str | None) -> str:
    """Return the text that lmms-eval's scorer receives for an answer: the answer, or `Z` for none.

    Where the scorer may ask a judge service and none is configured, an answer to a choice question is reduced to
    the letter that the scorer `strict` reads in it, or `Z`: a letter never reaches the service.
    """
    if answer is None:
        return NO_ANSWER
    if sample.options and wants_service(task) and not service_configured():
        match = strict_letter(answer, sample.options)
        return match.value if match else NO_ANSWER
    return answer


def wants_service(task: Any) -> bool:
    """Return True if the task's scorer may call a judge model: its file, or one of lmms-eval that it uses, names one."""
    scorer = task.config.process_results
    if not callable(scorer):
        return False
    files = {_file(scorer)}
    for value in getattr(scorer, "__globals__", {}).values():
        if (getattr(value, "__module__", None) or "").startswith("lmms_eval."):
            files.add(_file(value))
    return any(_speaks_of_service(file) for file in files if file)


def service_configured() -> bool:
    """Return True if the environment has a key of a judge service."""
    return any(os.environ.get(name) for name in _KEYS)


def check_scorable(task: Any, name: str, *, choices_only: bool) -> None:
    """Refuse, at start, a task that could not be scored.

    Args:
        choices_only: Every document is a multiple choice question.

    Raises:
        UserError: The scorer needs images, writes a file for a server to score, or needs a service without a key.
    """
    if getattr(task.config, "process_results_use_image", False):
        raise UserError(f"{name}: its scorer reads the image itself, which is not supported here")
    for metric, aggregate in task.aggregation().items():
        if "submission" in getattr(aggregate, "__name__", ""):
            raise UserError(
                f"{name}: {metric} only writes a file for a server that scores it; run it inside "
                "lmms-eval, with --model p2r"
            )
    if wants_service(task) and not service_configured() and not choices_only:
        raise UserError(
            f"{name}: its scorer asks a judge model; set {_KEYS[0]} (and the task's own variables for "
            "its address) before the run"
        )


def process(task: Any, doc: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the result of the task's `process_results` for an answer: metric to value."""
    # lmms-eval tries five times, two seconds apart, whatever the error.
    once = getattr(type(task).process_results, "__wrapped__", None)
    result = once(task, doc, [text]) if once else task.process_results(doc, [text])
    if not isinstance(result, dict):
        raise JudgeError(f"process_results gave {type(result).__name__}, not metrics")
    return result


def is_right(task: Any, result: Mapping[str, Any]) -> bool:
    """Return True if a document has full marks in the task's first metric.

    Raises:
        JudgeError: No metric of the task is in the result, or its value is no number.
    """
    for metric, aggregate in task.aggregation().items():
        if metric in result:
            value = _number(task, result[metric], aggregate)
            if value is None:
                raise JudgeError(f"{metric}: {result[metric]!r} is no score of one document")
            return value in (1.0, 100.0)
    raise JudgeError(f"no metric of the task in {sorted(result)}")


def _number(task: Any, value: Any, aggregate: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, Mapping):
        for key in (getattr(task.config, "score_key", None), *_SCORES):
            if isinstance(value.get(key), bool | int | float):
                return float(value[key])
    # The figure over this one document, by the task's own aggregation.
    if "args" in inspect.signature(aggregate).parameters:
        figure = aggregate([value], args=getattr(task, "args", None))
    else:
        figure = aggregate([value])
    return float(figure) if isinstance(figure, bool | int | float) else None


def _file(thing: Any) -> str | None:
    try:
        return inspect.getsourcefile(thing if inspect.isroutine(thing) else type(thing))
    except TypeError:
        return None


@cache
def _speaks_of_service(file: str) -> bool:
    return bool(_SERVICE.search(Path(file).read_text("utf-8")))
