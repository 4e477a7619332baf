"""Download of a task's files from the hub."""

from __future__ import annotations

from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.hub import dataset_commit, download
from p2r_bench.tasks.benchmark import Benchmark
from p2r_bench.tasks.location import Origin, default_folder


def fetch(
    task: Benchmark, revision: str | None = None, out: Path | None = None
) -> tuple[Path, Origin]:
    """Download a task's missing files, and record their origin.

    Args:
        revision: Commit, branch or tag of the task's first dataset; of others the newest state is taken.
        out: Folder; None for the task's default folder.

    Returns:
        The folder, and its origin with the commits.

    Raises:
        UserError: A task without files to fetch, or a failed download.
    """
    if not task.datasets:
        raise UserError(
            f"{task.name} is generated and has nothing to fetch: p2r-bench run --tasks {task.name}"
        )
    folder = out or default_folder(task.name)
    recorded = Origin.read(folder)
    if recorded is not None and (recorded.synthetic or recorded.task != task.name):
        what = "synthesised" if recorded.synthetic else recorded.task
        raise UserError(f"{folder} holds {what} data; give another folder with --out")
    revisions: dict[str, str] = {}
    for dataset in task.datasets:
        try:
            commit = dataset_commit(dataset.id, revision)
            folder_of = folder / dataset.folder
            download("dataset", dataset.id, dataset.patterns, revision=commit, folder=folder_of)
        except UserError as error:
            offline = f"without it:  p2r-bench data synth  makes data of {task.name}'s format"
            raise UserError(f"{error}\n  {offline}") from error
        revisions[dataset.id] = commit
        revision = None
    origin = Origin(task.name, revisions)
    origin.write(folder)
    return folder, origin
