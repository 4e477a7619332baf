"""The one way of text to a terminal: whatever a model, a dataset, a server or a plugin put into it is shown, not obeyed."""

from __future__ import annotations

import logging

import click


def printable(text: str) -> str:
    """The text with everything that a terminal would obey or cannot encode as an escape such as \\x1b.

    Line breaks and tabs stay.
    """
    return "".join(
        c if c in "\n\t" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else ascii(c)[1:-1]
        for c in text
    )


def echo(message: object = "", *, nl: bool = True, err: bool = False) -> None:
    """`click.echo` of `printable` text."""
    click.echo(printable(str(message)), nl=nl, err=err)


class EscapingFormatter(logging.Formatter):
    """Formats records as `printable` text."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def escape_log() -> None:
    """Escape what Python writes of log records where no handler is configured."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(EscapingFormatter())
