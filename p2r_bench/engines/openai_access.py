"""Headers, query and request fields that a server wants, from the arguments of the `openai` engine."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from p2r_bench.engines.openai_format import EXTRA_FIELDS, OWN_FIELDS, STANDARD_FIELDS, Dialect
from p2r_bench.errors import EngineError, UserError

if TYPE_CHECKING:
    from p2r_bench.engines.openai import Arguments

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def request_headers(arguments: Arguments, *, key_is_wanted: bool) -> dict[str, str]:
    """Return the API key's header and those of `headers`, with `${NAME}` replaced by environment variables.

    Args:
        key_is_wanted: True if the user named the key's variable, which must then be set.

    Raises:
        UserError: A variable is not set, or a header cannot hold a value.
    """
    headers: dict[str, str] = {}
    variable, name = arguments.api_key_env, arguments.api_key_header
    key = os.environ.get(variable, "").strip()
    if key:
        text = f"Bearer {key}" if name.lower() == "authorization" else key
        headers[name] = _checked(text, f"The environment variable {variable}")
    elif key_is_wanted:
        raise UserError(
            f"--engine-arg api_key_env={variable}: this environment variable is not set."
        )
    for name, value in arguments.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise UserError(f"--engine-arg headers: {name!r} is not the name of a header.")
        headers[name] = _checked(_filled_in(value), f"--engine-arg headers: the value of {name}")
    return headers


def query(arguments: Arguments) -> dict[str, str]:
    """Return the query parameters of every call."""
    return {"api-version": arguments.api_version} if arguments.api_version else {}


def dialect(arguments: Arguments) -> Dialect:
    """Return the form in which a server takes requests.

    Raises:
        UserError: `omit` names an unknown field, or `extra_body` one that comes from the profile.
    """
    fields = STANDARD_FIELDS | EXTRA_FIELDS
    if unknown := sorted(set(arguments.omit) - fields):
        raise UserError(
            f"--engine-arg omit={unknown[0]}: not a field of requests; they are {', '.join(sorted(fields))}."
        )
    own = fields | OWN_FIELDS | {arguments.max_tokens_field}
    if taken := sorted(own & arguments.extra_body.keys()):
        raise UserError(
            f"--engine-arg extra_body: {taken[0]} is set by the profile or the run. Sampling belongs in a profile, "
            "whose hash says what was used."
        )
    return Dialect(arguments.max_tokens_field, frozenset(arguments.omit), arguments.extra_body)


def _filled_in(value: str) -> str:
    def variable(found: re.Match[str]) -> str:
        text = os.environ.get(found[1])
        if text is None:
            raise UserError(
                f"--engine-arg headers: the environment variable {found[1]} is not set."
            )
        return text.strip()

    return _VARIABLE.sub(variable, value)


def _checked(value: str, what: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    bad = next(c for c in value if not (c.isascii() and c.isprintable()))
    raise UserError(
        f"{what} holds U+{ord(bad):04X}, which no HTTP header can: was it copied with formatting?"
    )


def way_out(error: EngineError, arguments: Arguments, fields: Collection[str]) -> str:
    """Return advice for a server's refusal at start, or an empty text.

    Args:
        fields: Request fields that were sent and could be left out.
    """
    status, text = error.status, str(error)
    if status in (401, 403):
        variable = arguments.api_key_env
        problem = (
            "holds a key that it refuses" if os.environ.get(variable, "").strip() else "is empty"
        )
        return (
            f"The environment variable {variable} {problem}. --engine-arg api_key_env=NAME takes the key from another "
            "one, api_key_header=api-key sends it in another header."
        )
    if status == 404:
        return (
            "--engine-arg base_url must be the API's root, which usually ends in /v1 (Azure: …/openai/deployments/NAME "
            "with --engine-arg api_version=VERSION)."
        )
    if error.kind == "connection" or status in (502, 503, 504):
        return "--engine-arg wait=600 waits that many seconds for a server that is still loading."
    if status in (400, 422):
        if "max_completion_tokens" in text and arguments.max_tokens_field == "max_tokens":
            return "--engine-arg max_tokens_field=max_completion_tokens sends the token cap under that name."
        named = sorted(name for name in fields if re.search(rf"\b{name}\b", text))
        if named:
            return (
                f"--engine-arg omit={','.join(named)} leaves it to the server's default; this is recorded, as it changes "
                "numbers."
            )
    return ""
