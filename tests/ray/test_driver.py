"""The driver: nothing is lost, nothing is written twice, and what cannot go on says so."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2r_bench.errors import UserError
from p2r_bench.run.feed import Work
from p2r_bench.run.ray_fleet import Fleet
from p2r_bench.run.ray_launcher import RayLauncher
from p2r_bench.run.ray_shift import bundles
from p2r_bench.types import ImageRef, Sample
from tests.ray.fake_links import FakeCluster, FakeLink, Record, drive, job, samples

WORK = samples(40)
ALL_OK = sorted((work.sample.id, "ok") for work in WORK)


def test_every_sample_is_written_once() -> None:
    fast, slow = FakeLink(WORK, speed=9), FakeLink(WORK, speed=1)
    record, _ = drive(WORK, fast, slow)
    assert record.written == ALL_OK
    assert len(fast.seen) > len(slow.seen) > 0


def test_a_lost_replicas_samples_are_done_by_others_and_it_is_started_again() -> None:
    dying, living, second = FakeLink(WORK, dies_after=6), FakeLink(WORK), FakeLink(WORK)
    record, _ = drive(WORK, dying, living, second)
    assert record.written == ALL_OK
    assert dying.killed
    undelivered = set(dying.seen[6:])
    assert undelivered and undelivered <= {*living.seen, *second.seen}


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=3, max_size=3),
    st.lists(st.integers(1, 9), min_size=6, max_size=6),
)
def test_whoever_dies_whenever_nothing_is_written_twice(
    deaths: list[int | None], speeds: list[int]
) -> None:
    links = [FakeLink(WORK, s, d) for s, d in zip(speeds, [*deaths, *[None] * 3], strict=True)]
    record, _ = drive(WORK, *links, replicas=3)
    ids = [outcome.work.sample.id for outcome in record.outcomes]
    assert sorted(ids) == sorted(work.sample.id for work in WORK)


def test_when_no_replica_is_left_the_run_stops_and_says_why() -> None:
    links = [FakeLink(WORK, dies_after=n) for n in (3, 3, 0, 3)]
    with pytest.raises(
        UserError, match=r"no replica is left: .*lost 2 times.*killed.*goes on from"
    ):
        drive(WORK, *links)


def test_the_run_goes_on_without_a_replica_that_is_lost_too_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    links = [FakeLink(WORK, dies_after=0), FakeLink(WORK), FakeLink(WORK, dies_after=0)]
    record, fleet = drive(WORK, *links)
    assert record.written == ALL_OK
    assert [seat.retired for seat in fleet.seats] == [True, False]
    assert "goes on with 1 replicas" in caplog.text


def test_a_silent_replica_is_taken_for_lost() -> None:
    hanging = FakeLink(WORK, hangs=True)
    record, _ = drive(WORK, hanging, FakeLink(WORK), FakeLink(WORK))
    assert record.written == ALL_OK and hanging.killed


def test_a_sample_that_is_there_whenever_a_replica_dies_becomes_an_error() -> None:
    """It may be what kills them; the same command tries it again."""

    class Poisoned(FakeLink):
        async def exchange(self, keys):  # type: ignore[no-untyped-def]
            if any(index == 7 for index, _ in keys):
                self.dies_after = 0
            return await super().exchange(keys)

    record = Record()

    async def whole_run() -> None:
        fleet = Fleet(2, FakeCluster([Poisoned(WORK) for _ in range(9)]), most_restarts=9)
        launcher = RayLauncher(fleet, job(), ())
        await launcher.start()
        await launcher.run(WORK, record)
        await fleet.close()

    asyncio.run(whole_run())
    assert len(record.written) == 40
    assert ("s7", "error") in record.written
    (error,) = {o.prediction.error.type for o in record.outcomes if o.prediction.error}
    assert error == "replica_lost"


def test_a_failed_sample_is_written_as_an_error_and_not_tried_elsewhere() -> None:
    links = [FakeLink(WORK, fails=lambda index: index == 5) for _ in range(2)]
    record, _ = drive(WORK, *links)
    assert [name for name, status in record.written if status == "error"] == ["s5"]
    assert sum(link.seen.count((5, 0)) for link in links) == 1


def test_a_set_up_in_which_everything_fails_is_stopped_early() -> None:
    work = samples(400)
    links = [FakeLink(work, fails=lambda index: True) for _ in range(2)]
    with pytest.raises(UserError, match=r"first 16 samples all failed.*told to fail"):
        drive(work, *links)
    assert sum(len(link.seen) for link in links) < 60


def test_a_replica_on_which_all_calls_fail_while_others_succeed_is_replaced() -> None:
    work = samples(400)
    broken, well = FakeLink(work, fails=lambda index: True), FakeLink(work)
    record, _ = drive(work, broken, well, FakeLink(work))
    failed = [name for name, status in record.written if status == "error"]
    assert broken.killed and 0 < len(failed) <= 24 and len(record.written) == 400


def test_unreadable_images_do_not_cost_a_replica() -> None:
    class Unreadable(FakeLink):
        def _outcome(self, key):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            from p2r_bench.types import ErrorInfo

            outcome = super()._outcome(key)
            if key[0] < 200:
                return outcome
            error = ErrorInfo("image", "truncated")
            prediction = replace(outcome.prediction, status="error", error=error)
            return replace(outcome, prediction=prediction)

    work = samples(400)
    links = [Unreadable(work), Unreadable(work)]
    record, _ = drive(work, *links)
    assert len(record.written) == 400 and not any(link.killed for link in links)


def test_a_replica_that_refuses_at_the_start_stops_the_command() -> None:
    with pytest.raises(UserError, match="replica 2 on there, process 1: no such folder"):
        drive(WORK, FakeLink(WORK), FakeLink(WORK, host="there", refuses="no such folder"))


def test_a_replacement_that_refuses_leaves_the_others_at_work() -> None:
    links = [FakeLink(WORK, dies_after=3), FakeLink(WORK), FakeLink(WORK, refuses="no data")]
    record, fleet = drive(WORK, *links)
    assert record.written == ALL_OK and fleet.seats[0].retired


@pytest.mark.parametrize(("name", "allow"), [("pillow", False), ("p2r-bench", True)])
def test_other_versions_are_refused(name: str, allow: bool) -> None:
    other = FakeLink(WORK, host="there")
    other.versions = {**other.versions, name: "0.0"}
    with pytest.raises(UserError, match=rf"there, process 1: other versions.*{name} 0\.0 there"):
        drive(WORK, FakeLink(WORK), other, allow_mixed=allow)


def test_a_replica_that_waits_for_room_keeps_neither_this_run_nor_the_next_from_going_on() -> None:
    class Waiting(FakeLink):
        async def describe(self):  # type: ignore[no-untyped-def]
            await asyncio.Event().wait()

    waiting, records = Waiting(WORK), [Record(), Record()]

    async def two_runs() -> None:
        links = [FakeLink(WORK, dies_after=3), FakeLink(WORK, speed=1), waiting]
        fleet = Fleet(2, FakeCluster(links))
        for record in records:
            launcher = RayLauncher(fleet, job(), ())
            await launcher.start()
            await launcher.run(WORK, record)
        await fleet.close()

    asyncio.run(two_runs())
    assert [record.written for record in records] == [ALL_OK, ALL_OK]
    assert waiting.killed and not waiting.closed


def test_other_engines_are_refused_unless_allowed() -> None:
    def links() -> tuple[FakeLink, FakeLink]:
        return FakeLink(WORK), FakeLink(WORK, facts={"name": "fake", "dtype": "float16"})

    with pytest.raises(UserError, match=r"not like those of the replica.*reason\.dtype"):
        drive(WORK, *links())
    record, _ = drive(WORK, *links(), allow_mixed=True)
    assert record.written == ALL_OK


def test_the_baseline_schedule_is_for_one_process() -> None:
    with pytest.raises(UserError, match="--launcher local"):
        drive(WORK, FakeLink(WORK), FakeLink(WORK), schedule="barrier")


def test_cancelling_stops_and_the_fleet_goes_on_with_the_next_run() -> None:
    record, again = Record(), Record()
    links = [FakeLink(WORK, speed=1, hangs=True), FakeLink(WORK, speed=1, hangs=True)]

    async def two_runs() -> None:
        fleet = Fleet(2, FakeCluster(list(links)))
        launcher = RayLauncher(fleet, job(), ())
        await launcher.start()
        working = asyncio.create_task(launcher.run(WORK, record))
        await asyncio.sleep(0.05)
        working.cancel()
        await asyncio.wait([working])
        assert working.cancelled()
        for link in links:
            link.hangs = False
        second = RayLauncher(fleet, job(), ())
        await second.start()
        await second.run(WORK, again)
        await fleet.close()

    asyncio.run(two_runs())
    assert again.written == ALL_OK and all(link.closed for link in links)


def test_a_disk_that_refuses_stops_the_run() -> None:
    async def refuse(outcome: object) -> None:
        raise UserError("disk full")

    async def whole_run() -> None:
        fleet = Fleet(2, FakeCluster([FakeLink(WORK), FakeLink(WORK)]))
        launcher = RayLauncher(fleet, job(), ())
        await launcher.start()
        await launcher.run(WORK, refuse)

    with pytest.raises(UserError, match="disk full"):
        asyncio.run(whole_run())


def test_no_cluster_is_joined_before_a_replica_is_needed() -> None:
    cluster = FakeCluster([])
    asyncio.run(Fleet(2, cluster).close())
    assert (cluster.joined, cluster.left) == (0, 0)


def test_bundles_are_rows_of_one_image_and_of_a_bounded_number() -> None:
    assert [len(bundle) for bundle in bundles(samples(10))] == [4, 4, 2]
    image = ImageRef(path="same.png")
    many = [Work(n, Sample(f"s{n}", "T", image, "?", "A")) for n in range(40)]
    assert [len(bundle) for bundle in bundles(many)] == [16, 16, 8]
