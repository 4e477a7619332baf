"""An alternative to perceive-then-reason: a model that zooms by calling a tool."""

from __future__ import annotations

from p2r_bench import hookimpl
from p2r_bench.hookspecs import Register


@hookimpl
def register_modes(register: Register) -> None:
    register("zoom-tools", "p2r_bench_zoom.mode:ZoomTools")
