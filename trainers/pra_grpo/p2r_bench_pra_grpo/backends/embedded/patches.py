"""Images of their final size as a Qwen3-VL vision tower reads them, on the model's own device.

The model family's image processors do the same on the CPU and in float32, after a resize. Here there
is nothing to resize, 8 bits per value cross to the device instead of 64, and at start the outcome
is compared with the checkpoint's own processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from p2r_bench.errors import UserError


@dataclass(frozen=True)
class Patches:
    """Conversion of pixels to patches.

    Attributes:
        patch: Side of a patch in pixels.
        merge: Patches per side that become one visual token.
        frames: Repetitions of an image along time.
        scale, mean, std: A value v of 0–255 becomes (v·scale − mean) / std, by channel.
    """

    patch: int
    merge: int
    frames: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def factor(self) -> int:
        """Number of pixels that must divide width and height."""
        return self.patch * self.merge

    def grid(self, width: int, height: int) -> tuple[int, int, int]:
        """Return (time, rows, columns) in patches of an image of this size in pixels."""
        return 1, height // self.patch, width // self.patch

    def tokens(self, width: int, height: int) -> int:
        """Return the visual tokens of an image of this size in pixels."""
        return width * height // self.factor**2

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the patches, (rows·columns, 3·frames·patch²) float32, of pixels, (height, width, 3) uint8.

        Patches that merge into one token follow each other, as in the family's processors.
        """
        height, width, channels = pixels.shape
        p, m = self.patch, self.merge
        mean = torch.tensor(self.mean, device=pixels.device)
        std = torch.tensor(self.std, device=pixels.device)
        values = (pixels.to(torch.float32) * self.scale - mean) / std
        blocks = values.view(height // (p * m), m, p, width // (p * m), m, p, channels)
        # (block row, block column, row in block, column in block, channel, y, x)
        blocks = blocks.permute(0, 3, 1, 4, 6, 2, 5).unsqueeze(5)
        blocks = blocks.expand(-1, -1, -1, -1, -1, self.frames, -1, -1)
        return blocks.reshape(height * width // p**2, channels * self.frames * p * p)


def patches_of(processor: Any, model: str) -> Patches:
    """Return the conversion that a checkpoint's image processor uses.

    Args:
        processor: An image processor of the transformers library.
        model: Name for the error message.

    Raises:
        UserError: The processor makes other patches than `Patches` of an image that needs no resizing.
    """
    refusal = UserError(
        f"{model}: its image processor ({type(processor).__name__}) is not one of the Qwen3-VL family; "
        "the embedded backend could not guarantee the recorded pixels. Use the verl backend."
    )
    try:
        patches = Patches(
            patch=int(processor.patch_size),
            merge=int(processor.merge_size),
            frames=int(processor.temporal_patch_size),
            scale=float(processor.rescale_factor),
            mean=tuple(float(v) for v in processor.image_mean),
            std=tuple(float(v) for v in processor.image_std),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise refusal from error
    width, height = 3 * patches.factor, 2 * patches.factor
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    processor.size = {"shortest_edge": patches.factor**2, "longest_edge": width * height}
    theirs = processor(images=[Image.fromarray(image)], return_tensors="pt")
    ours = patches(torch.from_numpy(image))
    if (
        theirs["image_grid_thw"].tolist() != [list(patches.grid(width, height))]
        or theirs["pixel_values"].shape != ours.shape
        or not torch.allclose(theirs["pixel_values"].float(), ours, atol=1e-4)
    ):
        raise refusal
    return patches
