"""A cache with a limit in bytes: each value is computed once, leased to its users, and evicted when no lease holds it.

No library combines leases, waiting by priority, and entries that shrink once their size is known.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

V = TypeVar("V")


class Wanted(NamedTuple):
    """The key of a value, and its size in bytes."""

    key: str
    size: int


class Entry(Generic[V]):
    """An entry of the cache, empty until `set` or `begin`."""

    __slots__ = ("_coming", "_part", "_value", "key", "size", "users")

    def __init__(self, wanted: Wanted) -> None:
        self.key, self.size = wanted
        self.users = 0
        self._value: V | None = None
        self._coming: asyncio.Future[Any] | None = None
        self._part: int | None = None

    @property
    def begun(self) -> bool:
        """True when the value is computed or in progress."""
        return self._value is not None or self._coming is not None

    @property
    def value(self) -> V:
        """The value. Await `ready` first."""
        return cast(V, self._value)

    def set(self, value: V) -> None:
        self._value = value

    def begin(self, coming: asyncio.Future[Any], part: int | None = None) -> None:
        """Take the value from a future, or from one part of the future's list. The value is computed even if nobody
        waits.
        """
        self._coming = coming
        self._part = part

    async def ready(self) -> V:
        """Wait for the value and return it; raise the error of computing it."""
        if self._value is None:
            assert self._coming is not None
            if not self._coming.done():
                await asyncio.shield(self._coming)
            self._take()
        return self.value

    def abandon(self) -> None:
        """Cancel computing the value."""
        if self._coming is not None and self._part is None:
            self._coming.cancel()

    @property
    def missing(self) -> bool:
        """True when the value is not computed yet, or failed."""
        coming = self._coming
        if coming is not None and coming.done() and not coming.cancelled():
            if coming.exception() is not None:
                return True
            self._take()
        return self._value is None

    def _take(self) -> None:
        if self._coming is not None:
            made = self._coming.result()
            self._value = made if self._part is None else made[self._part]
            self._coming = None


class Lease(Generic[V]):
    """Entries that stay in the cache until `release`."""

    __slots__ = ("_cache", "entries")

    def __init__(self, cache: SizedCache[V], entries: list[Entry[V]]) -> None:
        self._cache: SizedCache[V] | None = cache
        self.entries = entries

    def release(self, spent: bool = False) -> None:
        """Allow the cache to evict the entries; safe to call twice.

        Args:
            spent: The values are unlikely to be needed again: evict them first.
        """
        if self._cache is not None:
            cache, self._cache = self._cache, None
            cache.returned(self.entries, spent)
            self.entries = []


_Waiting = tuple[int, int, Sequence[Wanted], asyncio.Future[Lease[V]]]


class SizedCache(Generic[V]):
    """Entries by key within a capacity. Leased entries stay; others are evicted when room is needed.

    A lease larger than the capacity is granted when nothing is leased, so that it is slow instead of impossible.
    Waiting leases are served by priority, then in order of arrival. A lease on entries that are leased already takes no
    room and is granted at once.

    Args:
        capacity: Bytes of all entries.
        idle: Bytes of the capacity for entries that are not leased.
        spare: Function that returns further bytes for entries that are not leased. Call `make_room` when the number
            falls.
        evict_newest: Evict the most recently released entry first (default: the least recently used).

    Attributes:
        held: Bytes of leased entries.
    """

    def __init__(
        self,
        capacity: int,
        idle: int,
        spare: Callable[[], int] = lambda: 0,
        evict_newest: bool = False,
    ) -> None:
        self._capacity = capacity
        self._idle_capacity = idle
        self._spare = spare
        self._evict_newest = evict_newest
        self.held = 0
        self._idle_size = 0
        self._used: dict[str, Entry[V]] = {}
        self._idle: OrderedDict[str, Entry[V]] = OrderedDict()
        self._spent: OrderedDict[str, Entry[V]] = OrderedDict()
        self._order = 0
        self._waiting: list[_Waiting[V]] = []

    def peek(self, key: str) -> V | None:
        """Return the value of a key, or None when it is not cached."""
        entry = self._used.get(key) or self._idle.get(key) or self._spent.get(key)
        return None if entry is None or entry.missing else entry.value

    def keep(self, wanted: Wanted, value: V) -> None:
        """Add a value without a lease, if there is room."""
        if all(wanted.key not in entries for entries in (self._used, self._idle, self._spent)):
            entry: Entry[V] = Entry(wanted)
            entry.set(value)
            self._set_idle(entry, spent=False)
            self.make_room()

    def drop(self, key: str) -> None:
        """Evict a key unless it is leased."""
        self._pop_idle(key)

    def clear(self) -> None:
        """Evict every entry that is not leased."""
        for key in [*self._idle, *self._spent]:
            self._pop_idle(key)

    def take(self, wanted: Sequence[Wanted]) -> Lease[V] | None:
        """Lease all of `wanted`, or return None if there is no room now."""
        new = self._new(wanted)
        # No lease overtakes a waiting one, else large leases would wait forever.
        if new and (self._waiting or not self._fits(new)):
            return None
        return self._grant(wanted)

    def _fits(self, new: int) -> bool:
        return not self.held or self.held + new <= self._capacity

    def _grant(self, wanted: Sequence[Wanted]) -> Lease[V]:
        entries = [self._use(one) for one in wanted]
        self.make_room()
        return Lease(self, entries)

    def _new(self, wanted: Sequence[Wanted]) -> int:
        """Return the bytes that a lease would add to `held`."""
        return sum({key: size for key, size in wanted if key not in self._used}.values())

    async def wait(self, wanted: Sequence[Wanted], priority: int) -> Lease[V]:
        """Wait for a lease on all of `wanted`. The lowest priority goes first, then the order of arrival."""
        granted: asyncio.Future[Lease[V]] = asyncio.get_running_loop().create_future()
        self._order += 1
        self._waiting.append((priority, self._order, wanted, granted))
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                granted.result().release()
            raise

    def make_room(self) -> None:
        """Evict entries that are not leased, until the others fit."""
        room = min(self._capacity - self.held, self._idle_capacity) + self._spare()
        while self._idle_size > room and (self._idle or self._spent):
            if self._spent:  # their rows are at their last stage
                _, dropped = self._spent.popitem(last=False)
            else:
                _, dropped = self._idle.popitem(last=self._evict_newest)
            self._idle_size -= dropped.size

    def returned(self, entries: Sequence[Entry[V]], spent: bool) -> None:
        """Accept the entries of an ended lease; see `Lease.release`."""
        for entry in entries:
            entry.users -= 1
            if not entry.users:
                del self._used[entry.key]
                self.held -= entry.size
                if entry.missing:
                    entry.abandon()
                else:
                    self._set_idle(entry, spent)
        self.make_room()
        if self._waiting:
            self._serve()

    def shrink(self, entry: Entry[V], size: int) -> None:
        """Reduce an entry's size once its value is known; larger sizes are ignored."""
        freed = entry.size - size
        if freed <= 0:
            return
        entry.size = size
        if self._used.get(entry.key) is entry:
            self.held -= freed
            if self._waiting:
                self._serve()
        elif entry in (self._idle.get(entry.key), self._spent.get(entry.key)):
            self._idle_size -= freed

    def _use(self, wanted: Wanted) -> Entry[V]:
        entry = self._used.get(wanted.key)
        if entry is None:
            entry = self._pop_idle(wanted.key) or Entry(wanted)
            self._used[wanted.key] = entry
            self.held += entry.size
        entry.users += 1
        return entry

    def _set_idle(self, entry: Entry[V], spent: bool) -> None:
        (self._spent if spent else self._idle)[entry.key] = entry
        self._idle_size += entry.size

    def _pop_idle(self, key: str) -> Entry[V] | None:
        entry = self._idle.pop(key, None) or self._spent.pop(key, None)
        if entry is not None:
            self._idle_size -= entry.size
        return entry

    def _serve(self) -> None:
        left: list[_Waiting[V]] = []
        for waiting in sorted(self._waiting):
            _, _, wanted, granted = waiting
            if granted.cancelled():
                continue
            new = self._new(wanted)
            if new and (left or not self._fits(new)):
                left.append(waiting)
            else:
                granted.set_result(self._grant(wanted))
        self._waiting = left
