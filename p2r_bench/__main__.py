"""Entry point of `p2r-bench`: sets up signals and standard streams before slow imports."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_EXIT_STATUS = 130
_SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def main() -> None:
    """Run the command line. SIGINT, SIGTERM and SIGHUP end it with status 130 and one line, at any moment.

    `p2r-bench run` and `train` handle signals themselves while they work.
    """
    _open_closed_streams()
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    _handle(heard, _leave)
    from p2r_bench.cli import main as command

    def interrupt(number: int, frame: FrameType | None) -> None:
        _handle(heard, _leave_silently)
        raise KeyboardInterrupt

    _handle(heard, interrupt)
    try:
        command(prog_name="p2r-bench")
    except KeyboardInterrupt:
        _leave()
    finally:
        _handle(
            heard, _leave_silently
        )  # nothing is left to do, and the interpreter is shutting down


def _handle(numbers: list[signal.Signals], handler: signal._HANDLER) -> None:
    for number in numbers:
        signal.signal(number, handler)


def _leave(*_: object) -> None:
    with suppress(OSError):
        os.write(2, b"Interrupted.\n")
    os._exit(_EXIT_STATUS)


def _leave_silently(*_: object) -> None:
    os._exit(_EXIT_STATUS)


def _open_closed_streams() -> None:
    """Open standard streams that the caller has closed (`>&-`), so that no other file gets their descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    main()
