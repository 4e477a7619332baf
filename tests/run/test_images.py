"""Image work: each source decoded once, each recipe rendered once, within the budget."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from p2r_bench.adapter import TwoStage, decode, load_profile, render
from p2r_bench.adapter.canvas import narrowed
from p2r_bench.errors import ImageError
from p2r_bench.run.images import rendering as images_module
from p2r_bench.run.images.rendering import EncodedImage, ImageWork
from p2r_bench.tasks.reading import probe
from p2r_bench.types import Box, ImageEncoder, ImageRef, Recipe, Sample, WireImage


def encoded(colour: str = "red", size: tuple[int, int] = (320, 200)) -> EncodedImage:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return EncodedImage(
        probe(ImageRef(data=buffer.getvalue()), buffer.getvalue()), buffer.getvalue()
    )


def sample_of(source: EncodedImage, name: str = "s") -> Sample:
    return Sample(name, "t", source.ref, "What?", "A", options={"A": "1", "B": "2"})


async def lent(
    work: ImageWork, recipes: Sequence[Recipe], source: EncodedImage
) -> Sequence[Image.Image]:
    """The images of a request, whose room is free once the caller lets go of them."""
    return (await work.of(source).prepare(recipes)).lend()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    counts: Counter[bytes] = Counter()

    def counting(data: bytes, **policy: Any) -> Image.Image:
        counts[data] += 1
        return decode(data, **policy)

    monkeypatch.setattr(images_module, "decode", counting)
    return counts


def test_rows_that_share_an_image_decode_it_once(decoded: Counter[bytes]) -> None:
    source, two = encoded(), TwoStage(load_profile("tiny"))
    sample = sample_of(source)
    evidence = two.evidence_from_boxes(
        sample, [Box((100, 100, 300, 300)), Box((500, 500, 600, 600))]
    )
    request = two.reason_request(sample, evidence)

    async def main() -> None:
        work = ImageWork(workers=2)

        async def one() -> None:
            images = await lent(work, request.recipes, source)
            with Image.open(io.BytesIO(source.data)) as original:
                expected = [render(recipe, original) for recipe in request.recipes]
            assert [i.tobytes() for i in images] == [i.tobytes() for i in expected]

        await asyncio.gather(*(one() for _ in range(6)))
        work.close()

    asyncio.run(main())
    assert decoded[source.data] == 1


def test_a_large_source_is_narrowed_once_for_all_annotated_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widths: list[int] = []

    def counting(source: Image.Image, width: int) -> Image.Image:
        widths.append(width)
        return narrowed(source, width)

    monkeypatch.setattr(images_module, "narrowed", counting)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # stored lying down
    Image.effect_noise((1500, 1100), 90).convert("RGB").save(buffer, "PNG", exif=exif)
    source = EncodedImage(
        probe(ImageRef(data=buffer.getvalue()), buffer.getvalue()), buffer.getvalue()
    )
    sample, two = sample_of(source), TwoStage(load_profile("tiny"))
    boxes = [Box((100, 100 * n, 300, 100 * n + 90)) for n in range(1, 5)]
    requests = [two.reason_request(sample, two.evidence_from_boxes(sample, [box])) for box in boxes]
    upright = decode(source.data)

    async def one(work: ImageWork, recipes: Sequence[Recipe]) -> None:
        images = await lent(work, recipes, source)
        assert [i.tobytes() for i in images] == [render(r, upright).tobytes() for r in recipes]

    async def main() -> None:
        work = ImageWork(workers=2)
        asked = [(two.whole(sample),), *(request.recipes for request in requests)]
        await asyncio.gather(*(one(work, recipes) for recipes in asked))
        work.close()

    asyncio.run(main())
    assert upright.size == (1100, 1500)
    assert widths == [two.whole(sample).size[0]]


def test_sources_wait_for_stage_two_while_there_is_room_and_no_longer_than_their_rows(
    decoded: Counter[bytes],
) -> None:
    """Stage 1 of all rows comes before stage 2 of the first: the order in which the oldest source is wanted next."""
    size, two = (1200, 900), TwoStage(load_profile("tiny"))
    sources = [encoded(f"#0000{n:02x}", size) for n in range(6)]
    samples = [sample_of(source, str(n)) for n, source in enumerate(sources)]
    boxes = [Box((100, 100, 300, 300))]
    wholes = [two.whole(sample) for sample in samples]
    finals = [two.reason_request(s, two.evidence_from_boxes(s, boxes)).recipes for s in samples]

    async def main() -> None:
        # Room for four sources with what they come to at a smaller width, of which one is at work.
        work = ImageWork(budget=int(6.3 * images_module.pixel_bytes(size)), workers=1)
        for source, whole in zip(sources, wholes, strict=True):
            await lent(work, [whole], source)
        for source, recipes in zip(sources, finals, strict=True):
            (await work.of(source).prepare(recipes, priority=-1)).release()
        assert sorted(decoded.values()) == [1, 1, 1, 1, 2, 2]
        del source
        sources.clear()
        await asyncio.sleep(0)
        assert not any(work._sources.peek(images_module._source_key(w)) for w in wholes)
        work.close()

    asyncio.run(main())


def test_many_images_pass_through_a_budget_smaller_than_one(decoded: Counter[bytes]) -> None:
    two = TwoStage(load_profile("tiny"))
    sources = [encoded(f"#0000{n:02x}") for n in range(8)]

    async def main() -> list[tuple[int, int]]:
        work = ImageWork(budget=1000, workers=2)

        async def one(source: EncodedImage) -> tuple[int, int]:
            images = await lent(work, [two.whole(sample_of(source))], source)
            await asyncio.sleep(0)
            return images[0].size

        sizes = await asyncio.gather(*(one(source) for source in sources))
        work.close()
        return sizes

    assert len(asyncio.run(main())) == 8


def test_a_broken_image_fails_everyone_who_waits_for_it_and_nobody_else() -> None:
    two = TwoStage(load_profile("tiny"))
    good = encoded()
    bad = EncodedImage(good.ref, good.data[:60])

    async def main() -> None:
        work = ImageWork(workers=2)

        async def one(source: EncodedImage, digest: str) -> tuple[int, int]:
            ref = ImageRef(data=source.data, digest=digest, size=good.ref.size)
            recipe = two.whole(sample_of(EncodedImage(ref, source.data)))
            return (await lent(work, [recipe], EncodedImage(ref, source.data)))[0].size

        outcomes = await asyncio.gather(
            one(bad, "bad"), one(good, "good"), one(bad, "bad"), return_exceptions=True
        )
        assert isinstance(outcomes[0], ImageError) and isinstance(outcomes[2], ImageError)
        assert isinstance(outcomes[1], tuple)
        with pytest.raises(ImageError):
            await one(bad, "bad")
        work.close()

    asyncio.run(main())


def test_cancelling_one_waiter_leaves_the_others_their_image() -> None:
    two = TwoStage(load_profile("tiny"))
    source = encoded(size=(2000, 1500))

    async def main() -> None:
        work = ImageWork(workers=1)

        async def one() -> tuple[int, int]:
            return (await lent(work, [two.whole(sample_of(source))], source))[0].size

        first, second = asyncio.create_task(one()), asyncio.create_task(one())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)[0] % 32 == 0
        with pytest.raises(asyncio.CancelledError):
            await first
        work.close()

    asyncio.run(main())


def recording(calls: list[str], bytes_each: int = 500) -> ImageEncoder:
    def encode(recipe: Recipe, image: Image.Image) -> WireImage:
        calls.append(recipe.digest)
        return WireImage(image.size, b"x" * bytes_each)

    return ImageEncoder("recording", encode)


@pytest.mark.parametrize("size", [(320, 200), (1500, 1100)])
def test_an_image_that_several_requests_share_is_encoded_once(size: tuple[int, int]) -> None:
    source, two, calls = encoded(size=size), TwoStage(load_profile("tiny")), list[str]()
    recipe, encoder = two.whole(sample_of(source)), recording(calls)

    async def main() -> None:
        work = ImageWork(workers=2)

        async def one() -> Sequence[Any]:
            return (await work.of(source).prepare([recipe], 0, encoder)).lend()

        all_lent = await asyncio.gather(*(one() for _ in range(5)))
        pixels = await lent(work, [recipe], source)
        assert {image.data for images in all_lent for image in images} == {b"x" * 500}
        assert isinstance(pixels[0], Image.Image)
        work.close()

    asyncio.run(main())
    assert calls == [recipe.digest]


@pytest.mark.parametrize("size", [(320, 200), (1500, 1100)])
def test_encoded_images_count_with_their_bytes_until_they_are_let_go_of(
    size: tuple[int, int],
) -> None:
    """Room for three images as pixels holds eight that are encoded, and no ninth."""
    two = TwoStage(load_profile("tiny"))
    sources = [encoded(f"#0000{n:02x}", size) for n in range(9)]
    recipes = [two.whole(sample_of(source)) for source in sources]
    room = 3 * images_module.pixel_bytes(recipes[0].size)
    encoder = recording([], room // 8)

    async def main() -> None:
        work = ImageWork(budget=2 * room, workers=2)

        async def one(n: int) -> Sequence[Any]:
            return (await work.of(sources[n]).prepare([recipes[n]], 0, encoder)).lend()

        for n in range(5):
            held.append(await asyncio.wait_for(one(n), 30))
        assert work._rendered.held == 5 * (room // 8)
        last = asyncio.gather(*(one(n) for n in range(5, 9)))
        done, _ = await asyncio.wait([last], timeout=0.5)
        assert not done
        held.clear()
        await asyncio.wait_for(last, 30)
        work.close()

    held: list[Sequence[Any]] = []
    asyncio.run(main())
