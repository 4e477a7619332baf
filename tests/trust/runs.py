"""Stored runs with chosen results, made through the whole pipeline with scripted replies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.run.result import RunResult
from p2r_bench.testing import scripted_run
from p2r_bench.types import Request

RIGHT = "<answer>{}</answer>"
LETTERS = "ABCD"


def invoke(*arguments: object) -> Result:
    """Run `p2r-bench` with these arguments."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def json_of(*arguments: object) -> Any:
    """Return what a command prints with --json; it has to succeed."""
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout)


def run_with(
    data: Path,
    out: Path,
    right: Callable[[int], bool],
    mode: str = "p2r",
    look: str | Callable[[int], str] = "[]",
    **fields: Any,
) -> RunResult:
    """Run a mode over `write_bench` data; row number n is answered rightly where `right(n)` is true.

    HR-Bench's right letters are A, B, C, D in turn in the rotations of a question, from a letter that depends on it, so the
    letter is taken from the request's own options.
    """

    def reply(request: Request) -> str:
        number = int(request.sample_id.partition("/")[2])
        if request.role == "perceive":
            return look if isinstance(look, str) else look(number)
        answer = truth(data)[request.sample_id]
        if not right(number):
            answer = LETTERS[(LETTERS.index(answer) + 1) % 4]
        return answer if request.role == "answer" else RIGHT.format(answer)

    return scripted_run(mode, reply, out=out, data_dir=data, **fields)


def truth(data: Path) -> dict[str, str]:
    """Return each sample's right letter."""
    from p2r_bench.tasks.hr_bench import HRBench
    from p2r_bench.types import DataSource

    if data not in _TRUTH:
        _TRUTH[data] = {s.id: s.answer for s in HRBench().samples(DataSource(data))}
    return _TRUTH[data]


_TRUTH: dict[Path, dict[str, str]] = {}
