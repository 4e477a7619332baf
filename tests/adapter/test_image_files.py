"""Image files of every format and pixel kind: turned once, scaled by their range, or refused with the way out."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from p2r_bench.adapter import decode
from p2r_bench.adapter.geometry import upright_size
from p2r_bench.adapter.image_files import FORMATS
from p2r_bench.errors import ImageError
from p2r_bench.tasks.reading import probe
from p2r_bench.types import ImageRef

Array = NDArray[np.generic]
ORIENTATION, PHOTOMETRIC, BITS = 0x0112, 262, 258

UPRIGHT: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corner() -> Image.Image:
    """48×32 blue pixels with a red top left quarter: shows how it was turned, also after lossy compression."""
    image = Image.new("RGB", (48, 32), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 24, 16))
    return image


def turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(corner(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_is_turned_once_or_not_at_all(kind: str, orientation: int) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = turned(orientation, kind)
    ref = probe(ImageRef(data=data), data)
    stored = np.asarray(corner())
    for exif, expected in [("ignore", stored), ("apply", UPRIGHT[orientation](stored))]:
        made = np.asarray(decode(data, exif=exif))
        assert made.shape == expected.shape
        assert ((made > 127) == (expected > 127)).mean() > 0.97
        assert upright_size(ref, exif) == (made.shape[1], made.shape[0])
    assert (ref.size, ref.orientation) == ((48, 32), orientation)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("orientation", [2, 5, 6, 7, 8])
def test_a_tiff_is_turned_once_however_it_is_compressed(
    compression: str | None, orientation: int
) -> None:
    data = saved(corner(), "TIFF", compression=compression, tiffinfo={ORIENTATION: orientation})
    stored = np.asarray(corner())
    assert np.array_equal(decode(data), UPRIGHT[orientation](stored))
    assert np.array_equal(decode(data, exif="ignore"), stored)


def grey(data: bytes) -> NDArray[np.int64]:
    """The levels of a file that decodes to grey."""
    pixels = np.asarray(decode(data)).astype(np.int64)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_grey_of_sixteen_bits_is_scaled_by_its_range(kind: str) -> None:
    values = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    assert np.abs(grey(saved(Image.fromarray(values), kind)) - values / 257).max() <= 1


def test_grey_of_sixteen_bits_where_white_is_zero_is_inverted() -> None:
    values = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    data = bytearray(saved(Image.fromarray(values), "TIFF"))
    entry = struct.pack("<HHI", PHOTOMETRIC, 3, 1)
    at = data.index(entry) + len(entry)
    assert data[at] == 1
    data[at] = 0
    assert np.abs(grey(bytes(data)) - (255 - values / 257)).max() <= 1


@pytest.mark.parametrize("values", [np.linspace(0, 1, 3072), np.zeros(3072), np.full(3072, 0.5)])
def test_floats_between_0_and_1_are_black_to_white(values: NDArray[np.float64]) -> None:
    image = Image.fromarray(values.reshape(48, 64).astype(np.float32))
    assert np.abs(grey(saved(image, "TIFF")) - values.reshape(48, 64) * 255).max() <= 0.51


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((4, 4), 200.0, np.float32), "float pixels from 200.0 to 200.0; only 0 to 1"),
        (np.array([[0.5, -0.1]], np.float32), "scale them to that, or convert the image to 8 bits"),
        (np.array([[0.5, np.nan]], np.float32), "float pixels"),
        (np.array([[np.nan, 0.5]], np.float32), "float pixels"),
        (np.array([[0.5, np.inf]], np.float32), "float pixels"),
        (np.full((4, 4), 200, np.int32), "32 bits has no known range; convert it to 8 or 16 bits"),
    ],
)
def test_pixels_without_a_known_range_are_refused_with_the_way_out(
    pixels: Array, words: str
) -> None:
    data = saved(Image.fromarray(pixels), "TIFF")
    with pytest.raises(ImageError, match=words):
        decode(data)


@pytest.mark.parametrize(
    ("mode", "kind", "colour", "expected"),
    [
        ("1", "PNG", 1, (255, 255, 255)),
        ("1", "TIFF", 1, (255, 255, 255)),
        ("L", "BMP", 120, (120, 120, 120)),
        ("P", "GIF", None, (10, 200, 30)),
        ("LA", "PNG", (100, 128), (177, 177, 177)),
        ("LA", "TIFF", (100, 0), (255, 255, 255)),
        ("PA", "PNG", None, (10, 200, 30)),
        ("RGB", "WEBP", (10, 200, 30), (10, 200, 30)),
        ("RGBA", "TIFF", (10, 200, 30, 0), (255, 255, 255)),
        ("RGBA", "JPEG2000", (10, 200, 30, 0), (255, 255, 255)),
        ("RGBX", "TIFF", (10, 200, 30, 0), (10, 200, 30)),
        ("CMYK", "TIFF", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", "TIFF", (76, 85, 255), (255, 0, 0)),
    ],
)
def test_every_kind_of_pixel_keeps_its_colour(
    mode: str, kind: str, colour: object, expected: tuple[int, int, int]
) -> None:
    if mode in ("P", "PA"):
        image = Image.new("RGB", (16, 16), expected).quantize(2)
        image = image.convert("PA") if mode == "PA" else image
    else:
        image = Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]
    try:
        data = saved(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    except OSError:
        pytest.skip(f"this Pillow does not write {mode} as {kind}")
    pixels = np.asarray(decode(data)).astype(int)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels - expected).max() <= 2


def test_premultiplied_alpha_is_flattened_or_dropped() -> None:
    from p2r_bench.adapter.levels import rgb

    for mode, colour in [("RGBa", (50, 50, 50, 128)), ("La", (50, 128))]:
        image = Image.new(mode, (4, 4), colour)
        assert abs(rgb(image, alpha="white").getpixel((0, 0))[0] - 177) <= 2  # type: ignore[index,operator]
        assert abs(rgb(image, alpha="drop").getpixel((0, 0))[0] - 100) <= 2  # type: ignore[index,operator]


@pytest.mark.parametrize(
    "error",
    [RuntimeError, NotImplementedError, struct.error, OverflowError, AttributeError, MemoryError,
     zlib.error, AssertionError, IndexError],
)  # fmt: skip
def test_whatever_a_decoder_raises_is_an_image_error(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, gif = saved(corner(), "PNG"), saved(corner(), "GIF")

    def broken(*_: object) -> None:
        raise error("inside")

    monkeypatch.setattr(Image.Image, "load", broken)
    with pytest.raises(ImageError, match="cannot be read: inside"):
        decode(data)
    monkeypatch.setattr(Image.Image, "getexif", broken)
    with pytest.raises(ImageError, match=r"photo\.jpg: not a readable image .*: inside"):
        probe(ImageRef(path="photo.jpg"), gif)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "SGI", "PCX", "IM", "DDS"])
def test_formats_that_no_benchmark_uses_are_not_opened(kind: str) -> None:
    data = saved(corner(), kind)
    assert Image.open(io.BytesIO(data)).size  # Pillow would
    with pytest.raises(ImageError, match="none of JPEG, PNG"):
        decode(data)
    with pytest.raises(ImageError, match="none of JPEG, PNG"):
        probe(ImageRef(path="x"), data)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_that_benchmarks_use_are_opened(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = saved(corner(), kind)
    assert probe(ImageRef(path="x"), data).size == decode(data).size == (48, 32)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    header = struct.pack("<HIHHI", 0x4D42, 54, 0, 0, 54)
    data = header + struct.pack("<IiiHHIIiiII", 40, *size, 1, 24, 0, 0, 0, 0, 0, 0)
    for read in (decode, lambda data: probe(ImageRef(path="x"), data)):
        with pytest.raises(ImageError):
            read(data)
