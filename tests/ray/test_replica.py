"""A replica refuses what is not the driver's run, and otherwise gives back an outcome for every key."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from p2r_bench.adapter import load_profile
from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.ray.launcher import job_of
from p2r_bench.run.ray.replica import Job, Key, Replica
from p2r_bench.run.resolve import resolve
from p2r_bench.run.schedule.pipeline import Outcome
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.store.identity import RunIdentity


def job(spec: RunSpec) -> Job:
    """The job that the driver would send."""
    resolved, engines = resolve(spec), EngineSet()
    digests = {
        role: asyncio.run(engines.get(choice).identify())
        for role, choice in resolved.choices.items()
    }
    identity = RunIdentity(
        spec.task,
        spec.mode,
        resolved.mode_version,
        digests,
        resolved.task.data_digest(resolved.source),
        resolved.profile.hash,
    )
    sent: Job = pickle.loads(pickle.dumps(job_of(resolved, identity)))
    return sent


def outcomes_of(job: Job, *calls: list[Key]) -> list[Outcome]:
    """Outcomes of calls that a replica gets at the same time."""

    async def work() -> list[Outcome]:
        replica = Replica(max_images=4)
        reports = await asyncio.gather(*(replica.solve(job, keys) for keys in calls))
        await replica.close()
        return [outcome for _, outcomes, _ in reports for outcome in outcomes]

    return asyncio.run(work())


def refusal(job: Job) -> str:
    with pytest.raises(UserError) as caught:
        asyncio.run(Replica(max_images=4).start(job))
    return str(caught.value)


def test_every_key_has_an_outcome_without_verdicts(spec: RunSpec) -> None:
    outcomes = outcomes_of(job(spec), [(0, 0), (1, 0)], [(39, 0)], [(7, 2)])
    assert sorted((o.work.index, o.work.repeat) for o in outcomes) == [
        *((0, 0), (1, 0), (7, 2), (39, 0))
    ]
    assert all(o.prediction.status == "ok" and o.verdicts == () for o in outcomes)


def test_an_outcome_is_small_and_holds_no_image(spec: RunSpec) -> None:
    (outcome,) = outcomes_of(job(spec), [(3, 0)])
    assert outcome.work.sample.image.data is None and outcome.work.sample.image.digest
    assert len(pickle.dumps(outcome)) < 16_000


def test_a_job_is_small_whatever_the_number_of_samples(spec: RunSpec) -> None:
    assert len(pickle.dumps(job(spec))) < 32_000


def test_a_new_job_drops_the_old_one_and_keeps_its_engines(spec: RunSpec) -> None:
    first, second = job(spec), job(replace(spec, mode="default"))

    async def both() -> list[Outcome]:
        replica = Replica(max_images=4)
        await replica.start(first)
        engine = replica._engines.get(first.spec.choice)
        _, outcomes, _ = await replica.solve(second, [(1, 0)])
        assert replica._engines.get(second.spec.choice) is engine
        await replica.close()
        await replica.close()
        return outcomes

    (outcome,) = asyncio.run(both())
    assert [c.request.role for c in outcome.prediction.completions if c.request] == ["answer"]


def test_other_versions_are_refused(spec: RunSpec) -> None:
    given = job(spec)
    for name, allowed in (("p2r-bench", False), ("p2r-bench", True), ("python", False)):
        versions = {**environment.versions(), name: "0"}
        other = replace(given, spec=replace(given.spec, allow_mixed=allowed), versions=versions)
        assert f"version of {name} is" in refusal(other)
    mixed = replace(
        given,
        spec=replace(given.spec, allow_mixed=True),
        versions={**given.versions, "python": "0"},
    )
    assert outcomes_of(mixed, [(0, 0)])


def test_a_missing_data_folder_is_named_with_the_way_out(spec: RunSpec, tmp_path: Path) -> None:
    given = job(spec)
    elsewhere = replace(given, spec=replace(given.spec, data_dir=tmp_path / "not_here"))
    message = refusal(elsewhere)
    assert str(tmp_path / "not_here") in message
    assert "same path on every node" in message


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("data_digest", r"digest of HR-Bench's data in .*data is .* here, and other"),
        ("profile_hash", "hash of the profile is"),
        ("mode_version", "mode is p2r-bench"),
    ],
)
def test_what_is_not_the_drivers_is_refused(spec: RunSpec, field: str, expected: str) -> None:
    given = job(spec)
    other = replace(given, identity=replace(given.identity, **{field: "other"}))
    with pytest.raises(UserError, match=expected):
        asyncio.run(Replica(max_images=4).start(other))


def test_another_checkpoint_under_the_same_name_is_refused_before_it_is_loaded(
    spec: RunSpec,
) -> None:
    given = job(spec)
    digests = dict.fromkeys(given.identity.model_digests, "other")
    message = refusal(replace(given, identity=replace(given.identity, model_digests=digests)))
    assert "digest of the model scripted for role" in message


def test_a_profile_file_is_needed_where_the_command_runs_only(
    spec: RunSpec, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('extends = "tiny"\n[sampling.reason]\nmax_tokens = 7\n', "utf-8")
    given = job(replace(spec, profile=str(file)))
    file.unlink()
    assert given.profile.hash != load_profile("tiny").hash
    (outcome,) = outcomes_of(given, [(0, 0)])
    reason = outcome.prediction.completions[-1].request
    assert reason is not None and reason.sampling.max_tokens == 7


def test_relative_paths_reach_replicas_as_absolute_ones(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    choice = EngineChoice("checkpoint", "scripted")
    relative = replace(spec, data_dir=Path("data"), choice=choice, roles={"perceive": choice})
    sent = job(relative).spec
    assert sent.data_dir == tmp_path / "data"
    assert sent.choice.model == sent.roles["perceive"].model == str(tmp_path / "checkpoint")
    assert job(spec).spec.choice.model == "scripted"
