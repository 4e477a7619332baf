"""In which order the rows of a dataset are begun."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from p2r_bench.run.images.prefetch import Work
from p2r_bench.types import Sample


def near_each_other(todo: Iterable[Work]) -> list[Work]:
    """Work on the same image, or on the same question, next to each other; otherwise in the given order.

    An image comes where its first row comes. Nothing is read for this: rows whose images are equal, but
    stored once each without anything that says so, keep their order.
    """
    places: dict[Hashable, int] = {}
    return sorted(todo, key=lambda work: places.setdefault(image_key(work.sample), len(places)))


def image_key(sample: Sample) -> Hashable:
    """What rows with the same image have in common, as far as it is known without reading the image."""
    image = sample.image
    if image.digest is not None:
        return image.digest
    if image.data is not None:
        return image.data
    if image.row is None:
        return image.path
    if sample.question_id is not None:  # rotations of its options
        return ("question", sample.subset, sample.question_id)
    return (image.path, image.row)
