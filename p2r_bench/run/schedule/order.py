"""Order in which the rows of a dataset are begun."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from p2r_bench.run.images.prefetch import Work
from p2r_bench.types import Sample


def near_each_other(todo: Iterable[Work]) -> list[Work]:
    """Return work with equal images, or equal questions, next to each other; otherwise in the given order.

    The first row of an image decides its position. No image is read, so equal images under different names stay apart.
    """
    places: dict[Hashable, int] = {}
    return sorted(todo, key=lambda work: places.setdefault(image_key(work.sample), len(places)))


def image_key(sample: Sample) -> Hashable:
    """Return a key that rows with the same image share, found without reading the image."""
    image = sample.image
    if image.digest is not None:
        return image.digest
    if image.data is not None:
        return image.data
    if image.row is None:
        return image.path
    if sample.question_id is not None:  # rotations of the options share a question
        return ("question", sample.subset, sample.question_id)
    return (image.path, image.row)
