"""Contents of a Synth-HR image, in fractions of the image.

A scene is a pure function of its seed and the resolution's aspect ratio: muted scenery, a handful of
coloured signs that each carry one digit, and grey plates as distractors. Coordinates are fractions of
the image's width and height, so the same scene can be drawn at 8K, at 4K or as a model would see it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

ASPECT = 16 / 9
"""Width over height of every Synth-HR image."""

SIGN_COLOURS: dict[str, Colour] = {
    "red": (208, 76, 78),
    "orange": (210, 136, 76),
    "yellow": (208, 196, 78),
    "green": (78, 168, 88),
    "cyan": (78, 190, 198),
    "blue": (78, 100, 208),
    "purple": (146, 78, 188),
    "pink": (208, 132, 178),
}
"""Plate colours by name; every channel leaves room for the mark's contrast on both sides."""

SHAPES = ("square", "round", "wide", "octagon", "diamond")

_WIDTH_OVER_HEIGHT = {"square": 1.0, "round": 1.0, "wide": 1.25, "octagon": 1.0, "diamond": 1.0}
_MARGIN = 0.10
_GAP_X, _GAP_Y = 0.145, 0.23


@dataclass(frozen=True)
class Sign:
    """One plate: `width` is a fraction of the image's width, `mark` of the plate's height."""

    colour: str
    """A name in `SIGN_COLOURS`, or ``grey`` for a distractor."""
    rgb: Colour
    digit: int
    shape: str
    x: float
    y: float
    width: float
    mark: float
    style: int
    offset: tuple[float, float]
    """Offset of the mark's centre from the plate's, in plate heights."""

    @property
    def height(self) -> float:
        """Height as a fraction of the image's height."""
        return self.width / _WIDTH_OVER_HEIGHT[self.shape] * ASPECT

    @property
    def box(self) -> Box:
        """x1, y1, x2, y2 of the plate as fractions of the image."""
        w, h = self.width / 2, self.height / 2
        return (self.x - w, self.y - h, self.x + w, self.y + h)

    @property
    def mark_box(self) -> Box:
        """x1, y1, x2, y2 of the square the digit is drawn in, as fractions of the image."""
        half_h = self.mark * self.height / 2
        half_w = half_h / ASPECT
        x = self.x + self.offset[0] * self.height / ASPECT
        y = self.y + self.offset[1] * self.height
        return (x - half_w, y - half_h, x + half_w, y + half_h)


@dataclass(frozen=True)
class Shape:
    """A piece of scenery: an ellipse, polygon, bar or line in a muted colour."""

    kind: str
    points: tuple[tuple[float, float], ...]
    rgb: Colour
    width: float = 0.0
    """Line width as a fraction of the image's width."""


@dataclass(frozen=True)
class Scene:
    """Everything needed to draw one image."""

    seed: str
    ground: tuple[tuple[Colour, ...], ...]
    """Rows of colours of a coarse grid that is interpolated over the image and a border around it."""
    shapes: tuple[Shape, ...]
    signs: tuple[Sign, ...]
    distractors: tuple[Sign, ...]

    def sign(self, colour: str) -> Sign:
        """Return the sign of that colour."""
        return next(sign for sign in self.signs if sign.colour == colour)


def _clip(value: float, low: int = 12, high: int = 243) -> int:
    return int(min(max(value, low), high))


def _muted(rng: random.Random, low: int = 45, high: int = 205, spread: float = 16) -> Colour:
    level = rng.uniform(low, high)
    red, green, blue = (_clip(level + rng.uniform(-spread, spread)) for _ in range(3))
    return (red, green, blue)


def _ground(rng: random.Random) -> tuple[tuple[Colour, ...], ...]:
    """Return a 20 × 12 grid: a corner-to-corner gradient plus noise, with a random strength per scene."""
    corners = [_muted(rng) for _ in range(4)]
    rough = rng.choice((3.0, 8.0, 16.0))
    rows = []
    for j in range(12):
        v, row = j / 11, []
        for i in range(20):
            u = i / 19
            noise = rng.gauss(0, rough)
            colour = [
                _clip(
                    (1 - v) * ((1 - u) * corners[0][c] + u * corners[1][c])
                    + v * ((1 - u) * corners[2][c] + u * corners[3][c])
                    + noise
                )
                for c in range(3)
            ]
            row.append((colour[0], colour[1], colour[2]))
        rows.append(tuple(row))
    return tuple(rows)


