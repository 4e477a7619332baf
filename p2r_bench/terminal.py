"""Output to a terminal, with control characters of models, datasets, servers and plugins escaped."""

from __future__ import annotations

import logging

import click


def printable(text: str) -> str:
    """Return the text with control characters, and those that cannot be encoded, as escapes such as \\x1b.

    Line breaks and tabs stay.
    """
    return "".join(
        c if c in "\n\t" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else ascii(c)[1:-1]
        for c in text
    )


def echo(message: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text as `click.echo` does, made `printable`."""
    click.echo(printable(str(message)), nl=nl, err=err)


class EscapingFormatter(logging.Formatter):
    """Formatter that makes records `printable`."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def escape_log() -> None:
    """Escape the log records that Python writes when no handler is configured."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(EscapingFormatter())
