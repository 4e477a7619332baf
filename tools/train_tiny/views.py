"""Caches of rendered views: the pixels and labels the vision tower learns from.

A cache is a folder of chunks, `NAME-00000.npz`, each a few hundred images of one size with the signs on
them; chunk k depends on the cache's name and k alone, so that a cache can be grown and rebuilt.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from p2r_bench.synth.render import WHOLE, draw_scene
from p2r_bench.synth.scene import SIGN_COLOURS, Box, Scene, make_crowd, make_scene

COLOURS = list(SIGN_COLOURS)
WHOLE_SIZE = (224, 128)
CROWD_SIZE = (352, 192)
MAX_SIGNS = 28
CHUNK = 250


def labels(scene: Scene, region: Box) -> np.ndarray:
    """float32 [MAX_SIGNS, 6]: x1, y1, x2, y2 in fractions of the region, colour index, digit; -1 pads."""
    out = np.full((MAX_SIGNS, 6), -1, dtype=np.float32)
    left, top, right, bottom = region
    w, h = right - left, bottom - top
    for row, sign in zip(out, scene.signs, strict=False):
        x1, y1, x2, y2 = sign.box
        row[:] = (
            (x1 - left) / w, (y1 - top) / h, (x2 - left) / w, (y2 - top) / h,
            COLOURS.index(sign.colour), sign.digit,
        )  # fmt: skip
    return out


def crowd_view(seed: str) -> tuple[np.ndarray, np.ndarray]:
    """Many signs at the size they have in a crop."""
    zoom = random.Random(seed).uniform(1.9, 2.6)
    scene = make_crowd(seed, zoom=zoom, occupancy=0.88)
    return np.asarray(draw_scene(scene, WHOLE, CROWD_SIZE, 2)), labels(scene, WHOLE)


def flock_view(seed: str) -> tuple[np.ndarray, np.ndarray]:
    """Many signs at the size they have in the whole image."""
    scene = make_crowd(seed, zoom=1.0, occupancy=0.5)
    return np.asarray(draw_scene(scene, WHOLE, WHOLE_SIZE, 3)), labels(scene, WHOLE)


def whole_view(seed: str) -> tuple[np.ndarray, np.ndarray]:
    """A training scene as the perceiver sees it."""
    scene = make_scene(f"train/{seed}")
    return np.asarray(draw_scene(scene, WHOLE, WHOLE_SIZE, 3)), labels(scene, WHOLE)


VIEWS = {"crowd": crowd_view, "flock": flock_view, "whole": whole_view}


def write_chunk(folder: str, name: str, index: int) -> str:
    """Render one chunk unless it exists."""
    path = Path(folder) / f"{name}-{index:05d}.npz"
    if not path.exists():
        pairs = [VIEWS[name](f"{name}/{index * CHUNK + i}") for i in range(CHUNK)]
        part = path.with_suffix(".part.npz")
        np.savez(
            part, pixels=np.stack([p for p, _ in pairs]), signs=np.stack([s for _, s in pairs])
        )
        part.rename(path)
    return path.name


class Cache:
    """The chunks of a view that are there so far, in memory."""

    def __init__(self, folder: Path, name: str, limit: int | None = None) -> None:
        self.folder, self.name, self.limit = folder, name, limit
        self.pixels: list[np.ndarray] = []
        self.signs: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        """Load chunks that were written since."""
        while self.limit is None or len(self.pixels) < self.limit:
            path = self.folder / f"{self.name}-{len(self.pixels):05d}.npz"
            if not path.exists():
                return
            with np.load(path) as chunk:
                self.pixels.append(chunk["pixels"])
                self.signs.append(chunk["signs"])

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """`n` random views: uint8 [n, h, w, 3] and float32 [n, MAX_SIGNS, 6]."""
        picks = rng.integers(0, len(self.pixels) * CHUNK, n)
        pixels = np.stack([self.pixels[p // CHUNK][p % CHUNK] for p in picks])
        return pixels, np.stack([self.signs[p // CHUNK][p % CHUNK] for p in picks])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("spec", nargs="+", help="NAME=CHUNKS, rendered in turn")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: int(count) for name, count in (item.split("=") for item in args.spec)}
    jobs = sorted((i / n, name, i) for name, n in wanted.items() for i in range(n))
    with ProcessPoolExecutor(args.workers) as pool:
        names, numbers = [j[1] for j in jobs], [j[2] for j in jobs]
        for done in pool.map(write_chunk, [str(args.folder)] * len(jobs), names, numbers):
            print(done, flush=True)


if __name__ == "__main__":
    main()
