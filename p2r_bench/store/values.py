"""Checks of rows against the schema, made before a row is journaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from p2r_bench.store.schema import Table

INT64 = range(-(1 << 63), 1 << 63)
"""Integers that the widest integer column holds."""

_EXACT = 1 << 53


def misfit(table: Table, row: Mapping[str, Any]) -> str | None:
    """Return the reason why parquet cannot hold a row, with column and value, or None."""
    for column in table.columns:
        value = row[column.name]
        if value is not None and not _check(column.type)(value):
            shown = repr(value)
            shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
            return f"{column.name} is {shown}, which does not fit its type {column.type}"
    return None


@cache
def _check(kind: Any) -> Callable[[Any], bool]:
    if pa.types.is_integer(kind):
        limit = 1 << (kind.bit_width - 1)
        return lambda value: type(value) is int and -limit <= value < limit
    if pa.types.is_floating(kind):
        # An integer beyond 2**53 may not be a float64.
        return lambda value: (
            isinstance(value, float) or (type(value) is int and abs(value) <= _EXACT)
        )
    if pa.types.is_string(kind):
        return lambda value: isinstance(value, str)
    if pa.types.is_boolean(kind):
        return lambda value: isinstance(value, bool)
    if pa.types.is_list(kind):
        item = _check(kind.value_type)
        return lambda value: (
            isinstance(value, list | tuple) and all(v is None or item(v) for v in value)
        )
    fields = [(field.name, _check(field.type)) for field in kind]
    return lambda value: all(
        (item := value.get(name)) is None or check(item) for name, check in fields
    )
