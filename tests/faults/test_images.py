"""Damaged images of every format and pixel kind: an image or an ImageError, whatever Pillow raises."""

from __future__ import annotations

import io
import random
import struct
import warnings
from collections.abc import Iterator

import pytest
from PIL import Image

from p2r_bench.adapter import decode
from p2r_bench.adapter.image_files import FORMATS
from p2r_bench.errors import ImageError
from p2r_bench.tasks.reading import probe
from p2r_bench.types import ImageRef

Image.init()
MODES = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
    "I",
    "F",
    "I;16",
    "I;16B",
)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
QUICK, MANY = 12, 300
"""Mutations of each file."""


def files() -> Iterator[tuple[str, bytes]]:
    """Every format and mode that Pillow can write, and files of several frames and pages."""
    for kind in sorted(Image.SAVE):
        for mode in MODES:
            data = written(kind, [Image.new(mode, (24, 16))])
            if data is not None:
                yield f"{kind} {mode}", data
    frames = [Image.new("RGB", (24, 16), (number, 90, 200)) for number in range(3)]
    for kind in sorted(Image.SAVE_ALL):
        data = written(kind, frames, save_all=True, append_images=frames[1:])
        if data is not None:
            yield f"{kind} of three", data


def written(kind: str, frames: list[Image.Image], **options: object) -> bytes | None:
    buffer = io.BytesIO()
    try:
        frames[0].save(buffer, kind, **options)
    except Exception:  # noqa: BLE001 - the format does not take the mode, or a library is missing
        return None
    return buffer.getvalue()


FILES = dict(files())


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four kinds of damage."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(found)) if found else 0
        # Headers are where most of a decoder's decisions are made.
        at = min(at, draw.choice((24, 64, 512, len(found))))
        kind = draw.randrange(6)
        if kind == 0:
            found[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del found[max(at, draw.choice((at, 4))) :]
        elif kind == 2:
            del found[at : at + draw.randrange(1, 9)]
        elif kind == 3:
            found[at:at] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 4:
            found[at:at] = found[at : at + draw.randrange(1, 65)]
        else:
            order, size = draw.choice("<>"), draw.choice("BHI")
            value = draw.choice(EXTREMES) & (256 ** struct.calcsize(size) - 1)
            found[at : at + struct.calcsize(size)] = struct.pack(f"{order}{size}", value)
    return bytes(found)


def outcome(data: bytes) -> str:
    """ "image" or "error"; anything that is raised beside an ImageError passes through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ref = probe(ImageRef(data=data), data)
            image = decode(data)
        except ImageError:
            return "error"
    assert ref.size is not None and 0 not in ref.size
    assert image.mode == "RGB" and 0 not in image.size
    return "image"


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_an_image_where_its_format_is_one_of_those_opened(name: str) -> None:
    kind, _, mode = name.partition(" ")
    found = outcome(FILES[name])
    if mode not in ("I", "F"):  # some formats store these with a known range, and some without
        assert found == ("image" if kind in (*FORMATS, "MPO") else "error")


@pytest.mark.parametrize("kind", sorted({name.partition(" ")[0] for name in FILES}))
def test_some_damaged_files_of_a_format(kind: str) -> None:
    try_mutations(kind, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted({name.partition(" ")[0] for name in FILES}))
def test_many_damaged_files_of_a_format(kind: str) -> None:
    try_mutations(kind, MANY)


def try_mutations(kind: str, count: int) -> None:
    for name, data in FILES.items():
        if name.partition(" ")[0] == kind:
            for number in range(count):
                outcome(mutated(data, random.Random(f"{name} {number}")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 4096,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg/>",
        b"%PDF-1.7",
    ]
    + [
        magic + random.Random(7).randbytes(512)
        for magic in (b"SIMPLE  =", b"\x89HDF", b"GRIB", b"BLP1")
    ],
)
def test_what_is_no_image_of_a_benchmark_is_an_error(data: bytes) -> None:
    assert outcome(data) == "error"


@pytest.mark.parametrize("kind", range(14))
@pytest.mark.parametrize("count", [0, 1, 3, 0xFFFFFFFF])
@pytest.mark.parametrize("value", [b"\6\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_an_orientation_of_any_type_is_one_of_eight_or_an_error(
    kind: int, count: int, value: bytes
) -> None:
    entry = struct.pack("<HHI", 0x0112, kind, count) + value
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    jpeg = io.BytesIO()
    Image.new("RGB", (24, 16)).save(jpeg, "JPEG", exif=exif)
    if outcome(jpeg.getvalue()) == "image":
        ref = probe(ImageRef(data=jpeg.getvalue()), jpeg.getvalue())
        assert ref.orientation in range(1, 9)
