"""Redaction of secrets before output and storage: passwords and queries of URLs, values of headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from p2r_bench.errors import UserError

HIDDEN = "***"

_USER = re.compile(r"(?<=://)[^/\s,?#]+@")
_QUERY = re.compile(r"(://[^\s,?#]*)\?[^\s,#]*")
_ARGUMENT = re.compile(r"((?:--engine-arg=)?(?:\w+:)?)(base_url|headers)=(.*)", re.DOTALL)


def redacted_url(text: str) -> str:
    """Return the text with `***` for the user, password and query of every URL in it."""
    return _QUERY.sub(rf"\1?{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))


def usable_key(value: str | None, variable: str) -> str | None:
    """Return a key from an environment variable, stripped; None when it is empty.

    Raises:
        UserError: A character not allowed in HTTP headers. The message does not show the key.
    """
    key = (value or "").strip()
    for character in key:
        if not (character.isascii() and character.isprintable()):
            raise UserError(
                f"The environment variable {variable} holds U+{ord(character):04X}, which no HTTP header can: "
                "was it copied with formatting?"
            )
    return key or None


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text with `***` for every secret in it, since servers repeat keys that they refuse."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def redacted_arguments(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return engine arguments without secrets."""
    return {name: _value(name, value) for name, value in arguments.items()}


def redacted_command(words: Sequence[str]) -> list[str]:
    """Return a command line without secrets."""
    return [
        f"{found[1]}{found[2]}={_value(found[2], found[3])}"
        if (found := _ARGUMENT.fullmatch(word))
        else redacted_url(word)
        for word in words
    ]


def _value(name: str, value: str) -> str:
    if name == "headers":
        return HIDDEN
    if name == "base_url":  # a URL's scheme may be missing
        urls = (url if "://" in url else f"http://{url}" for url in value.split(","))
        value = ",".join(urls) if "@" in value or "?" in value else value
    return redacted_url(value)
