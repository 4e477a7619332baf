"""Read a table of the TOML file as a pydantic dataclass, and report what is wrong with it as a UserError."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from p2r_bench.errors import UserError

T = TypeVar("T")

TABLE = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Configuration of every table."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

RENAMED: Mapping[str, str] = {
    "grpo.group": "num_generations",
    "grpo.batch": "batch_size",
    "grpo.mini_batch": "mini_batch_size",
    "grpo.kl": "beta",
    "grpo.clip": "epsilon",
    "grpo.entropy": "entropy_coef",
    "grpo.loss": "loss_aggregation",
    "grpo.epochs": "num_epochs",
    "grpo.save_every": "save_steps",
    "embedded.passes": "num_iterations",
    "embedded.warmup": "warmup_steps",
}
"""Earlier name of a key to its name in the same table."""

REMOVED: Mapping[str, str] = {
    "verl.freeze_vision": "verl 0.9.1 never reads this setting and trains the vision tower; remove the key",
    "roles": "hyper-parameters of a role are in grpo.perceiver and the like",
}
"""Key that is refused to the reason and the way out."""


def read(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Return an instance of the pydantic dataclass `kind`.

    Types are strict: "3" is no number, and `true` is no integer.

    Args:
        where: Dotted name of the table, for messages.

    Raises:
        UserError: A key is unknown or missing, or a value is not allowed; the message has a line for each.
    """
    text = json.dumps(values, default=str)  # of JSON, strict mode still takes lists and paths
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        lines = [_line(kind, finding, where) for finding in error.errors(include_url=False)]
        raise UserError("\n".join(lines)) from None


def _line(kind: type, finding: Any, where: str) -> str:
    *tables, key = finding["loc"]
    dotted = _dotted(where, *finding["loc"])
    if finding["type"] == "unexpected_keyword_argument":
        return f"{dotted}: no such key; {_hint(kind, tables, str(key), dotted)}"
    if finding["type"] == "missing":
        return f"{dotted}: missing"
    message = finding["msg"].replace("Input should be", "expected")
    return f"{dotted} = {finding['input']!r}: {message}"


def _hint(kind: Any, tables: list[Any], key: str, dotted: str) -> str:
    table = dotted.split(".")[0]
    if reason := REMOVED.get(dotted):
        return reason
    if new := RENAMED.get(f"{table}.{key}"):
        return f"it is now {new!r}"
    known = _keys(kind, tables)
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _keys(kind: Any, tables: list[Any]) -> list[str]:
    """Return the keys of the table at a path below `kind`."""
    schema = TypeAdapter(kind).json_schema()
    node = schema
    for name in tables:
        node = node["items"] if isinstance(name, int) else node["properties"][name]
        node = next((one for one in node.get("anyOf", [node]) if one.get("type") != "null"), node)
        if reference := node.get("$ref"):
            node = schema["$defs"][reference.rpartition("/")[2]]
    return list(node["properties"])


def _dotted(*parts: object) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
