"""Count the modules that a sample crosses, from its `solve` to its record on disk: python -m tools.crossed_modules"""

from __future__ import annotations

import sys
import tempfile
import threading
from types import FrameType

from p2r_bench import evaluate


class Trace:
    """Modules of the core with a function that was called while a sample was in progress."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._solving = False

    def __call__(self, frame: FrameType, event: str, result: object) -> None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if not module.startswith("p2r_bench."):
            return
        if event == "call" and function == "solve" and module.startswith("p2r_bench.modes."):
            self._solving = True
        if self._solving and event == "call" and function != "<module>":
            self.modules.add(module)
        if event == "return" and module == "p2r_bench.store.run_folder" and function == "record":
            self._solving = (
                self._solving and result is not True
            )  # a coroutine that waits gives no result


def main() -> None:
    """Run one sample of Synth-HR in mode p2r with the bundled model, and print the modules."""
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    with tempfile.TemporaryDirectory() as out:
        evaluate("p2r", "Synth-HR", limit=1, out=out)
    sys.setprofile(None)
    print(len(trace.modules), *sorted(trace.modules), sep="\n")


if __name__ == "__main__":
    main()
