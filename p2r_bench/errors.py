"""Errors raised on purpose. Any other exception is a bug and shows its traceback."""

from __future__ import annotations


class P2RError(Exception):
    """Base of all errors raised on purpose."""


class UserError(P2RError):
    """Something the user can put right. The message names the file, row or field, and the way out.

    The command line prints the message without a traceback and exits with status 2.
    """


class EngineError(P2RError):
    """A request could not be answered. The sample gets status "error", is never scored, and is retried on resume.

    Attributes:
        kind: Short machine-readable cause, such as "timeout", "refused", "http_429", "too_long".
        retryable: True if the same request may succeed later.
        status: HTTP status of a server's answer, or None.
    """

    status: int | None = None

    def __init__(self, message: str, *, kind: str = "engine", retryable: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable


class EngineDead(EngineError):
    """The engine can answer no further request, as after a device error. The run stops; the sample gets no row."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="dead")


class EngineStopped(UserError):
    """A run cannot go on because its engine is dead; recorded samples are kept."""


class JudgeError(P2RError):
    """A judge could not reach a verdict; the verdict gets status "error", the prediction stays."""


class ImageError(P2RError):
    """An image cannot be read, or the model family refuses its shape."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun for a message, such as "1 row" or "1,200 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
