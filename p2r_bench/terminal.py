"""Output to a terminal, with control characters of models, datasets, servers and plugins escaped."""

from __future__ import annotations

import errno
import logging
import os
import re

import click

GONE = (errno.EPIPE, errno.EIO)
"""Error numbers of writing to a closed pipe or a closed terminal."""


def printable(text: str) -> str:
    """Return the text with control characters, and those that cannot be encoded, as escapes such as \\x1b.

    Line breaks and tabs stay.
    """
    return _PERHAPS_UNPRINTABLE.sub(_escaped, text)


_PERHAPS_UNPRINTABLE = re.compile(r"[^\n\t -~]+")


def _escaped(match: re.Match[str]) -> str:
    text = match[0]
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def echo(message: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text as `click.echo` does, made `printable`. A closed pipe or terminal is ignored."""
    try:
        click.echo(printable(str(message)), nl=nl, err=err)
    except OSError as error:
        if error.errno not in GONE:
            raise
        silenced = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silenced, 2 if err else 1)
        os.close(silenced)


class EscapingFormatter(logging.Formatter):
    """Formatter that makes records `printable`."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def escape_log() -> None:
    """Escape the log records that Python writes when no handler is configured."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(EscapingFormatter())
