"""Unreadable rows: all are listed, and left out on request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from p2r_bench.errors import UserError, counted
from p2r_bench.types import DataSource, Sample, ScannedTask, Task

SHOWN = 20
"""Most bad rows that a message lists."""


def load_rows(
    task: Task, source: DataSource, *, skip_bad: bool = False
) -> tuple[list[Sample], list[UserError]]:
    """Return all samples of a task, and the errors of the rows that were left out.

    Args:
        skip_bad: Leave bad rows out; only possible for a `ScannedTask`.

    Raises:
        UserError: Data is missing, bad rows are not left out, or there is no good row.
    """
    if not isinstance(task, ScannedTask):
        try:
            return list(task.samples(source)), []
        except UserError as error:
            if not skip_bad:
                raise
            raise UserError(
                f"{error}\nThe task {task.name} has no method `scan`, which --on-bad-row skip needs."
            ) from error
    samples: list[Sample] = []
    bad: list[UserError] = []
    for scanned in task.scan(source) if skip_bad else _readable(task, source, bad):
        if isinstance(scanned, UserError):
            bad.append(scanned)
        else:
            samples.append(scanned)
    if bad and not (skip_bad and samples):
        raise refusal(task.name, source, bad)
    return samples, bad


def good_rows(task: ScannedTask, source: DataSource) -> Iterator[Sample]:
    """Yield the samples of a task up to the first bad row, then report all bad rows together.

    Raises:
        UserError: Missing data, or bad rows.
    """
    bad: list[UserError] = []
    for scanned in _readable(task, source, bad):
        if isinstance(scanned, UserError):
            bad.append(scanned)
        elif not bad:
            yield scanned
    if bad:
        raise refusal(task.name, source, bad)


def refusal(task: str, source: DataSource, bad: Sequence[UserError]) -> UserError:
    """Return the error about bad rows: their number, a list of at most `SHOWN`, and the ways out."""
    where = f" --data-dir {source.data_dir}" if source.data_dir else ""
    rest = len(bad) - SHOWN
    return UserError(
        "\n".join(
            [
                f"{task}: {counted(len(bad), 'bad row')}:",
                *(f"  {error}" for error in bad[:SHOWN]),
                *([f"  and {rest} more: p2r-bench data check {task}{where}"] if rest > 0 else []),
                "Correct them or fetch the data again. With --on-bad-row skip a run leaves them out, and is never complete.",
            ]
        )
    )


def _readable(
    task: ScannedTask, source: DataSource, before: Sequence[UserError]
) -> Iterator[Sample | UserError]:
    """Yield the scan of a task. An unreadable file is reported with the bad rows found `before` it."""
    scan: Iterable[Sample | UserError] = task.scan(source)
    try:
        yield from scan
    except UserError as error:
        if not before:
            raise
        yield error