def _scenery(rng: random.Random) -> tuple[Shape, ...]:
    shapes = []
    for _ in range(rng.randint(6, 14)):
        kind = rng.choice(("ellipse", "polygon", "bar", "line", "line"))
        x, y = rng.random(), rng.random()
        if kind == "line":
            points = tuple((rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 1.1)) for _ in range(2))
            shapes.append(Shape(kind, points, _muted(rng), rng.uniform(0.001, 0.012)))
            continue
        w, h = rng.uniform(0.02, 0.22), rng.uniform(0.03, 0.3)
        if kind == "polygon":
            points = tuple(
                (x + rng.uniform(-w, w), y + rng.uniform(-h, h)) for _ in range(rng.randint(3, 5))
            )
        else:
            points = ((x - w, y - h), (x + w, y + h))
        shapes.append(Shape(kind, points, _muted(rng)))
    return tuple(shapes)


def _jittered(rng: random.Random, rgb: Colour, by: int = 7) -> Colour:
    red, green, blue = (_clip(c + rng.randint(-by, by), 70, 212) for c in rgb)
    return (red, green, blue)


def _free(x: float, y: float, taken: list[tuple[float, float]], gap_x: float, gap_y: float) -> bool:
    return all(abs(x - a) > gap_x or abs(y - b) > gap_y for a, b in taken)


def _sign(rng: random.Random, colour: str, rgb: Colour, x: float, y: float) -> Sign:
    return Sign(
        colour=colour,
        rgb=rgb,
        digit=rng.randint(0, 9),
        shape=rng.choice(SHAPES),
        x=x,
        y=y,
        width=rng.uniform(0.052, 0.064),
        mark=rng.uniform(0.70, 0.76),
        style=rng.randrange(3),
        offset=(rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)),
    )


def make_scene(seed: str) -> Scene:
    """Return the scene of a seed: four to six signs of different colours and up to three grey plates."""
    rng = random.Random(f"synth-hr/{seed}")
    ground, shapes = _ground(rng), _scenery(rng)
    taken: list[tuple[float, float]] = []
    signs: list[Sign] = []
    for name in rng.sample(list(SIGN_COLOURS), rng.randint(4, 6)):
        for _ in range(200):
            x, y = rng.uniform(_MARGIN, 1 - _MARGIN), rng.uniform(0.11, 0.89)
            if _free(x, y, taken, _GAP_X, _GAP_Y):
                taken.append((x, y))
                signs.append(_sign(rng, name, _jittered(rng, SIGN_COLOURS[name]), x, y))
                break
    distractors: list[Sign] = []
    for _ in range(rng.randint(1, 3)):
        x, y = rng.uniform(0.04, 0.96), rng.uniform(0.07, 0.93)
        if _free(x, y, taken, 0.08, 0.14):
            taken.append((x, y))
            level = rng.randint(75, 190)
            distractors.append(_sign(rng, "grey", _jittered(rng, (level,) * 3, 4), x, y))
    return Scene(seed, ground, shapes, tuple(signs), tuple(distractors))


def make_crowd(seed: str, *, zoom: float, occupancy: float) -> Scene:
    """Return a scene packed with signs `zoom` times their usual size: dense supervision for training.

    Colours repeat and some plates are grey; never part of the benchmark.
    """
    rng = random.Random(f"synth-hr/crowd/{seed}")
    ground, shapes = _ground(rng), _scenery(rng)
    columns = min(7, int(1 / (0.075 * zoom)))
    rows = min(4, int(1 / (0.075 * zoom * ASPECT)))
    signs: list[Sign] = []
    grey: list[Sign] = []
    for j in range(rows):
        for i in range(columns):
            if rng.random() > occupancy:
                continue
            slack_x, slack_y = 1 / columns - 0.072 * zoom, 1 / rows - 0.072 * zoom * ASPECT
            x = (i + 0.5) / columns + rng.uniform(-0.5, 0.5) * slack_x
            y = (j + 0.5) / rows + rng.uniform(-0.5, 0.5) * slack_y
            name = rng.choice([*SIGN_COLOURS, "grey"])
            if name == "grey":
                rgb = _jittered(rng, (rng.randint(75, 190),) * 3, 4)
            else:
                rgb = _jittered(rng, SIGN_COLOURS[name])
            sign = _sign(rng, name, rgb, x, y)
            sign = replace(sign, width=sign.width * zoom)
            (grey if name == "grey" else signs).append(sign)
    return Scene(seed, ground, shapes, tuple(signs), tuple(grey))
