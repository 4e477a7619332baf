"""The driver: nothing is lost, nothing is written twice, and a run that cannot go on says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2r_bench.errors import UserError
from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.ray import launcher as launching
from p2r_bench.run.ray.launcher import batches_of
from p2r_bench.types import ImageRef, Sample
from tests.ray.fake_ray import RAY, FakeActor, Record, drive, samples

WORK = samples(40)
ALL_OK = sorted((work.sample.id, "ok") for work in WORK)


@pytest.fixture(autouse=True)
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ray is needed, and a restart takes no time."""
    monkeypatch.setattr(launching, "import_ray", lambda: RAY)
    monkeypatch.setattr(launching, "RESTART_WAIT_S", 0.0)


def errors_of(record: Record) -> dict[str, str]:
    return {
        o.work.sample.id: o.prediction.error.type for o in record.outcomes if o.prediction.error
    }


def test_every_sample_is_written_once_and_a_faster_replica_does_more() -> None:
    work = samples(400)
    fast, slow = FakeActor(work), FakeActor(work, delay=0.01)
    record, _ = drive(work, fast, slow)
    assert record.written == sorted((one.sample.id, "ok") for one in work)
    assert len(fast.seen) > len(slow.seen) > 0


def test_samples_of_a_lost_replica_are_done_and_it_is_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dying, other = FakeActor(WORK, lives=(1, None)), FakeActor(WORK, delay=0.001)
    record, launcher = drive(WORK, dying, other)
    assert record.written == ALL_OK
    assert dying.life == 1 and "replica 1 was started again on here, process 1" in caplog.text
    capacities = [
        engine["capacity"]
        for account in launcher.accounting()["replicas"].values()
        for engine in account["engines"]
    ]
    assert sum(capacities) <= 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=2), min_size=2, max_size=2),
    st.lists(st.sampled_from([0.0, 0.001]), min_size=3, max_size=3),
)
def test_nothing_is_lost_or_written_twice_whoever_dies(
    deaths: list[list[int]], delays: list[float]
) -> None:
    lives: list[Any] = [*((*one, None) for one in deaths), (None,)]
    actors = [FakeActor(WORK, lives=own, delay=d) for own, d in zip(lives, delays, strict=True)]
    record, _ = drive(WORK, *actors)
    assert sorted(o.work.sample.id for o in record.outcomes) == sorted(
        one.sample.id for one in WORK
    )


def test_the_run_stops_with_the_reason_when_no_replica_is_left() -> None:
    actors = [FakeActor(WORK, lives=(1,)), FakeActor(WORK, lives=(0,))]
    with pytest.raises(UserError, match=r"no replica is left: replica \d on here.*goes on from"):
        drive(WORK, *actors)


def test_the_run_goes_on_without_a_replica_that_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    record, _ = drive(WORK, FakeActor(WORK, lives=(1, 0)), FakeActor(WORK, delay=0.001))
    assert record.written == ALL_OK
    assert "the run goes on without it" in caplog.text


def test_a_replica_that_never_comes_back_does_not_hold_up_the_end() -> None:
    gone = FakeActor(WORK, lives=(0, None), returns=False)
    record, _ = drive(WORK, gone, FakeActor(WORK))
    assert record.written == ALL_OK


def test_a_sample_that_kills_every_replica_becomes_an_error() -> None:
    lives = [None] * 20
    actors = [FakeActor(WORK, lives=lives, kills=lambda index: index == 7) for _ in range(2)]
    record, _ = drive(WORK, *actors)
    assert len(record.written) == 40
    assert errors_of(record)["s7"] == "replica_lost"


def test_a_failed_sample_is_an_error_and_is_not_tried_elsewhere() -> None:
    actors = [FakeActor(WORK, fails=lambda index: index == 5) for _ in range(2)]
    record, _ = drive(WORK, *actors)
    assert errors_of(record) == {"s5": "told"}
    assert sum(actor.seen.count((5, 0)) for actor in actors) == 1


def test_a_run_in_which_everything_fails_is_stopped_early() -> None:
    work = samples(400)
    actors = [FakeActor(work, fails=lambda index: True) for _ in range(2)]
    with pytest.raises(UserError, match=r"first 16 samples all failed.*told to fail"):
        drive(work, *actors)
    assert sum(len(actor.seen) for actor in actors) < 80


def test_a_replica_that_refuses_the_job_stops_the_command() -> None:
    with pytest.raises(UserError, match="replica 2 on there: no such folder"):
        drive(WORK, FakeActor(WORK), FakeActor(WORK, refuses="on there: no such folder"))


def test_a_replica_lost_while_it_starts_stops_the_command() -> None:
    with pytest.raises(UserError, match="replica 1 was lost while it started: died"):
        drive(WORK, FakeActor(WORK, lives=()))


def test_engines_that_differ_are_refused_unless_allowed() -> None:
    def actors() -> list[FakeActor]:
        return [FakeActor(WORK), FakeActor(WORK, facts={"name": "fake", "dtype": "float16"})]

    with pytest.raises(UserError, match=r"dtype.*--allow-mixed"):
        drive(WORK, *actors())
    record, _ = drive(WORK, *actors(), allow_mixed=True)
    assert record.written == ALL_OK


def test_other_rows_on_a_replica_are_refused() -> None:
    other = [
        Work(one.index, Sample(f"x{one.index}", "HR-Bench", ImageRef(path="x.png"), "q", "A"))
        for one in WORK
    ]
    with pytest.raises(UserError, match="the task reads the same data in another order"):
        drive(WORK, FakeActor(other))


def test_a_disk_that_refuses_stops_the_run() -> None:
    async def full(outcome: Any) -> None:
        raise UserError("no space left")

    with pytest.raises(UserError, match="no space left"):
        drive(WORK, FakeActor(WORK), record=full)


def test_cancelling_stops_and_keeps_what_is_written() -> None:
    from tests.ray.fake_ray import FakeCluster, RayLauncher, job

    record = Record()

    async def cancelled() -> None:
        launcher = RayLauncher(FakeCluster([FakeActor(WORK, delay=0.001)]), job(), ())  # type: ignore[arg-type]
        await launcher.start()
        running = asyncio.create_task(launcher.run(WORK, record))
        while len(record.outcomes) < 4:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert 4 <= len(record.outcomes) < 40


def test_a_batch_holds_rows_of_one_image_and_a_bounded_number() -> None:
    shared = [Work(n, Sample(f"s{n}", "t", ImageRef(path="one.png"), "q", "A")) for n in range(20)]
    batches = batches_of([*shared, *samples(4)])
    assert [len(batch) for batch in batches] == [16, 4, 4]
