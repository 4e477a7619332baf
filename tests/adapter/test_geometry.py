"""Crops, outlines and sizes: the published rules, and what must hold for every shape."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from p2r_bench.adapter import builtin_profiles, crop_rect, load_profile
from p2r_bench.adapter.annotation import strokes_for
from p2r_bench.adapter.geometry import final_sizes, upright_size
from p2r_bench.errors import ImageError
from p2r_bench.families import Budget
from p2r_bench.families.qwen3_vl import Qwen3VL
from p2r_bench.families.smart_resize import SmartResize
from p2r_bench.types import Box, ImageRef, Rect, Size

P2R = load_profile("p2r")
COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "cyan", "magenta"]
SIZES = [
    (1, 1),
    (20000, 400),
    (400, 20000),
    (7680, 4320),
    (3840, 2160),
    (33, 31),
    (200, 1),
    (2, 400),
]

side = st.integers(1, 20000)
shape = st.one_of(
    st.sampled_from(SIZES),
    st.tuples(side, side).filter(lambda s: max(s) <= 200 * min(s)),
    st.tuples(st.integers(1, 60), st.floats(1, 200)).map(lambda s: (int(s[0] * s[1]), s[0])),
)
coordinate = st.one_of(
    st.integers(0, 1000),
    st.integers(-300, 1300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(),
)
span = st.tuples(st.floats(-2000, 2000), st.floats(1e-6, 4000)).map(lambda s: (s[0], s[0] + s[1]))
wild_box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(Box)


def published_crop(box: Box, size: Size) -> Rect | None:
    """FACTS' rule, spelled out with nothing clamped but what it says."""
    (x1, y1, x2, y2), (width, height) = (c / 1000 for c in box.xyxy), size
    across, down = min(0.1, 600 / width), min(0.1, 600 / height)
    x1, y1 = max(0, x1 - across), max(0, y1 - down)
    x2, y2 = min(1, x2 + across), min(1, y2 + down)
    rect = (int(x1 * width), int(y1 * height), int(x2 * width), int(y2 * height))
    return rect if rect[0] < rect[2] and rect[1] < rect[3] else None


@pytest.mark.parametrize(
    ("xyxy", "size", "rect"),
    [
        ((400, 400, 600, 600), (1000, 500), (300, 150, 700, 350)),  # a tenth of each side
        ((400, 400, 600, 600), (12000, 6000), (4200, 1800, 7800, 4200)),  # 600 pixels on long sides
        ((0, 0, 1000, 1000), (640, 480), (0, 0, 640, 480)),  # clamped at every edge
        ((950, 950, 1000, 1000), (1000, 1000), (850, 850, 1000, 1000)),
        ((-500, -500, 100, 100), (1000, 1000), (0, 0, 200, 200)),
        ((333, 333, 334, 334), (1001, 1001), (233, 233, 434, 434)),  # truncated, not rounded
        ((0, 0, 1, 1), (1, 1), None),  # less than a pixel
        ((0, 0, 1000, 1000), (1, 1), (0, 0, 1, 1)),
    ],
)
def test_crops_follow_the_published_rule(
    xyxy: tuple[float, float, float, float], size: Size, rect: Rect | None
) -> None:
    assert crop_rect(Box(xyxy), size, P2R) == rect


@pytest.mark.parametrize(
    "xyxy",
    [
        (1200, 0, 1300, 100),
        (-300, 0, -200, 100),
        (0, 1200, 100, 1300),
        (0, -300, 100, -200),
        (5e300, 0, 6e300, 9),
    ],
)
def test_a_box_outside_the_image_has_no_crop(xyxy: tuple[float, float, float, float]) -> None:
    assert crop_rect(Box(xyxy), (1000, 1000), P2R) is None


def test_padding_that_reaches_into_the_image_is_cut_out_as_published() -> None:
    assert crop_rect(Box((1050, 0, 1100, 500)), (1000, 1000), P2R) == (950, 0, 1000, 600)


