"""Which work waits, who has it in hand, and what has been delivered: the bookkeeping of many replicas."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

Key = tuple[int, int]
"""Index of a sample in the dataset, and repeat."""


class HandOut:
    """Hands work to replicas that ask for it, at least once, and accepts the first success of each.

    Every replica has a stretch of the dataset, so that it reads its shards in one pass; one that is done
    takes half of what the slowest has left. Work in the hands of a lost replica waits again.

    Args:
        bundles: Keys in dataset order; those of a bundle share an image and are handed out together.
        replicas: Names of those that will ask. Each may be lost and come back.
        losses: A key that was in hand in so many losses is given up: it may be what kills replicas.
    """

    def __init__(
        self, bundles: Iterable[Sequence[Key]], replicas: Sequence[str], losses: int = 3
    ) -> None:
        whole = [tuple(bundle) for bundle in bundles]
        self._bundle_of = {key: n for n, bundle in enumerate(whole) for key in bundle}
        count, share = len(replicas), len(whole)
        self._stretches = {
            name: deque(whole[share * n // count : share * (n + 1) // count])
            for n, name in enumerate(replicas)
        }
        self._waiting = set(self._bundle_of)
        self._held: dict[str, dict[Key, None]] = {name: {} for name in replicas}
        self._succeeded: dict[Key, bool] = {}
        self._lost: Counter[Key] = Counter()
        self._losses = losses

    @property
    def finished(self) -> bool:
        """Whether every key has an outcome."""
        return len(self._succeeded) == len(self._bundle_of)

    @property
    def waiting(self) -> int:
        """How many keys are in nobody's hands and have no outcome."""
        return len(self._waiting)

    def in_hand(self, replica: str) -> int:
        """How many keys a replica has been given and has not delivered."""
        return len(self._held[replica])

    def take(self, replica: str, room: int) -> list[Key]:
        """Keys for a replica that wants `room` more, in whole bundles; empty when nothing waits.

        Near the end nobody gets more than an equal share of what waits, so that all end together.
        """
        room = min(room, -(-self.waiting // len(self._stretches)))
        taken: list[Key] = []
        while len(taken) < room and (bundle := self._next(replica)):
            taken += bundle
            self._waiting.difference_update(bundle)
        self._held[replica].update(dict.fromkeys(taken))
        return taken

    def deliver(self, replica: str, key: Key, *, success: bool) -> bool:
        """Note an outcome; whether it counts and is to be recorded.

        The first success counts, whoever it comes from. A failure counts from the replica that has the key
        in hand, unless there is an outcome already.
        """
        if key not in self._bundle_of:
            raise KeyError(key)
        held = key in self._held[replica]
        self._held[replica].pop(key, None)
        if self._succeeded.get(key) or (not success and (not held or key in self._succeeded)):
            return False
        self._succeeded[key] = success
        self._waiting.discard(key)
        return True

    def lost(self, replica: str) -> list[Key]:
        """A replica is gone: what it had in hand waits again, but for the keys returned, which are given up.

        Keys given up count as failed.
        """
        held, self._held[replica] = self._held[replica], {}
        back: dict[int, list[Key]] = {}
        given_up = []
        for key in held:
            if key in self._succeeded:
                continue
            self._lost[key] += 1
            if self._lost[key] >= self._losses:
                self._succeeded[key] = False
                given_up.append(key)
            else:
                back.setdefault(self._bundle_of[key], []).append(key)
                self._waiting.add(key)
        self._stretches[replica].extendleft(tuple(back[n]) for n in sorted(back, reverse=True))
        return given_up

    def _next(self, replica: str) -> tuple[Key, ...]:
        own = self._stretches[replica]
        while True:
            if not own:
                own.extend(self._half_of_the_longest())
            if not own:
                return ()
            # A late success may have come while the bundle waited.
            if bundle := tuple(key for key in own.popleft() if key in self._waiting):
                return bundle

    def _half_of_the_longest(self) -> Iterable[tuple[Key, ...]]:
        longest = max(self._stretches.values(), key=len)
        return reversed([longest.pop() for _ in range(-(-len(longest) // 2))])
