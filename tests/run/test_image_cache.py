"""The image cache: waiting, sharing and eviction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from p2r_bench.run.images.cache import Lease, SizedCache, Wanted


def cache(capacity: int = 100, idle: int = 100) -> SizedCache[str]:
    return SizedCache(capacity, idle)


def filled(cache: SizedCache[str], *keys: str, size: int = 40) -> Lease[str]:
    """A lease whose values are there."""
    lease = cache.take([Wanted(key, size) for key in keys])
    assert lease is not None
    for entry in lease.entries:
        if not entry.begun:
            entry.set(f"value of {entry.key}")
    return lease


def test_what_others_hold_takes_no_room() -> None:
    held = cache()
    filled(held, "a", "b")
    assert held.take([Wanted("c", 40)]) is None
    assert held.take([Wanted("a", 40), Wanted("b", 40)]) is not None


def test_a_claim_larger_than_everything_is_granted_alone() -> None:
    held = cache()
    large = filled(held, "large", size=500)
    assert held.take([Wanted("b", 1)]) is None
    large.release()
    assert held.take([Wanted("b", 1)]) is not None


def test_a_request_s_images_are_claimed_all_or_none() -> None:
    held = cache()
    first = filled(held, "a", "b")
    assert held.take([Wanted("b", 40), Wanted("c", 40)]) is None
    first.release()
    assert held.take([Wanted("b", 40), Wanted("c", 40)]) is not None


def test_what_nobody_holds_makes_room_the_longest_unused_first() -> None:
    held = cache()
    for key in ("a", "b"):
        filled(held, key).release()
    filled(held, "a").release()
    filled(held, "c")
    assert [held.peek(key) for key in ("a", "b", "c")] == ["value of a", None, "value of c"]


def test_evict_newest_keeps_the_oldest_entries() -> None:
    held: SizedCache[str] = SizedCache(100, 100, evict_newest=True)
    for key in ("a", "b", "c", "d"):
        filled(held, key).release()
    assert [held.peek(key) is not None for key in "abcd"] == [True, False, False, True]


@pytest.mark.parametrize("evict_newest", [False, True])
def test_what_is_spent_makes_room_before_anything_else(evict_newest: bool) -> None:
    held: SizedCache[str] = SizedCache(100, 100, evict_newest=evict_newest)
    filled(held, "a").release()
    filled(held, "b").release(spent=True)
    filled(held, "c").release()
    assert [held.peek(key) is not None for key in "abc"] == [True, False, True]
    filled(held, "a").release(spent=True)
    assert filled(held, "a").entries[0].begun, "what is spent is still there while there is room"


def test_spare_room_keeps_more_and_is_given_back_when_it_goes() -> None:
    spare = 80
    held: SizedCache[str] = SizedCache(100, 100, spare=lambda: spare)
    for key in ("a", "b", "c", "d"):
        filled(held, key).release()
    assert all(held.peek(key) for key in "abcd")
    assert held.take([Wanted("e", 40), Wanted("f", 70)]) is not None, "no lease needs spare room"
    spare = 0
    held.make_room()
    assert not any(held.peek(key) for key in "abcd")


def test_what_is_dropped_gives_its_room_to_others() -> None:
    held: SizedCache[str] = SizedCache(80, 80, evict_newest=True)
    for key in ("a", "b"):
        filled(held, key).release()
    held.drop("a")
    held.drop("never there")
    filled(held, "c").release()
    assert [held.peek(key) is not None for key in "abc"] == [False, True, True]
    held.clear()
    assert not any(held.peek(key) for key in "abc")


def test_no_more_is_kept_than_asked_for() -> None:
    held = cache(idle=50)
    filled(held, "a", "b").release()
    assert [held.peek(key) for key in ("a", "b")] == [None, "value of b"]


async def taking(held: SizedCache[str], order: list[str], key: str, priority: int) -> None:
    lease = await held.wait([Wanted(key, 60)], priority)
    order.append(key)
    await asyncio.sleep(0)
    lease.release()


@pytest.mark.parametrize(
    ("waiting", "served"),
    [
        ([("a", 0), ("b", 0), ("c", 0)], ["a", "b", "c"]),
        ([("a", 0), ("b", -1), ("c", 0)], ["b", "a", "c"]),
    ],
)
def test_who_waits_is_served_by_priority_then_in_order(
    waiting: Sequence[tuple[str, int]], served: list[str]
) -> None:
    order: list[str] = []

    async def main() -> None:
        held = cache()
        first = filled(held, "first", size=60)
        tasks = [asyncio.create_task(taking(held, order, key, p)) for key, p in waiting]
        await asyncio.sleep(0)
        first.release()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert order == served


def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    async def main() -> None:
        held = cache()
        first = filled(held, "first", size=60)
        waiting = asyncio.create_task(taking(held, [], "second", 0))
        await asyncio.sleep(0)
        assert held.take([Wanted("small", 1)]) is None
        first.release()
        await waiting
        assert held.take([Wanted("small", 1)]) is not None

    asyncio.run(main())


def test_who_is_cancelled_while_waiting_leaves_its_place_to_the_next() -> None:
    async def main() -> None:
        held, order = cache(), list[str]()
        first = filled(held, "first", size=60)
        tasks = [asyncio.create_task(taking(held, order, key, 0)) for key in ("a", "b")]
        await asyncio.sleep(0)
        first.release()
        tasks[0].cancel()  # in the moment in which it was served
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == ["b"]
        assert held.take([Wanted("c", 100)]) is not None

    asyncio.run(main())


def test_a_value_that_could_not_be_made_is_not_kept() -> None:
    async def main() -> None:
        held = cache()
        lease = held.take([Wanted("a", 40)])
        assert lease is not None
        coming: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lease.entries[0].begin(coming)
        coming.set_exception(LookupError("broken"))
        with pytest.raises(LookupError):
            await lease.entries[0].ready()
        lease.release()
        again = held.take([Wanted("a", 40)])
        assert again is not None and not again.entries[0].begun

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_is_abandoned_unless_it_is_part_of_something() -> None:
    async def main() -> None:
        held = cache()
        futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
        for future, part in zip(futures, (None, 0), strict=True):
            lease = held.take([Wanted(f"part {part}", 40)])
            assert lease is not None
            lease.entries[0].begin(future, part)
            lease.release()
        assert [future.cancelled() for future in futures] == [True, False]

    asyncio.run(main())
