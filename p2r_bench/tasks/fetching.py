"""Getting a task's files from the hub."""

from __future__ import annotations

from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.tasks.benchmark import Benchmark
from p2r_bench.tasks.location import HubDataset, Origin, default_folder


def fetch(
    task: Benchmark, revision: str | None = None, out: Path | None = None
) -> tuple[Path, Origin]:
    """Download what a task reads, or what is missing of it, and record where it came from.

    Args:
        revision: Commit, branch or tag of the task's first dataset; the others are taken at their newest.
        out: Folder; None for the task's default place.

    Returns:
        The folder, and its record with the commits.

    Raises:
        UserError: The task has nothing to fetch, or the hub did not give it.
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
        revisions[dataset.id] = _download(task, dataset, folder / dataset.folder, revision)
        revision = None
    origin = Origin(task.name, revisions)
    origin.write(folder)
    return folder, origin


def _download(task: Benchmark, dataset: HubDataset, folder: Path, revision: str | None) -> str:
    """The commit that was downloaded."""
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        commit = HfApi().dataset_info(dataset.id, revision=revision).sha
        snapshot_download(
            dataset.id,
            repo_type="dataset",
            revision=commit,
            local_dir=folder,
            allow_patterns=list(dataset.patterns),
        )
    except (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        httpx.HTTPError,
        OSError,
    ) as error:
        reason = str(error).strip().splitlines()
        raise UserError(
            f"{dataset.id}{f' at {revision}' if revision else ''} could not be fetched: "
            f"{reason[0] if reason else type(error).__name__}\n"
            f"  what has arrived stays in {folder}; the same command goes on from there\n"
            "  HF_ENDPOINT names a mirror, HF_TOKEN a token; "
            f"a copy from elsewhere is read with --data-dir\n"
            f"  offline, p2r-bench data synth makes data of {task.name}'s format"
        ) from error
    if commit is None:
        raise UserError(
            f"{dataset.id}: the hub did not say which commit this is; give one with --revision"
        )
    return str(commit)
