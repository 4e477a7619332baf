"""PRA-GRPO: a perceiver and a reasoner, trained in turns through the code that evaluates them (arXiv 2607.01191)."""

from __future__ import annotations

from p2r_bench import hookimpl
from p2r_bench.hookspecs import Register


@hookimpl
def register_trainers(register: Register) -> None:
    register("pra-grpo", "p2r_bench_pra_grpo.trainer:PRAGRPO")
