"""Resolution of a spec: names are looked up and rows are read before anything expensive starts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.adapter.profile_changes import derived_profile
from p2r_bench.adapter.routes import resize_route
from p2r_bench.bundled import model_profile
from p2r_bench.errors import UserError
from p2r_bench.judges.headline import DEFAULT_SCORER
from p2r_bench.optional import HasCheckParams, HasFiles, HasPrepare, HasScorer
from p2r_bench.plugins import registry
from p2r_bench.run.engines import max_images_of, roles_of
from p2r_bench.run.family import with_family
from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.sample_set import SampleSet
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.stats.chance import cell_facts
from p2r_bench.store.data_record import DataRecord
from p2r_bench.tasks.bad_rows import load_rows
from p2r_bench.tasks.benchmark import Benchmark
from p2r_bench.tasks.kind import facts_of
from p2r_bench.types import Cell, DataFacts, DataSource, EngineConfig, Mode, Sample, Task


@dataclass
class Resolved:
    """A spec with its names looked up and its rows read.

    Attributes:
        choices: Engine and model of every role of the mode.
        samples: All readable rows, before `--limit` and `--sample-id`, without image bytes.
        cells: The reported figures in which a sample counts, by sample id.
        facts: Facts about the task's data.
        skipped: The error of each bad row that was left out.
        indexes: Position of each of `samples` in the data set.
    """

    spec: RunSpec
    task: Task
    source: DataSource
    mode: Mode
    mode_version: str
    profile: Profile
    choices: Mapping[str, EngineChoice]
    samples: list[Sample]
    cells: dict[str, tuple[Cell, ...]] = field(default_factory=dict)
    facts: DataFacts = DataFacts()  # noqa: RUF009
    skipped: tuple[str, ...] = ()
    indexes: Sequence[int] = ()

    @property
    def title(self) -> str:
        return f"{self.spec.task} · {self.spec.mode}"

    @property
    def scorer(self) -> str:
        """The headline scorer: the spec's, else the task's, else `strict`."""
        own = self.task.scorer if isinstance(self.task, HasScorer) else None
        return self.spec.scorer or own or DEFAULT_SCORER

    def data_record(self) -> DataRecord:
        """Return the manifest's record of the data."""
        facts = self.facts
        figures = cell_facts(self.samples, self.cells, self.task.metrics, facts.unavailable)
        return DataRecord(facts.kind, facts.note, facts.chance, len(self.skipped), figures)

    def work(self) -> list[Work]:
        """Return all work of the spec, in dataset order."""
        spec, chosen = self.spec, zip(self.indexes, self.samples, strict=True)
        if spec.sample_ids:
            missing = sorted(set(spec.sample_ids) - self.cells.keys())
            if missing:
                raise UserError(
                    f"--sample-id: {spec.task} has no sample {missing[0]!r}; "
                    f"ids look like {self.samples[0].id!r}"
                )
            chosen_list = [(i, s) for i, s in chosen if s.id in set(spec.sample_ids)]
        else:
            chosen_list = list(chosen)
        return [
            Work(index, sample, repeat)
            for index, sample in chosen_list[: spec.limit]
            for repeat in range(spec.repeats)
        ]


def make_mode(spec: RunSpec) -> Mode:
    """Return the mode of a spec, created with its parameters.

    Raises:
        UserError: An unregistered mode, or parameters that it does not take.
    """
    kind = registry().get("mode", spec.mode)
    try:
        signature(kind).bind(**spec.mode_params)
    except TypeError as error:
        known = ", ".join(signature(kind).parameters) or "none"
        raise UserError(
            f"mode {spec.mode!r} does not take these parameters: {error}; it has: {known}. "
            "--mode-arg MODE:name=value sets a parameter of one mode only"
        ) from error
    mode: Mode = kind(**spec.mode_params)
    return mode


def profile_of(spec: RunSpec) -> Profile:
    """Return the spec's profile, else that of its model folder, else `p2r`.

    Raises:
        UserError: A missing or invalid profile, or one whose pixel route is not installed.
    """
    profile = load_profile(spec.profile or model_profile(spec.choice.model) or "p2r")
    profile = with_family(derived_profile(profile, spec.profile_changes), spec)
    profile = profile.with_route(spec.pixels) if spec.pixels else profile
    resize_route(profile.image.route)
    return profile


