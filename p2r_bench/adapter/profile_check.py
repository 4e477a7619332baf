"""Validation of a profile's values on loading."""

from __future__ import annotations

import math
from collections.abc import Iterator

from PIL import ImageColor

from p2r_bench.adapter.profile import AnnotatePolicy, CropPolicy, ImagePolicy, Profile
from p2r_bench.adapter.routes import ROUTES
from p2r_bench.errors import UserError
from p2r_bench.families import Budget, Family
from p2r_bench.types import ROLES, Sampling

Rule = tuple[str, bool, str]
"""Field, True if its value is valid, and the condition for the message."""


def check_profile(profile: Profile, origin: str) -> None:
    """Check the ranges of a profile's values; `origin` is named in errors.

    Raises:
        UserError: A value out of range; the first one is named.
    """
    for field, holds, rule in _rules(profile):
        if not holds:
            raise UserError(f"{origin}: {field}: {rule}")


def _rules(profile: Profile) -> Iterator[Rule]:
    yield "family", *_known(profile)
    yield from _image(profile.image, profile.model_family)
    no_schema = profile.structured_boxes and profile.model_family.boxes.schema is None
    rule = (
        f"boxes of the family {profile.model_family.name} are no JSON, so no schema can hold them"
    )
    yield "structured_boxes", not no_schema, rule
    yield from _annotate(profile.annotate)
    yield from _crop(profile.crop)
    for role in ROLES:
        for field, holds, rule in _sampling(profile.sampling.for_role(role)):
            yield f"sampling.{role}.{field}", holds, rule
        ends = any("</answer>" in stop for stop in profile.sampling.for_role(role).stop)
        reads_tags = role != "perceive" and profile.answers.for_role(role) != "whole"
        yield (
            f"sampling.{role}.stop",
            not (ends and reads_tags),
            "must not hold </answer>: engines leave the stop string out, and the answer would never close",
        )


def _known(profile: Profile) -> tuple[bool, str]:
    try:
        return bool(profile.model_family), ""
    except UserError as error:
        return False, str(error)


def _image(image: ImagePolicy, family: Family) -> Iterator[Rule]:
    yield "image.min_pixels", image.min_pixels >= 1, "must be at least 1"
    for low in {image.min_pixels, image.second_min_pixels}:
        problem = family.problem(Budget(low, image.max_pixels))
        yield "image.max_pixels", problem is None, f"{problem} (family {family.name})"
    yield "image.second_min_pixels", image.second_min_pixels >= 0, "must not be negative"
    yield "image.route", image.route in ROUTES, f"known are {', '.join(ROUTES)}"
    lossy = (f"{kind}:{quality}" for kind in ("jpeg", "webp") for quality in range(1, 101))
    transports = {"lossless", *lossy}
    rule = 'must be "lossless", "jpeg:QUALITY" or "webp:QUALITY", 1 to 100'
    yield "image.transport", image.transport in transports, rule
    yield "image.max_bytes", image.max_bytes >= 0, "must be at least 1, or 0 for no cap"


def _annotate(annotate: AnnotatePolicy) -> Iterator[Rule]:
    yield "annotate.colours", bool(annotate.colours), "at least one is needed"
    for colour in annotate.colours:
        yield (
            "annotate.colours",
            _is_colour(colour),
            f"{colour!r} is not a colour that Pillow knows",
        )
    yield "annotate.min_width", annotate.min_width >= 1, "must be at least 1"
    yield "annotate.width_fraction", 0 <= annotate.width_fraction <= 1, "must be from 0 to 1"


def _crop(crop: CropPolicy) -> Iterator[Rule]:
    yield "crop.count", crop.count >= 1, "must be at least 1"
    yield "crop.pad_fraction", 0 <= crop.pad_fraction <= 1, "must be from 0 to 1"
    yield "crop.pad_pixels", crop.pad_pixels >= 0, "must not be negative"


def _sampling(sampling: Sampling) -> Iterator[Rule]:
    yield "temperature", 0 <= sampling.temperature < math.inf, "must be a number from 0"
    yield "top_p", 0 < sampling.top_p <= 1, "must be above 0 and at most 1"
    yield (
        "repetition_penalty",
        0 < sampling.repetition_penalty < math.inf,
        "must be a number above 0",
    )
    yield "top_k", sampling.top_k >= 0, "must be at least 1, or 0 for no limit"
    yield "min_p", 0 <= sampling.min_p <= 1, "must be from 0 to 1"
    for field in ("presence_penalty", "frequency_penalty"):
        yield field, -2 <= getattr(sampling, field) <= 2, "must be from -2 to 2"
    yield "max_tokens", sampling.max_tokens >= 1, "must be at least 1"
    yield "stop", all(sampling.stop), "an empty string would end every output immediately"


def _is_colour(name: str) -> bool:
    try:
        ImageColor.getrgb(name)
    except ValueError:
        return False
    return True
