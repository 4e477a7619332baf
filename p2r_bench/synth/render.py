"""Drawing of a scene, or any region of it, at any size.

`draw_scene(scene, (0, 0, 1, 1), (3840, 2160))` is the benchmark's image. Drawing a region at a model's size
approximates cropping and shrinking that image at a hundredth of the cost; training uses it. A test compares the two
routes.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from p2r_bench.synth.scene import Box, Scene, Shape, Sign

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

_TEXTURE = 128
_GLYPH = 0.66
_CONTRAST = 95.0
_STAINS = 8.0
_WEIGHT = (2, 3, 4)


@lru_cache(maxsize=64)
def engraving(digit: int, style: int) -> np.ndarray:
    """Return the mark as relief: float32 [128, 128] in [-1, 1], dark strokes in a light halo.

    It is the strokes minus their blur, so its local mean is zero: it averages away when the image is shrunk and stays
    visible at full size.
    """
    font = ImageFont.load_default(_TEXTURE * _GLYPH * 1.35)
    canvas = Image.new("L", (_TEXTURE, _TEXTURE), 0)
    draw = ImageDraw.Draw(canvas)
    centre = (_TEXTURE / 2, _TEXTURE / 2)
    draw.text(centre, str(digit), 255, font=font, anchor="mm", stroke_width=_WEIGHT[style])
    strokes = np.asarray(canvas, dtype=np.float32) / 255
    soft = np.asarray(canvas.filter(ImageFilter.GaussianBlur(3.4)), dtype=np.float32) / 255
    relief = soft - strokes
    scaled: np.ndarray = relief / np.abs(relief).max()
    return scaled


@lru_cache(maxsize=256)
def _weathering(sign: Sign) -> Image.Image:
    """Return stains about as coarse as a pixel of the shrunk image, which hide the rest of the mark."""
    rng = random.Random(f"{sign.x}/{sign.y}")
    grid = np.zeros((10, 10), dtype=np.float32)
    grid[2:8, 2:8] = [[rng.gauss(0, _STAINS) for _ in range(6)] for _ in range(6)]
    return Image.fromarray(grid)


@lru_cache(maxsize=1)
def _disc() -> Image.Image:
    disc = Image.new("L", (_TEXTURE, _TEXTURE), 0)
    ImageDraw.Draw(disc).ellipse((0, 0, _TEXTURE - 1, _TEXTURE - 1), 255)
    return disc


class _View:
    """Maps image fractions to pixels of a canvas that shows `region` at `size`."""

    def __init__(self, region: Box, size: tuple[int, int]) -> None:
        self.size = size
        self.left, self.top = region[0], region[1]
        self.sx = size[0] / (region[2] - region[0])
        self.sy = size[1] / (region[3] - region[1])

    def at(self, x: float, y: float) -> tuple[float, float]:
        return ((x - self.left) * self.sx, (y - self.top) * self.sy)

    def box(self, box: Box) -> tuple[float, float, float, float]:
        return (*self.at(box[0], box[1]), *self.at(box[2], box[3]))

    def sees(self, box: Box) -> bool:
        x1, y1, x2, y2 = self.box(box)
        return x2 > 0 and y2 > 0 and x1 < self.size[0] and y1 < self.size[1]


def _ground(scene: Scene, view: _View) -> Image.Image:
    """Return the interpolated grid; large canvases are enlarged from a small one."""
    grid = Image.fromarray(np.asarray(scene.ground, dtype=np.uint8))
    width, height = view.size
    shrink = max(1, round((width * height / 60_000) ** 0.5))
    size = (max(1, width // shrink), max(1, height // shrink))
    columns, rows = grid.width - 5, grid.height - 5  # a border on every side for the interpolation
    a = columns / (view.sx / width * size[0])
    d = rows / (view.sy / height * size[1])
    matrix = (a, 0, 2.5 + view.left * columns, 0, d, 2.5 + view.top * rows)
    ground = grid.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return ground if shrink == 1 else ground.resize(view.size, Image.Resampling.BILINEAR)


def _draw_shape(draw: ImageDraw.ImageDraw, shape: Shape, view: _View) -> None:
    points = [view.at(x, y) for x, y in shape.points]
    if shape.kind == "line":
        draw.line(points, shape.rgb, width=max(1, round(shape.width * view.sx)))
    elif shape.kind == "polygon":
        draw.polygon(points, shape.rgb)
    elif shape.kind == "bar":
        draw.rectangle((*points[0], *points[1]), shape.rgb)
    else:
        draw.ellipse((*points[0], *points[1]), shape.rgb)


def _plate(draw: ImageDraw.ImageDraw, sign: Sign, box: Box) -> None:
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    edge = max(1, round(0.035 * w))
    rim = tuple(int(0.62 * c) for c in sign.rgb)
    if sign.shape == "round":
        draw.ellipse(box, sign.rgb, outline=rim, width=edge)
    elif sign.shape in ("square", "wide"):
        draw.rounded_rectangle(box, 0.14 * h, sign.rgb, outline=rim, width=edge)
    else:
        cut = 0.29 if sign.shape == "octagon" else 0.42
        corners = (
            (x1 + cut * w, y1), (x2 - cut * w, y1), (x2, y1 + cut * h), (x2, y2 - cut * h),
            (x2 - cut * w, y2), (x1 + cut * w, y2), (x1, y2 - cut * h), (x1, y1 + cut * h),
        )  # fmt: skip
        draw.polygon(corners, sign.rgb, outline=rim, width=edge)


def _engrave(canvas: Image.Image, sign: Sign, view: _View) -> None:
    x1, y1, x2, y2 = view.box(sign.mark_box)
    left, top = round(x1), round(y1)
    size = (max(1, round(x2 - x1)), max(1, round(y2 - y1)))
    relief = Image.fromarray(engraving(sign.digit, sign.style))
    levels = np.asarray(relief.resize(size, Image.Resampling.BICUBIC)) * _CONTRAST
    levels = levels + np.asarray(_weathering(sign).resize(size, Image.Resampling.BICUBIC))
    pixels = np.asarray(sign.rgb, dtype=np.float32) + levels[..., None]
    patch = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    canvas.paste(patch, (left, top), _disc().resize(size, Image.Resampling.NEAREST))


def draw_scene(
    scene: Scene, region: Box = WHOLE, size: tuple[int, int] = (3840, 2160), supersample: int = 1
) -> Image.Image:
    """Draw a `region` (fractions of the image) of the scene as an RGB image of `size` pixels.

    `supersample` k draws it k times as large and reduces it with Pillow's bicubic filter, as the adapter reduces a crop
    of the full-size image.
    """
    canvas_size = (size[0] * supersample, size[1] * supersample)
    view = _View(region, canvas_size)
    canvas = _ground(scene, view)
    draw = ImageDraw.Draw(canvas)
    for shape in scene.shapes:
        _draw_shape(draw, shape, view)
    for sign in (*scene.distractors, *scene.signs):
        if view.sees(sign.box):
            _plate(draw, sign, view.box(sign.box))
            _engrave(canvas, sign, view)
    return canvas if supersample == 1 else canvas.resize(size, Image.Resampling.BICUBIC)
