"""Caches of episodes: a scene, questions about it, and every image the two stages would send.

Chunk k holds 250 training scenes. Each has two single questions and one cross question, each with boxes
as a perceiver might give them (sometimes exact, mostly jittered), the annotated view and the crops.
"""

from __future__ import annotations

import argparse
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dialogue import evidence, sample_of
from PIL import Image, ImageDraw
from views import CHUNK, WHOLE_SIZE

from p2r_bench.adapter import TwoStage, load_profile
from p2r_bench.synth.render import WHOLE, draw_scene
from p2r_bench.synth.rows import SIZES, Question, pose
from p2r_bench.synth.scene import Box, Scene, make_scene
from p2r_bench.types import Evidence


@dataclass
class Asked:
    """A question with its boxes, and what stage 2 sees for them; pixels as uint8 [h, w, 3]."""

    question: Question
    boxes: list[Box]
    resolution: str
    annotated: np.ndarray
    crops: list[np.ndarray]


@dataclass
class Episode:
    """A scene, the whole view and the questions asked about it."""

    scene: Scene
    whole: np.ndarray
    asked: list[Asked]


def guessed(rng: random.Random, box: Box, exact: bool) -> Box:
    """The box as a fair perceiver would give it: off by up to about half its size."""
    x1, y1, x2, y2 = box
    if not exact:
        w, h = x2 - x1, y2 - y1
        cx = (x1 + x2) / 2 + rng.gauss(0, 0.22) * w
        cy = (y1 + y2) / 2 + rng.gauss(0, 0.22) * h
        w, h = w * rng.uniform(0.65, 1.5), h * rng.uniform(0.65, 1.5)
        x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    rounded = [min(max(round(v, 3), 0.0), 1.0) for v in (x1, y1, x2, y2)]
    return (rounded[0], rounded[1], rounded[2], rounded[3])


def outlined(whole: np.ndarray, shown: Evidence, size: tuple[int, int]) -> np.ndarray:
    """The small whole view with the outlines that are drawn at full resolution."""
    assert shown.annotated is not None
    scale = 4
    view = Image.fromarray(whole).resize(
        (WHOLE_SIZE[0] * scale, WHOLE_SIZE[1] * scale), Image.Resampling.BICUBIC
    )
    pen = ImageDraw.Draw(view)
    shrink = size[0] / view.width
    for stroke in shown.annotated.strokes:
        pen.rectangle(
            tuple(edge / shrink for edge in stroke.rect),
            outline=stroke.colour,
            width=max(1, round(stroke.width / shrink)),
        )
    return np.asarray(view.resize(WHOLE_SIZE, Image.Resampling.BICUBIC))


def view_crops(scene: Scene, shown: Evidence, size: tuple[int, int]) -> list[np.ndarray]:
    """The crops' pixels, drawn at the size the model receives."""
    out = []
    for recipe in shown.crops:
        assert recipe.crop is not None
        left, top, right, bottom = recipe.crop
        region = (left / size[0], top / size[1], right / size[0], bottom / size[1])
        out.append(np.asarray(draw_scene(scene, region, recipe.size, 2)))
    return out


def make_episode(two: TwoStage, seed: str) -> Episode:
    """The episode of a training seed."""
    rng = random.Random(f"synth-hr/episode/{seed}")
    scene = make_scene(f"train/{seed}")
    whole = np.asarray(draw_scene(scene, WHOLE, WHOLE_SIZE, 2))
    asked = []
    for category in ("single", "single", "cross"):
        question = pose(rng, scene, category)
        resolution = "8k" if rng.random() < 0.3 else "4k"
        exact = rng.random() < 0.25
        boxes = [guessed(rng, sign.box, exact) for sign in question.signs]
        shown = evidence(two, sample_of(question, 0, resolution, seed), boxes)
        size = SIZES[resolution]
        asked.append(
            Asked(
                question,
                boxes,
                resolution,
                outlined(whole, shown, size),
                view_crops(scene, shown, size),
            )
        )
    return Episode(scene, whole, asked)


def write_chunk(folder: str, index: int) -> str:
    """Make one chunk unless it exists."""
    path = Path(folder) / f"episodes-{index:05d}.pkl"
    if not path.exists():
        two = TwoStage(load_profile("tiny"))
        chunk = [make_episode(two, f"whole/whole/{index * CHUNK + i}") for i in range(CHUNK)]
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(chunk, protocol=5))
        part.rename(path)
    return path.name


def load_chunks(folder: Path, limit: int | None = None) -> list[list[Episode]]:
    """The chunks that are there, in order."""
    chunks: list[list[Episode]] = []
    while limit is None or len(chunks) < limit:
        path = folder / f"episodes-{len(chunks):05d}.pkl"
        if not path.exists():
            break
        chunks.append(pickle.loads(path.read_bytes()))
    return chunks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("chunks", type=int)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers) as pool:
        for name in pool.map(write_chunk, [str(args.folder)] * args.chunks, range(args.chunks)):
            print(name, flush=True)


if __name__ == "__main__":
    import episodes  # the pickled classes must be found under this module's name

    episodes.main()
