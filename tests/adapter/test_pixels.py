"""`render` against routes written another way, pixel by pixel."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from p2r_bench.adapter import TwoStage, annotate, decode, load_profile, render
from p2r_bench.adapter.annotation import strokes_for
from p2r_bench.errors import ImageError, UserError
from p2r_bench.types import Box, Recipe, Sample, Size, Stroke

P2R = load_profile("p2r")
SIZE = (90, 60)
Pixels = NDArray[np.uint8]

UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(size: Size, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "source": "d", "exif": "apply", "alpha": "white", "strokes": (), "crop": None, "resize": (size,),
    }  # fmt: skip
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]


def on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Pixels:
    share = alpha[..., None].astype(float) / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientations_are_applied(orientation: int, kind: str) -> None:
    pixels = noise(60, 90, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(pixels), kind, exif=exif)
    expected = UPRIGHT[orientation](pixels)
    assert np.array_equal(decode(data), expected)
    size = expected.shape[1], expected.shape[0]
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(render(plain(size), opened), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_ignored_orientation_reaches_neither_the_pixels_nor_the_next_reader(
    orientation: int,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(noise(60, 90, 3)), "JPEG", exif=exif, quality=95)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    for resize in (SIZE, (64, 32)):
        made = render(plain(resize, exif="ignore"), decode(data, exif="ignore"))
        assert made.getexif() == {}
        assert made.info == {}
        if resize == SIZE:
            assert np.array_equal(made, stored)


def test_rgba_is_flattened_on_white_or_its_alpha_dropped() -> None:
    pixels = noise(60, 90, 4)
    data = encoded(Image.fromarray(pixels, "RGBA"))
    assert np.array_equal(decode(data), on_white(pixels[..., :3], pixels[..., 3]))
    assert np.array_equal(decode(data, alpha="drop"), pixels[..., :3])


def test_grey_with_alpha_is_flattened_on_white_or_its_alpha_dropped() -> None:
    pixels = noise(60, 90, 2)
    data = encoded(Image.fromarray(pixels, "LA"))
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    assert np.array_equal(decode(data), on_white(grey, pixels[..., 1]))
    assert np.array_equal(decode(data, alpha="drop"), grey)


def test_transparent_palette_entries_are_flattened_on_white_or_keep_their_colour() -> None:
    indices, palette = noise(60, 90) % 8, noise(8, 3)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    alphas = np.array([0, 128, 255, 255, 64, 255, 255, 1], dtype=np.uint8)
    data = encoded(image, transparency=alphas.tobytes())
    assert np.array_equal(decode(data), on_white(palette[indices], alphas[indices]))
    assert np.array_equal(decode(data, alpha="drop"), palette[indices])


def test_a_transparent_colour_of_an_rgb_image_is_flattened_on_white() -> None:
    pixels = noise(60, 90, 3)
    pixels[10:20, 10:20] = (1, 2, 3)
    data = encoded(Image.fromarray(pixels), transparency=(1, 2, 3))
    expected = pixels.copy()
    expected[10:20, 10:20] = 255
    assert np.array_equal(decode(data), expected)
    assert np.array_equal(decode(data, alpha="drop"), pixels)


def test_opaque_palette_and_grey_images_keep_their_colours() -> None:
    indices, palette = noise(60, 90) % 8, noise(8, 3)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    assert np.array_equal(decode(encoded(image)), palette[indices])
    grey = noise(60, 90)
    assert np.array_equal(
        decode(encoded(Image.fromarray(grey, "L"))), np.repeat(grey[..., None], 3, 2)
    )
    bits = noise(60, 90) > 127
    assert np.array_equal(
        decode(encoded(Image.fromarray(bits))), np.repeat(bits[..., None], 3, 2) * 255
    )


def test_cmyk_is_converted_without_a_colour_profile() -> None:
    pixels = noise(60, 90, 4)
    data = encoded(Image.fromarray(pixels, "CMYK"), "TIFF")
    key = 255 - pixels[..., 3:].astype(int)
    expected = key - pixels[..., :3] * key / 255
    assert np.abs(np.asarray(decode(data), dtype=int) - expected).max() <= 1


@pytest.mark.parametrize("alpha", ["white", "drop"])
@pytest.mark.parametrize("transparency", [None, 7])
def test_sixteen_bit_grey_is_scaled_not_clipped(alpha: str, transparency: int | None) -> None:
    values = np.arange(0, 65536, 12, dtype=np.uint16)[:5400].reshape(60, 90)
    values[0, 0] = 65535
    options = {} if transparency is None else {"transparency": transparency}
    made = np.asarray(decode(encoded(Image.fromarray(values), **options), alpha=alpha), dtype=int)
    assert np.abs(made - (values / 257)[..., None]).max() <= 1
    assert made[0, 0, 0] == 255


@pytest.mark.parametrize("profile", ["p2r", "original-eval"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_whole_two_stage_set_equals_the_straightforward_route(
    profile: str, mode: str, make_sample: Callable[..., Sample]
) -> None:
    chosen = load_profile(profile)
    source = Image.fromarray(noise(400, 700, 3)).convert(mode)
    if mode == "RGBA":
        source.putalpha(Image.fromarray(noise(400, 700, seed=1)))
    sample = make_sample(source.size)
    text = '[{"bbox_2d": [100, 200, 300, 400]}, {"bbox_2d": [900, 900, 1100, 980]}, {"bbox_2d": [0, 0, 9, 9]}]'
    evidence = TwoStage(chosen).evidence(sample, text)

    rgb = source.convert("RGB")
    if mode == "RGBA" and profile == "p2r":
        rgb = Image.fromarray(on_white(np.asarray(rgb), np.asarray(source.getchannel("A"))))
    drawn = rgb.copy()
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((70, 80, 210, 160), outline="red", width=3)
    pen.rectangle((630, 360, 770, 392), outline="green", width=3)
    pen.rectangle((0, 0, 6, 3), outline="blue", width=3)
    crops = [(0, 40, 280, 200), (560, 320, 700, 400), (0, 0, 76, 43)]

    assert evidence.annotated is not None
    made = [render(recipe, source) for recipe in (evidence.annotated, *evidence.crops)]
    for recipe, got, image in zip(
        (evidence.annotated, *evidence.crops),
        made,
        [drawn, *(rgb.crop(c) for c in crops)],
        strict=True,
    ):
        for size in recipe.resize:
            for step in ((size[0], image.height), size):
                image = image.resize(step, Image.Resampling.BICUBIC)
        assert got.mode == "RGB"
        assert got.size == recipe.size
        assert np.array_equal(got, image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
def test_the_source_image_is_never_changed(mode: str) -> None:
    pixels = noise(60, 90, 3)
    source = (
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(pixels).convert(mode)
    )
    source.info["exif"] = b"Exif\0\0"
    before, info = source.tobytes(), dict(source.info)
    stroke = Stroke((5, 5, 40, 40), "red", 3)
    for recipe in (
        plain(SIZE),
        plain(SIZE, strokes=(stroke,)),
        plain((32, 32), crop=(1, 1, 20, 20)),
    ):
        made = render(recipe, source)
        ImageDraw.Draw(made).rectangle((0, 0, 99, 99), fill="black")
    annotate(source, [Box((0, 0, 500, 500))], P2R)
    assert (source.tobytes(), source.info, source.mode) == (before, info, source.mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_annotate_draws_what_a_recipe_with_the_same_strokes_draws(mode: str) -> None:
    source = Image.fromarray(noise(60, 90, 3)).convert(mode)
    boxes = [Box((100, 100, 400, 500)), Box((-50, 300, 990, 2000)), Box((1500, 0, 1600, 10))]
    recipe = plain(SIZE, strokes=strokes_for(boxes, SIZE, P2R))
    assert annotate(source, boxes, P2R).tobytes() == render(recipe, source).tobytes()


def test_annotation_is_an_outline_without_a_label() -> None:
    image = Image.new("RGB", (100, 100), "white")
    made = np.asarray(annotate(image, [Box((200, 200, 800, 600), "kite")], P2R))
    coloured = (made != 255).any(axis=2)
    expected = np.zeros((100, 100), dtype=bool)
    expected[20:61, 20:81] = True
    expected[23:58, 23:78] = False
    assert np.array_equal(coloured, expected)
    assert (made[coloured] == (255, 0, 0)).all()


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.tuples(*[st.floats(-20_000, 20_000)] * 4).map(Box), max_size=4),
)
@settings(max_examples=50)
def test_corners_moved_nearer_the_image_draw_the_same(size: Size, boxes: list[Box]) -> None:
    boxes = [b for b in boxes if b.xyxy[0] < b.xyxy[2] and b.xyxy[1] < b.xyxy[3]]
    image = Image.new("RGB", size, "white")
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    for box, stroke in zip(boxes, strokes_for(boxes, size, P2R), strict=True):
        unmoved = [int(c / 1000 * size[i % 2]) for i, c in enumerate(box.xyxy)]
        pen.rectangle(unmoved, outline=stroke.colour, width=stroke.width)
    assert np.array_equal(annotate(image, boxes, P2R), drawn)


def test_jpeg_transport_is_one_round_trip_at_the_final_size() -> None:
    source = Image.fromarray(noise(60, 90, 3))
    recipe = plain((64, 32), crop=(2, 3, 80, 50), transport="jpeg:75")
    sent = source.crop((2, 3, 80, 50)).resize((64, 32), Image.Resampling.BICUBIC)
    received = Image.open(io.BytesIO(encoded(sent, "JPEG")))  # Pillow's default quality is 75
    assert np.array_equal(render(recipe, source), received)
    assert not np.array_equal(render(replace(recipe, transport="lossless"), source), received)
    assert not np.array_equal(render(replace(recipe, transport="jpeg:30"), source), received)


def test_a_second_resize_happens_behind_the_transport() -> None:
    source = Image.fromarray(noise(60, 90, 3))
    recipe = plain(SIZE, resize=((64, 32), (320, 224)), transport="jpeg:75")
    sent = source.resize((64, 32), Image.Resampling.BICUBIC)
    received = Image.open(io.BytesIO(encoded(sent, "JPEG", quality=75)))
    assert np.array_equal(
        render(recipe, source), received.resize((320, 224), Image.Resampling.BICUBIC)
    )


def test_an_unknown_pixel_route_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'warp' is not known; known are exact"):
        render(plain((32, 32), route="warp"), Image.new("RGB", SIZE))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@given(
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=3),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors])
def test_damaged_files_are_an_image_error_and_nothing_else(
    kind: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(Image.fromarray(noise(12, 18, 3)), kind))
    for where, mask in flips:
        data[int(where * len(data))] ^= mask
    try:
        image = decode(bytes(data[: int(cut * len(data))]))
    except ImageError as error:
        assert "cannot be read" in str(error)
    else:
        assert image.mode == "RGB"


def test_an_image_beyond_pillows_limit_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", SIZE))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="exceeds limit"):
        decode(data)
