"""`Session`: a run opened, resumed and finished step by step."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from p2r_bench import AsyncSession, RunSpec, SampleSet, Session
from p2r_bench import session as sessions
from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.options import Options
from p2r_bench.run.progress import Silent, Tally
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.types import DataSource, Engine, Sample
from tests.documents import ROOT, blocks
from tests.run.conftest import FakeEngine


class OneEngine(EngineSet):
    """The same engine for every choice."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def get(self, choice: Any, family: str | None = None) -> Engine:
        return self.engine


@pytest.fixture
def spec(bench: Path, tmp_path: Path) -> RunSpec:
    return RunSpec("HR-Bench", "default", data_dir=bench, out=tmp_path / "out", profile="tiny")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine of all sessions that open their own."""
    made = FakeEngine()
    monkeypatch.setattr("p2r_bench.run.runner.EngineSet", lambda most: OneEngine(made))
    monkeypatch.setattr("p2r_bench.run.runner.check", lambda spec, sample_set: 1)
    return made


def samples(folder: Path) -> list[Sample]:
    return list(HRBench().samples(DataSource(folder)))


def test_a_session_says_what_is_missing_and_runs_that_alone(
    spec: RunSpec, engine: FakeEngine
) -> None:
    with Session(replace(spec, limit=4)) as session:
        assert session.total == len(session.missing) == 4
        assert session.run()
        assert session.missing == []
        assert session.finish().added == 4
    engine.calls.clear()
    with Session(spec) as session:
        assert (session.total, len(session.missing)) == (12, 8)
        assert session.run()
        result = session.finish()
    assert len(engine.calls) == result.added == 8
    assert result.complete


def test_finish_without_run_reports_what_is_there(spec: RunSpec, engine: FakeEngine) -> None:
    with Session(replace(spec, limit=4)) as session:
        session.run()
    with Session(spec) as session:
        result = session.finish()
    assert (result.added, result.complete, result.interrupted) == (0, False, False)
    assert [row["n"] for row in result.overall] == [4]


def test_predictions_are_read_back(spec: RunSpec, engine: FakeEngine) -> None:
    with Session(replace(spec, limit=1)) as session:
        ((name, repeat),) = session.missing
        with pytest.raises(KeyError):
            session.prediction(name, repeat)
        session.run()
        assert session.prediction(name, repeat).answer in "ABCD"


def test_the_folder_is_free_after_a_session(spec: RunSpec, engine: FakeEngine) -> None:
    with Session(spec), pytest.raises(UserError), Session(spec):
        pass
    with Session(spec) as session:
        assert session.run()


def test_progress_is_called_back(spec: RunSpec, engine: FakeEngine) -> None:
    class View(Silent):
        seen: list[int] = []  # noqa: RUF012

        def update(self, tally: Tally) -> None:
            self.seen.append(tally.finished)

    with Session(spec, progress=View()) as session:
        session.run()
    assert View.seen == [*range(1, 13)]


def test_an_async_session_shares_a_running_loop(spec: RunSpec, engine: FakeEngine) -> None:
    async def work() -> bool:
        async with AsyncSession(spec) as session:
            await session.run()
            return (await session.finish()).complete

    assert asyncio.run(work())


def test_a_session_works_where_a_loop_is_running(spec: RunSpec, engine: FakeEngine) -> None:
    async def cell() -> bool:
        with Session(spec) as session:
            session.run()
            return session.finish().complete

    assert asyncio.run(cell())


def test_options_name_one_run(bench: Path, tmp_path: Path) -> None:
    given = {"tasks": ("HR-Bench",), "data_dir": bench, "out": tmp_path}
    assert Session(Options.read({**given, "modes": "default"})).spec.mode == "default"
    with pytest.raises(UserError, match="name several: default on HR-Bench, p2r on HR-Bench"):
        Session(Options.read({**given, "modes": "default,p2r"}))


def test_a_sample_set_replaces_a_task(spec: RunSpec, engine: FakeEngine, bench: Path) -> None:
    all_of_them = samples(bench)
    sample_set = SampleSet(dict(enumerate(all_of_them[2:4], 2)), "d1", [s.id for s in all_of_them])
    spec = replace(spec, task="mine", data_dir=None)
    with Session(spec, sample_set) as session:
        session.run()
        result = session.finish()
    assert (result.added, result.complete) == (2, False)
    assert [(row["task"], row["n"], row["n_missing"]) for row in result.overall] == [
        ("mine", 2, 10)
    ]
    with Session(spec, replace(sample_set, by_index=dict(enumerate(all_of_them)))) as session:
        assert len(session.missing) == 10
        session.run()
        assert session.finish().complete
    with Session(spec, replace(sample_set, digest="d2")) as session:
        assert len(session.missing) == 2


def test_a_sample_set_may_be_judged_elsewhere(
    spec: RunSpec, engine: FakeEngine, bench: Path
) -> None:
    sample_set = SampleSet(dict(enumerate(samples(bench))), "d1", scorer="theirs", judged=False)
    spec = replace(spec, task="mine", data_dir=None)
    (result,) = sessions.run_all([spec], samples=[sample_set])
    assert (result.added, result.complete) == (12, False)
    assert not (spec.out / "leaderboard.parquet").exists()


@pytest.mark.parametrize(
    ("holding", "said"),
    [
        ("len(session.missing)", "4 of 4 samples to do"),
        ("class Dots", "1/4, 0 errors"),
        ("photo.png", "answer: B"),
    ],
)
def test_the_examples_in_the_documentation_run(
    holding: str,
    said: str,
    engine: FakeEngine,
    bench: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (96, 64), "red").save("photo.png")
    (code,) = (b.text for b in blocks(ROOT / "docs" / "running.md", "python") if holding in b.text)
    code = code.replace('"Synth-HR"', '"HR-Bench"')
    code = code.replace("limit=40", "limit=4").replace(
        "limit=4", f"limit=4, data_dir={str(bench)!r}"
    )
    exec(compile(code, "docs/running.md", "exec"), {})
    assert said in capsys.readouterr().out