def source_of(spec: RunSpec) -> DataSource:
    """Return the source of the data of a spec's task."""
    return DataSource(spec.data_dir, params=spec.task_params, allow_outside=spec.allow_outside)


def check(spec: RunSpec, sample_set: SampleSet | None = None) -> int:
    """Check a spec without reading rows or loading a model, before the first of several runs starts.

    Returns:
        The most images in one request of the mode.

    Raises:
        UserError: An unknown name, a parameter that mode, task or engine does not have, a bad profile, no data,
            or an `out` where no folder can be made.
    """
    most = max_images_of(make_mode(spec), profile_of(spec))
    _check_out(spec.out)
    if sample_set is None:
        task = registry().get("task", spec.task)()
        source = source_of(spec)
        if isinstance(task, HasCheckParams):
            task.check_params(source)
        if isinstance(task, HasFiles):
            task.files(source)
    for choice in {c.key: c for c in (spec.choice, *spec.roles.values())}.values():
        config = EngineConfig(choice.model, choice.revision, choice.args, most)
        registry().get("engine", choice.engine)(config)
    return most


def _check_out(out: Path) -> None:
    """Check that folders can be made in `out`, or in the nearest folder above it; nothing is left behind."""
    runs = Path(out) / "runs"
    there = next(path for path in (runs, *runs.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is not a folder; name another folder")
    try:
        Path(mkdtemp(prefix=".p2r-bench-", dir=there)).rmdir()
    except OSError as error:
        raise UserError(
            f"--out {out}: no folder can be made in {there} ({error.strerror or error}); "
            "name a folder that you can write to"
        ) from error


def resolve(spec: RunSpec, sample_set: SampleSet | None = None) -> Resolved:
    """Look up mode, task and profile, and read the task's rows without their images.

    Args:
        sample_set: Samples in place of the task's rows.

    Raises:
        UserError: An unregistered name, missing or damaged data, a bad profile.
    """
    mode, profile = make_mode(spec), profile_of(spec)
    task = registry().get("task", spec.task)() if sample_set is None else cast(Task, sample_set)
    source = source_of(spec)
    samples, skipped = load_rows(task, source, skip_bad=spec.on_bad_row == "skip")
    if not samples:
        raise _no_rows(spec, task)
    cells = {sample.id: task.cells(sample) for sample in samples}
    if len(cells) != len(samples):
        twice = next(name for name, n in Counter(s.id for s in samples).items() if n > 1)
        raise UserError(f"{spec.task}: two rows have the id {twice!r}")
    if sample_set is not None:
        if spec.launcher != "local":
            raise UserError(
                f"a session with samples of its own runs in this process, not with --launcher {spec.launcher}"
            )
        cells |= dict.fromkeys(sample_set.ids, ((None, None),))
    facts = facts_of(task, source, samples, whole=not skipped)
    return Resolved(
        spec=spec,
        task=task,
        source=source,
        mode=mode,
        mode_version=registry().entry("mode", spec.mode).provider,
        profile=profile,
        choices={role: spec.roles.get(role, spec.choice) for role in roles_of(mode)},
        samples=_prepared(mode, samples),
        cells=cells,
        facts=facts,
        skipped=tuple(map(str, skipped)),
        indexes=range(len(samples)) if sample_set is None else [*sample_set.by_index],
    )


def _no_rows(spec: RunSpec, task: Task) -> UserError:
    if isinstance(task, SampleSet):
        return UserError(f"{spec.task}: the SampleSet holds no samples; give it at least one")
    fetch = f"fetch the data again (p2r-bench data fetch {spec.task}), or "
    again = fetch if isinstance(task, Benchmark) and task.datasets else ""
    place = spec.data_dir or "the data"
    return UserError(f"{spec.task}: no rows in {place}; {again}name another folder with --data-dir")


def _prepared(mode: Mode, samples: list[Sample]) -> list[Sample]:
    """Return the samples as the mode's optional `prepare` changes them."""
    if not isinstance(mode, HasPrepare):
        return samples
    prepared = [mode.prepare(sample) for sample in samples]
    if [sample.id for sample in prepared] != [sample.id for sample in samples]:
        raise TypeError(f"{type(mode).__name__}.prepare changed the id of a sample")
    return prepared
