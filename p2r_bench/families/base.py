"""Base class of model families, and the pixel budget of an image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from p2r_bench.families.notation import BoxNotation
from p2r_bench.types import Size


@dataclass(frozen=True)
class Budget:
    """Pixels of one image, between which a family chooses its size."""

    min_pixels: int
    max_pixels: int


class Family:
    """Base class of model families. A subclass sets the attributes and `fit`; it has no state.

    Attributes:
        name: Name in profiles.
        version: Raised when a rule changes; part of every profile hash.
        model_types: Values of `model_type` in `config.json` of the family's checkpoints.
        names: Regular expression that finds the family's models by their hub id or served name.
        boxes: The notation of the boxes that the models write.
        never_sampled: Special tokens that stand for pixels. They are never sampled, since a sampled one would have no
            pixels.
        settles: True if the models' own processor keeps the size of an image whose size is a result of `fit`. If not,
            an engine must disable its resizing, or the counts of visual tokens show the difference.
        alignment: Both sides of a result of `fit` are multiples of this number of pixels.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    model_types: ClassVar[tuple[str, ...]] = ()
    names: ClassVar[str | None] = None
    boxes: ClassVar[BoxNotation] = BoxNotation()
    never_sampled: ClassVar[tuple[str, ...]] = ()
    settles: ClassVar[bool] = True
    alignment: ClassVar[int] = 1

    def fit(self, size: Size, budget: Budget) -> Size:
        """Return the width and height in pixels at which an image is sent.

        Args:
            size: Width and height of the image in pixels.

        Raises:
            ImageError: A shape that the family refuses.
        """
        raise NotImplementedError

    def visual_tokens(self, size: Size) -> int | None:
        """Return the visual tokens of an image of a final size, without the special tokens around it; None if not
        known.
        """
        raise NotImplementedError

    def problem(self, budget: Budget) -> str | None:
        """Return the reason why the family cannot work within a budget, or None."""
        return None

    def processor_size(self, budget: Budget) -> dict[str, Any]:
        """Return keyword arguments of the family's image processor in transformers that allow the budget."""
        return {}

    def processor_arguments(self, sizes: Sequence[Size]) -> dict[str, Any]:
        """Return keyword arguments of the family's image processor in transformers that keep images of these sizes.

        Args:
            sizes: Results of `fit`: the images of one request.
        """
        return {"do_resize": False}

    def most_visual_tokens(self, budget: Budget) -> int | None:
        """Return the visual tokens of the largest image inside a budget; None when not known."""
        raise NotImplementedError

    @property
    def rules(self) -> Mapping[str, Any]:
        """Return the rules that can change a number, for the hash of a profile."""
        return {"name": self.name, "version": self.version, "boxes": self.boxes.rules}

    def serves(self, model: str) -> bool:
        """Return whether a hub id or served name is one of the family's models."""
        return self.names is not None and re.search(self.names, model, re.IGNORECASE) is not None