@given(shape, st.tuples(span, span))
def test_any_valid_box_is_cropped_as_the_rule_spells_it_out(
    size: Size, spans: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    (x1, x2), (y1, y2) = spans
    box = Box((x1, y1, x2, y2))
    assert crop_rect(box, size, P2R) == published_crop(box, size)


@given(shape, wild_box)
@example((1, 1), Box((0, 0, 10**400, 10**400)))
@example((100, 100), Box(("0", None, [], {})))  # type: ignore[arg-type]
@example((100, 100), Box((1, 2, 3)))  # type: ignore[arg-type]
def test_no_box_gives_an_empty_or_out_of_image_crop(size: Size, box: Box) -> None:
    rect = crop_rect(box, size, P2R)
    if rect is not None:
        left, top, right, bottom = rect
        assert all(type(edge) is int for edge in rect)
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


def test_outlines_take_the_published_colours_in_turn() -> None:
    strokes = strokes_for([Box((0, 0, 500, 500))] * 10, (100, 100), P2R)
    assert [s.colour for s in strokes] == [*COLOURS, "red", "green"]


@pytest.mark.parametrize(
    ("width", "line"), [(1, 3), (999, 3), (1000, 3), (1333, 3), (1334, 4), (3840, 11), (7680, 23)]
)
def test_line_width_is_three_thousandths_of_the_width_and_at_least_three(
    width: int, line: int
) -> None:
    assert strokes_for([Box((0, 0, 500, 500))], (width, 50), P2R)[0].width == line


def test_outline_corners_are_truncated_and_not_padded() -> None:
    (stroke,) = strokes_for([Box((333.4, 250, 666.6, 999))], (1000, 777), P2R)
    assert stroke.rect == (333, 194, 666, 776)


def test_every_box_is_outlined_not_only_the_cropped_ones() -> None:
    assert len(strokes_for([Box((0, 0, 500, 500))] * 3000, (100, 100), P2R)) == 3000


@given(shape, st.lists(wild_box, max_size=6))
def test_outlines_always_fit_what_pillow_draws(size: Size, boxes: list[Box]) -> None:
    for stroke in strokes_for(boxes, size, P2R):
        left, top, right, bottom = stroke.rect
        assert left <= right
        assert top <= bottom
        assert max(map(abs, stroke.rect)) < 2**31 / 4


@pytest.mark.parametrize("size", SIZES)
def test_corners_that_are_no_box_leave_no_outline_and_use_no_colour(size: Size) -> None:
    bad = [Box((math.nan, 0, 1, 1)), Box((5, 5, 1, 9)), Box((0, 0, math.inf, 9))]
    strokes = strokes_for([*bad, Box((0, 0, 500, 500))], size, P2R)
    assert [s.colour for s in strokes] == ["red"]


@given(shape, st.sampled_from(builtin_profiles()))
def test_final_sizes_are_fixed_points_inside_the_budget(size: Size, name: str) -> None:
    profile = load_profile(name)
    budget = profile.image
    sizes = final_sizes(size, profile)
    width, height = sizes[-1]
    floor = max(budget.min_pixels, budget.second_min_pixels)
    assert width % 32 == height % 32 == 0
    assert floor <= width * height <= budget.max_pixels
    assert smart_resize(height, width, 32, floor, budget.max_pixels) == (height, width)


@given(shape, st.integers(1, 3000), st.integers(0, 20000), st.sampled_from([14, 28, 32]))
@example((20000, 100), 201, 0, 32)
@example((7996, 40), 64, 4032, 32)
def test_any_budget_that_is_accepted_has_a_fixed_point_for_every_shape(
    size: Size, tiles: int, more: int, factor: int
) -> None:
    low, high = tiles * factor**2, (2 * tiles + more) * factor**2 + more % factor**2
    family = SmartResize()
    family.factor = factor
    assert family.problem(Budget(low, high)) is None
    width, height = family.fit(size, Budget(low, high))
    assert low <= width * height <= high
    assert smart_resize(height, width, factor, low, high) == (height, width)


def test_a_budget_between_which_the_rule_swings_is_not_accepted() -> None:
    budget = Budget(2 * 1024, 2 * 1024 + 512)
    assert "could not settle" in (Qwen3VL().problem(budget) or "")
    with pytest.raises(ValueError, match="does not settle"):
        Qwen3VL().fit((64, 64), budget)


@given(shape, st.sampled_from(["p2r", "original-eval", "tiny"]))
@example((2100, 12), "p2r")  # the short side rounds to nothing, which counts as below the budget
def test_sizes_equal_transformers_where_its_result_is_a_fixed_point(size: Size, name: str) -> None:
    budget = load_profile(name).image
    low, high = budget.min_pixels, budget.max_pixels
    theirs = smart_resize(size[1], size[0], 32, low, high)[::-1]
    assume(low <= theirs[0] * theirs[1] <= high and max(theirs) <= 200 * min(theirs))
    assert Qwen3VL().fit(size, Budget(low, high)) == theirs


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((7680, 4320), (2720, 1536)),
        ((3840, 2160), (2720, 1536)),
        ((1920, 1080), (1920, 1088)),
        ((1024, 768), (1024, 768)),
        ((100, 100), (256, 256)),
        ((1, 1), (256, 256)),
        ((20000, 400), (14464, 288)),
    ],
)
def test_ordinary_sizes_under_the_default_budget(size: Size, sent: Size) -> None:
    assert final_sizes(size, P2R) == (sent,)


def test_a_thin_image_that_rounding_makes_thinner_stays_within_the_ratio_the_family_accepts() -> (
    None
):
    assert smart_resize(40, 7996, 32, 65536, 4194304) == (
        32,
        8000,
    )  # 250 to 1: refused on a second turn
    assert final_sizes((7996, 40), P2R) == ((6400, 32),)


@pytest.mark.parametrize("size", [(201, 1), (1, 201), (20001, 100), (5, 0)])
def test_an_aspect_ratio_over_200_is_refused(size: Size) -> None:
    with pytest.raises(ImageError, match="aspect ratio over 200"):
        final_sizes(size, P2R)


def test_the_published_path_enlarges_its_smaller_images_a_second_time() -> None:
    profile = load_profile("original-eval")
    assert final_sizes((150, 150), profile) == ((160, 160), (256, 256))
    assert final_sizes((300, 300), profile) == ((288, 288),)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_from_5_swap_the_sides_only_when_applied(orientation: int) -> None:
    image = ImageRef(data=b"", size=(640, 480), orientation=orientation)
    expected = (480, 640) if orientation >= 5 else (640, 480)
    assert upright_size(image, "apply") == expected
    assert upright_size(image, "ignore") == (640, 480)


def test_an_image_that_was_not_probed_is_named() -> None:
    with pytest.raises(ValueError, match="probe it"):
        upright_size(ImageRef(path="a.jpg"), "apply")
