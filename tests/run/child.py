"""A process to kill: python -m tests.run.child DATA OUT DELAY"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from tests.run.conftest import FakeEngine, FakeEngines


def main(data: str, out: str, delay: str) -> int:
    spec = RunSpec("HR-Bench", data_dir=Path(data), out=Path(out), profile="tiny", in_flight=4)
    engine = FakeEngine(delay=float(delay))
    result = asyncio.run(run(spec, FakeEngines(engine)))
    sys.stdout.write(
        f"calls {len(engine.calls)} added {result.added} interrupted {result.interrupted}\n"
    )
    return 130 if result.interrupted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
