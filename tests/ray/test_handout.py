"""Work reaches somebody, comes back from the lost, and counts once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2r_bench.run.ray_handout import HandOut, Key

Bundles = list[list[Key]]


def bundles(sizes: list[int]) -> Bundles:
    """Bundles of the given sizes, with running indexes."""
    made, start = [], 0
    for size in sizes:
        made.append([(index, 0) for index in range(start, start + size)])
        start += size
    return made


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=12)
NAMES = ("a", "b", "c")


@given(SIZES, st.integers(1, 3), st.integers(1, 9), st.randoms(use_true_random=False))
def test_all_work_is_delivered_once_when_nobody_is_lost(
    sizes: list[int], count: int, room: int, random: object
) -> None:
    names, work = NAMES[:count], bundles(sizes)
    hand_out = HandOut(work, names)
    delivered: list[Key] = []
    while not hand_out.finished:
        name = random.choice(names)  # type: ignore[attr-defined]
        for key in hand_out.take(name, room):
            assert hand_out.deliver(name, key, success=True)
            delivered.append(key)
    assert sorted(delivered) == [key for bundle in work for key in bundle]
    assert not any(hand_out.take(name, room) for name in names)


@given(SIZES, st.integers(1, 9))
def test_rows_that_share_an_image_go_to_the_same_replica(sizes: list[int], room: int) -> None:
    work = bundles(sizes)
    hand_out = HandOut(work, NAMES)
    owner: dict[Key, str] = {}
    while hand_out.waiting:
        for name in NAMES:
            owner.update(dict.fromkeys(hand_out.take(name, room), name))
    assert all(len({owner[key] for key in bundle}) == 1 for bundle in work)


def test_each_replica_reads_its_own_stretch_in_order() -> None:
    hand_out = HandOut(bundles([1] * 90), NAMES)
    taken: dict[str, list[int]] = {name: [] for name in NAMES}
    for _ in range(9):
        for name in NAMES:
            taken[name] += [index for index, _ in hand_out.take(name, 3)]
    assert taken == {"a": [*range(27)], "b": [*range(30, 57)], "c": [*range(60, 87)]}


def test_a_replica_that_is_done_takes_from_the_far_end_of_the_slowest() -> None:
    hand_out = HandOut(bundles([1] * 40), ("slow", "fast"))
    fast = []
    for _ in range(30):
        fast += [index for index, _ in hand_out.take("fast", 1)]
    assert fast[:20] == [*range(20, 40)]
    assert fast[20:] == [*range(10, 20)]
    assert [index for index, _ in hand_out.take("slow", 1)] == [0]


def test_near_the_end_nobody_takes_more_than_a_share() -> None:
    hand_out = HandOut(bundles([1] * 9), NAMES)
    assert [len(hand_out.take(name, 100)) for name in NAMES] == [3, 2, 2]


def test_the_first_success_counts_whoever_brings_it() -> None:
    hand_out = HandOut(bundles([1]), NAMES)
    (key,) = hand_out.take("a", 1)
    assert hand_out.lost("a") == []
    assert hand_out.take("b", 1) == [key]
    assert hand_out.deliver("a", key, success=True)  # late, and still the first
    assert hand_out.finished
    assert not hand_out.deliver("b", key, success=True)


def test_a_success_counts_after_a_failure_and_never_the_other_way_round() -> None:
    hand_out = HandOut(bundles([1, 1]), ("a", "b"))
    (first,), (second,) = hand_out.take("a", 1), hand_out.take("b", 1)
    assert hand_out.deliver("a", first, success=False)
    assert hand_out.deliver("b", first, success=True)
    assert hand_out.deliver("b", second, success=True)
    assert not hand_out.deliver("b", second, success=False)


def test_a_late_failure_of_a_lost_replica_does_not_count() -> None:
    hand_out = HandOut(bundles([1]), ("a", "b"))
    (key,) = hand_out.take("a", 1)
    hand_out.lost("a")
    assert not hand_out.deliver("a", key, success=False)
    assert hand_out.take("b", 1) == [key]


def test_what_may_be_killing_replicas_is_given_up() -> None:
    hand_out = HandOut(bundles([1]), ("a", "b"), losses=3)
    for name in ("a", "b"):
        assert len(hand_out.take(name, 1)) == 1
        assert hand_out.lost(name) == []
    assert hand_out.take("a", 1) == [(0, 0)]
    assert hand_out.lost("a") == [(0, 0)]
    assert hand_out.finished and hand_out.waiting == 0


def test_work_that_nobody_gave_out_cannot_be_delivered() -> None:
    with pytest.raises(KeyError):
        HandOut(bundles([1]), ("a",)).deliver("a", (7, 0), success=True)


class AnyOrder(RuleBasedStateMachine):
    """Replicas take, deliver, fail, vanish and deliver late, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.work = bundles([1, 4, 2, 4, 1, 3])
        self.keys = [key for bundle in self.work for key in bundle]
        self.hand_out = HandOut(self.work, NAMES, losses=3)
        self.held: dict[str, list[Key]] = {name: [] for name in NAMES}
        self.late: list[tuple[str, Key]] = []
        self.recorded: dict[Key, list[bool]] = {key: [] for key in self.keys}

    @rule(name=st.sampled_from(NAMES), room=st.integers(0, 6))
    def take(self, name: str, room: int) -> None:
        self.held[name] += self.hand_out.take(name, room)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), success=st.booleans())
    def deliver(self, data: st.DataObject, success: bool) -> None:
        name = data.draw(st.sampled_from([name for name in NAMES if self.held[name]]))
        key = self.held[name].pop(data.draw(st.integers(0, len(self.held[name]) - 1)))
        self.note(name, key, success)

    @rule(name=st.sampled_from(NAMES))
    def lose(self, name: str) -> None:
        self.late += [(name, key) for key in self.held[name]]
        for key in self.hand_out.lost(name):
            self.recorded[key].append(False)
        self.held[name] = []

    @precondition(lambda self: self.late)
    @rule(data=st.data(), success=st.booleans())
    def deliver_late(self, data: st.DataObject, success: bool) -> None:
        name, key = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        if key not in self.held[name]:
            self.note(name, key, success)

    def note(self, name: str, key: Key, success: bool) -> None:
        if self.hand_out.deliver(name, key, success=success):
            self.recorded[key].append(success)

    @invariant()
    def a_success_is_recorded_once_and_is_the_last_word(self) -> None:
        for outcomes in self.recorded.values():
            assert outcomes in ([], [False], [True], [False, True])

    @invariant()
    def nothing_is_lost(self) -> None:
        without = [key for key in self.keys if not self.recorded[key]]
        in_hands = {key for held in self.held.values() for key in held}
        assert self.hand_out.waiting == len(set(without) - in_hands)
        assert self.hand_out.finished == (not without)

    @invariant()
    def hands_are_counted(self) -> None:
        assert all(self.hand_out.in_hand(name) == len(self.held[name]) for name in NAMES)

    def teardown(self) -> None:
        for name in NAMES:
            for key in self.held[name]:
                self.note(name, key, True)
        while taken := self.hand_out.take("a", 2):
            for key in taken:
                self.note("a", key, True)
        assert self.hand_out.finished and all(self.recorded.values())


TestAnyOrder = AnyOrder.TestCase
