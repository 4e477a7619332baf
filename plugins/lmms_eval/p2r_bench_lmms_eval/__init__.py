"""p2r-bench's modes as lmms-eval models, and lmms-eval's tasks as p2r-bench tasks.

Only the hooks are here; lmms-eval is imported when one of its tasks or models is used.
"""

from __future__ import annotations

from p2r_bench import hookimpl
from p2r_bench.commands import CommandGroup
from p2r_bench.hookspecs import Register

_HERE = "p2r_bench_lmms_eval"


@hookimpl
def register_tasks(register: Register) -> None:
    register("lmms:*", f"{_HERE}.task:LmmsTask")


@hookimpl
def register_judges(register: Register) -> None:
    register("lmms", f"{_HERE}.judge:Lmms")


@hookimpl
def register_engines(register: Register) -> None:
    register("lmms-eval", f"{_HERE}.backend:BackendEngine")


@hookimpl
def register_commands(cli: CommandGroup) -> None:
    cli.lazy("lmms", f"{_HERE}.cli:command", "Export runs in the formats of lmms-eval.")
