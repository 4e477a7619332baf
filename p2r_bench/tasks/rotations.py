"""Grouping of rows with the same question and rotated options, for the metric over all rotations."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace

from p2r_bench.errors import ImageError, UserError
from p2r_bench.tasks.reading import ImageReader
from p2r_bench.types import ImageRef, Sample

Scanned = Sample | UserError
ROTATIONS = 4
"""Rows of a question in a file in the published order."""

_MANY = 16
"""Number of groups of four that cannot all fit by accident."""

Identity = Callable[[ImageRef], Hashable]
_Groups = list[list[Sample]]


def rotations_numbered(
    scanned: Iterable[Scanned], identity: Identity | None = None
) -> Iterator[Scanned]:
    """Add `question_id` and `rotation` to the samples of one subset; the order stays.

    In the published file a question has four consecutive indexes. Groups of four are accepted if the rows of each agree
    in question, category, set of options and right option, and differ in `cycle_category`. This may happen by accident
    in a small file, or if most questions have a twin; then the images must agree too. Rows in any other order form a
    group if they agree in all of that and in the image. A row whose question stays open has neither `question_id` nor
    `rotation`.

    Args:
        identity: Function from a sample to its image's identity; None compares the files' bytes.
    """
    held = list(scanned)
    samples = [one for one in held if isinstance(one, Sample)]
    cycles = {
        name: rank for rank, name in enumerate(sorted({_cycle(s) for s in samples}, key=_natural))
    }
    identity = identity or _file_digest()
    groups = _by_index(samples, identity) or _by_content(samples, identity)
    paired = {
        sample.id: replace(sample, question_id=group[0].id, rotation=cycles[_cycle(sample)])
        for group in groups
        for sample in group
    }
    for one in held:
        yield paired.get(one.id, one) if isinstance(one, Sample) else one


def open_questions(samples: Iterable[Sample]) -> dict[str, str]:
    """Return the samples whose question may lack rotations, with the reason.

    A question needs as many rows as it has options.
    """
    held = list(samples)
    rows = Counter(sample.question_id for sample in held if sample.question_id is not None)
    reasons = {}
    for sample in held:
        if sample.question_id is None:
            reasons[sample.id] = (
                "the other rotations of its question cannot be distinguished from other rows"
            )
        elif (found := rows[sample.question_id]) < len(sample.options):
            reasons[sample.id] = (
                f"only {found} of {len(sample.options)} rotations of its options are here"
            )
    return reasons


def _by_index(samples: Sequence[Sample], identity: Identity) -> _Groups | None:
    """Return groups of four consecutive indexes, else of four rows in index order; None if none fit."""
    texts = [sample.id.rpartition("/")[2] for sample in samples]
    numbered = all(text.isascii() and text.isdigit() for text in texts)
    indexes = [int(text) for text in texts] if numbered else list(range(len(samples)))
    ranks = {index: rank for rank, index in enumerate(sorted(indexes))}
    fitting = [
        groups
        for numbers in (indexes, [index - 1 for index in indexes], [ranks[i] for i in indexes])
        if all(map(_is_question, groups := _fours(numbers, samples)))
    ]
    whole = [groups for groups in fitting if all(map(_balanced, groups))]
    paired = [groups for groups in fitting if len(groups) < len(samples)]
    return next((groups for groups in (*whole, *paired) if _proven(groups, identity)), None)


def _proven(groups: _Groups, identity: Identity) -> bool:
    """Return True if groups of four cannot fit by accident.

    That is so if there are many groups and few have the same content, if the images within each group agree, or if all
    images differ.
    """
    times = Counter(_content(group[0]) for group in groups)
    alone = sum(count == 1 for count in times.values())
    if len(groups) >= _MANY and 2 * alone >= len(groups):
        return True
    try:
        images = [[identity(sample.image) for sample in group] for group in groups]
    except ImageError:
        return False
    every = [image for group in images for image in group]
    differ = len(set(every)) == len(every) and all(map(_balanced, groups))
    return differ or all(len(set(group)) == 1 for group in images)


def _fours(numbers: Iterable[int], samples: Iterable[Sample]) -> _Groups:
    fours: dict[int, list[Sample]] = defaultdict(list)
    for number, sample in zip(numbers, samples, strict=True):
        fours[number // ROTATIONS].append(sample)
    return list(fours.values())


def _is_question(group: Sequence[Sample]) -> bool:
    """Return True if rows can be rotations of one question."""
    return len({_content(sample) for sample in group}) == 1 and _distinct(group)


def _by_content(samples: Sequence[Sample], identity: Identity) -> _Groups:
    """Group rows with the same content and image, unless a rotation occurs twice among them."""
    alike: dict[Hashable, list[Sample]] = defaultdict(list)
    for sample in samples:
        alike[_content(sample)].append(sample)
    groups = (same for group in alike.values() for same in _by_image(group, identity))
    return [group for group in groups if _distinct(group)]


def _by_image(group: Iterable[Sample], identity: Identity) -> _Groups:
    """Group rows by image; a row with an unreadable image is alone."""
    same: dict[Hashable, list[Sample]] = defaultdict(list)
    for sample in group:
        try:
            key = identity(sample.image)
        except ImageError:
            key = ("unreadable", sample.id)
        same[key].append(sample)
    return list(same.values())


def _content(sample: Sample) -> Hashable:
    options = tuple(sorted(sample.options.values()))
    return sample.question, sample.category, options, sample.options[sample.answer]


def _distinct(group: Sequence[Sample]) -> bool:
    return len({_cycle(sample) for sample in group}) == len(group)


def _balanced(group: Sequence[Sample]) -> bool:
    """Return True if all rotations occur equally often."""
    times = Counter(_cycle(sample) for sample in group)
    return len(times) >= len(group[0].options) and len(set(times.values())) == 1


def _cycle(sample: Sample) -> str:
    return str(sample.meta["cycle_category"])


def _natural(name: str) -> tuple[int, str]:
    return len(name), name


def _file_digest() -> Identity:
    reader = ImageReader(0)
    return lambda ref: hashlib.sha256(reader.read(ref)).digest()
