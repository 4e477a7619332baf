"""Prefetch of rows: sharing, release, and late arrivals."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from p2r_bench.run.images.prefetch import Ready, Todo, Work, read_ahead
from p2r_bench.run.images.rendering import EncodedImage
from p2r_bench.run.schedule.limiter import Limiter
from p2r_bench.types import ErrorInfo, ImageRef, Sample


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def work(index: int, image: ImageRef) -> Work:
    return Work(index, Sample(str(index), "t", image, "What?", "A"))


def read(todo: Todo) -> list[Ready]:
    async def main() -> list[Ready]:
        return [ready async for ready in read_ahead(todo)]

    return asyncio.run(main())


def encoded(ready: Ready) -> EncodedImage:
    assert isinstance(ready.image, EncodedImage)
    return ready.image


def test_equal_images_share_their_bytes_and_rows_keep_where_theirs_lie(tmp_path: Path) -> None:
    for name, colour in [("a", "red"), ("b", "red"), ("c", "blue")]:
        (tmp_path / name).write_bytes(png(colour))
    rows = read([work(i, ImageRef(path=str(tmp_path / name))) for i, name in enumerate("abc")])
    a, b, c = map(encoded, rows)
    assert a is b and c is not a
    assert [Path(str(r.work.sample.image.path)).name for r in rows] == ["a", "b", "c"]
    assert rows[0].work.sample.image.size == (8, 8)
    assert rows[0].work.sample.group == a.ref.digest == rows[1].work.sample.image.digest


def test_a_file_that_rows_share_is_read_once_while_one_of_them_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png("red"))

    async def main() -> None:
        rows = read_ahead([work(i, ImageRef(path=str(path))) for i in range(80)])
        first = await anext(rows)
        path.unlink()
        others = [ready async for ready in rows]
        assert all(ready.image is first.image for ready in others)

    asyncio.run(main())


def test_an_image_is_never_taken_for_one_whose_bytes_lay_at_the_same_address() -> None:
    """Bytes in memory are freed when they have been read, and the next row's may come to lie where they lay."""
    seen: list[tuple[int, EncodedImage]] = []

    async def main() -> None:
        todo = (work(i, ImageRef(data=png(f"#0000{i:02x}"))) for i in range(200))
        seen.extend([(ready.work.index, encoded(ready)) async for ready in read_ahead(todo)])

    asyncio.run(main())
    assert all(image.data == png(f"#0000{index:02x}") for index, image in seen)


def test_bytes_that_no_row_uses_any_more_are_let_go_of() -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, EncodedImage) for thing in gc.get_objects())

    async def main() -> list[int]:
        counts = []
        todo = [work(i, ImageRef(data=png(f"#0000{i:02x}"))) for i in range(200)]
        async for ready in read_ahead(todo):
            if ready.work.index % 50 == 49:
                counts.append(alive())
        return counts

    assert max(asyncio.run(main())) <= 3 * 32


def test_an_unreadable_image_is_an_error_of_its_row_alone(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png("red"))
    names = ("missing.png", "good.png")
    bad, good = read([work(i, ImageRef(path=str(tmp_path / n))) for i, n in enumerate(names)])
    assert isinstance(bad.image, ErrorInfo) and "missing.png" in bad.image.message
    assert isinstance(good.image, EncodedImage)


def test_work_that_arrives_some_at_a_time_is_begun_without_waiting_for_more() -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def arriving() -> AsyncIterator[list[Work]]:
            yield [work(0, ImageRef(data=png("red"))), work(1, ImageRef(data=png("blue")))]
            await more.wait()
            yield [work(2, ImageRef(data=png("red")))]

        rows = read_ahead(arriving())
        begun = [(await asyncio.wait_for(anext(rows), 30)).work.index for _ in range(2)]
        more.set()
        assert begun == [0, 1] and [ready.work.index async for ready in rows] == [2]

    asyncio.run(main())


def test_reading_ends_at_once_when_nobody_wants_the_rest() -> None:
    async def never() -> AsyncIterator[list[Work]]:
        yield [work(0, ImageRef(data=png("red")))]
        await asyncio.Event().wait()

    async def main() -> None:
        rows = read_ahead(never())
        await anext(rows)
        await asyncio.wait_for(rows.aclose(), 30)

    asyncio.run(main())


def image(key: str, size: int) -> EncodedImage:
    return EncodedImage(ImageRef(digest=key), b"x" * size)


def test_an_image_takes_its_room_once_and_a_large_one_waits_for_all_of_it() -> None:
    async def main() -> None:
        places = Limiter(10, 100)
        shared, other, large = image("a", 60), image("b", 60), image("c", 500)
        await places.enter(shared)
        await places.enter(shared)
        waiting = asyncio.create_task(places.enter(other))
        await asyncio.sleep(0)
        places.leave(shared)
        await asyncio.sleep(0)
        assert not waiting.done()
        places.leave(shared)
        await asyncio.wait_for(waiting, 30)
        waiting = asyncio.create_task(places.enter(large))
        await asyncio.sleep(0)
        assert not waiting.done()
        places.leave(other)
        await asyncio.wait_for(waiting, 30)

    asyncio.run(main())


def test_there_are_no_more_places_than_were_given() -> None:
    async def main() -> None:
        places = Limiter(1, 100)
        await places.enter(ErrorInfo("image", "broken"))
        waiting = asyncio.create_task(places.enter(image("a", 1)))
        await asyncio.sleep(0)
        assert not waiting.done()
        places.leave(ErrorInfo("image", "broken"))
        await asyncio.wait_for(waiting, 30)

    asyncio.run(main())
