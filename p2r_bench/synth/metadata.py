"""Schema metadata of synthesised parquet files: feature types for `datasets`, and a marker of synthetic data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SYNTHETIC_KEY = b"p2r_bench.synthetic"
"""Key of the generator's arguments, as JSON. Published files lack it."""

HUGGING_FACE_KEY = b"huggingface"
"""Key from which `datasets` reads the types of the columns."""


def with_metadata(schema: Any, arguments: Mapping[str, Any]) -> Any:
    """Return a `pyarrow.Schema` with both keys. `arguments` are JSON values."""
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata(
        {
            HUGGING_FACE_KEY: json.dumps({"info": {"features": features}}).encode(),
            SYNTHETIC_KEY: json.dumps(dict(arguments), sort_keys=True).encode(),
        }
    )


def _feature(kind: Any) -> Any:
    """Return the type of a column in the notation of `datasets`.

    A struct of bytes and path is an image; a list of structs is written as a list of one dictionary.
    """
    import pyarrow as pa

    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        if pa.types.is_struct(kind.value_type):
            return [inner]
        return {"feature": inner, "_type": "Sequence"}
    if pa.types.is_struct(kind):
        if {field.name for field in kind} == {"bytes", "path"}:
            return {"_type": "Image"}
        return {field.name: _feature(field.type) for field in kind}
    names = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64"}
    return {"dtype": names[kind], "_type": "Value"}
