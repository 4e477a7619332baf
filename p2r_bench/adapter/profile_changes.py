"""Profiles derived from another one by changing single fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from p2r_bench.adapter.profile import Profile
from p2r_bench.adapter.profile_check import check_profile
from p2r_bench.adapter.profile_file import field_value
from p2r_bench.adapter.prompts import load_pack
from p2r_bench.errors import UserError

ORIGIN = "--set"
_PROMPTS = "prompts"


def derived_profile(profile: Profile, changes: Mapping[str, Any]) -> Profile:
    """Return a profile with other values, named after the fields in which it differs.

    Args:
        changes: Dotted field name to value, such as {"image.max_pixels": 1048576}; "prompts" names a prompt pack.

    Raises:
        UserError: No such field, or a value of the wrong type or range; the message names the field.
    """
    derived = profile
    for name, value in changes.items():
        before = derived
        derived = _changed(derived, name.split("."), value, name)
        if derived.hash != before.hash:
            derived = derived.replace(name=f"{before.name}+{name}={_text(value)}")
    check_profile(derived, ORIGIN)
    return derived


def _changed(record: Any, path: list[str], value: Any, dotted: str) -> Any:
    name, *rest = path
    if isinstance(record, Profile) and dotted == _PROMPTS:
        return record.replace(pack=load_pack(str(value)))
    known = [field.name for field in dataclasses.fields(record) if field.name not in _LABELS]
    if name not in known:
        known = [_PROMPTS if one == "pack" else one for one in known]
        raise UserError(f"{ORIGIN} {dotted}: no such field; known here are {', '.join(known)}")
    old = getattr(record, name)
    if dataclasses.is_dataclass(old):
        if not rest or name == "pack":
            inside = _PROMPTS if name == "pack" else f"{dotted}.{dataclasses.fields(old)[0].name}"
            raise UserError(f"{ORIGIN} {dotted}: is a table; name a field, such as {inside}")
        return dataclasses.replace(record, **{name: _changed(old, rest, value, dotted)})
    if rest:
        raise UserError(f"{ORIGIN} {dotted}: {name} has no fields")
    hint = get_type_hints(type(record))[name]
    return dataclasses.replace(record, **{name: field_value(hint, value, ORIGIN, dotted)})


_LABELS = ("name", "seed")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)
