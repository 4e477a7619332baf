"""Lock for one writer at a time, across processes."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from p2r_bench.errors import UserError


class Lock:
    """Exclusive lock on `path`, released by the operating system when its process dies.

    The owner's pid and host are in a second file, because a waiting process may empty the first one.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, thread_local=False)
        self._owner = path.with_name(path.name + ".owner")

    def acquire(self, what: str, *, timeout: float = 0.0) -> None:
        """Acquire the lock.

        Args:
            what: Name of the locked thing, for messages.
            timeout: Seconds to wait for another owner.

        Raises:
            UserError: Another owner holds the lock, or the folder cannot be written.
        """
        try:
            self._lock.acquire(timeout=timeout)
            self._owner.write_text(
                f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8"
            )
        except Timeout as error:
            raise UserError(
                f"{what} is being written by {self._read_owner()}. Wait until it ends, or stop it; "
                "the same command then continues the run."
            ) from error
        except OSError as error:
            self.release()  # it may be the owner's file that cannot be written
            raise UserError(f"{what} cannot be written: {error.strerror or error}.") from error

    def release(self) -> None:
        """Release the lock. Safe to call twice."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._owner.unlink(missing_ok=True)
            self._lock.release()

    def _read_owner(self) -> str:
        try:
            return self._owner.read_text(encoding="utf-8") or "another process"
        except OSError:
            return "another process"
