"""The model family of a run: the profile's, or the checkpoint's."""

from __future__ import annotations

import json
from pathlib import Path

from p2r_bench.adapter import Profile
from p2r_bench.bundled import resolve_model
from p2r_bench.errors import UserError
from p2r_bench.families import AUTO, DEFAULT, Family, family_serving, find_family
from p2r_bench.plugins import registry
from p2r_bench.run.spec import EngineChoice, RunSpec


def with_family(profile: Profile, spec: RunSpec) -> Profile:
    """Return the profile with its family set: `--family`, else the profile's own, else that of the run's models.

    Raises:
        UserError: A model belongs to another family, or to none.
    """
    if spec.family is not None:
        profile = profile.with_family(spec.family)
    choices = {choice.key: choice for choice in (spec.choice, *spec.roles.values())}.values()
    if profile.family == AUTO:
        profile = profile.with_family(_family_of(spec.choice))
    for choice in choices:
        kind = _model_type(choice.model)
        family = profile.model_family
        if kind is not None and family.model_types and kind not in family.model_types:
            fitting = family_serving(kind)
            raise UserError(
                f"--model {choice.model}: its config.json says model_type {kind!r}, and the profile "
                f"{profile.name!r} is for the family {family.name} ({', '.join(family.model_types)}): "
                f"--family {fitting.name if fitting else 'server'} fits it. All models of a run share one family"
            )
    return profile


def _family_of(choice: EngineChoice) -> str:
    kind = _model_type(choice.model)
    if kind is not None:
        family = family_serving(kind)
        if family is None:
            raise UserError(
                f"--model {choice.model}: no family serves its model_type {kind!r}; known are "
                f"{', '.join(registry().names('family'))}. --family server leaves sizes to the engine"
            )
        return family.name
    by_name = next((f.name for f in _families() if f.serves(choice.model)), None)
    return by_name or ("server" if choice.engine == "openai" else DEFAULT)


def _families() -> list[Family]:
    return [find_family(name) for name in registry().names("family")]


def _model_type(model: str) -> str | None:
    """Return `model_type` of a local checkpoint; None for a hub id or a served name."""
    path = Path(resolve_model(model)).expanduser() / "config.json"
    try:
        found = json.loads(path.read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None  # the engine reports a damaged file
    return found if isinstance(found, str) else None
