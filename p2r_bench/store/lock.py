"""One writer at a time, across processes."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from p2r_bench.errors import UserError


class Lock:
    """An exclusive lock on `path`, freed by the operating system when its process dies.

    The owner's pid and host stand in a second file, because a waiter may empty the first one.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, thread_local=False)
        self._owner = path.with_name(path.name + ".owner")

    def acquire(self, what: str, *, timeout: float = 0.0) -> None:
        """Take the lock.

        Args:
            what: What is locked, for the message.
            timeout: Seconds to wait for another owner.

        Raises:
            UserError: Somebody else has it, or the folder cannot be written.
        """
        try:
            self._lock.acquire(timeout=timeout)
            self._owner.write_text(
                f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8"
            )
        except Timeout as error:
            raise UserError(
                f"{what} is being written by {self._read_owner()}. Wait for it to end, or stop it; "
                "the same command then continues where it was."
            ) from error
        except OSError as error:
            raise UserError(f"{what} cannot be written: {error.strerror or error}.") from error

    def release(self) -> None:
        """Give it back; safe to call twice."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._owner.unlink(missing_ok=True)
            self._lock.release()

    def _read_owner(self) -> str:
        try:
            return self._owner.read_text(encoding="utf-8") or "another process"
        except OSError:
            return "another process"
