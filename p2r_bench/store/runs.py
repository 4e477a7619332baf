"""List and removal of the runs in a folder."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.journal_index import DONE
from p2r_bench.store.leaderboard import remove_runs
from p2r_bench.store.lock import Lock
from p2r_bench.store.manifest import FILE, Manifest
from p2r_bench.store.reader import RunReader, last_begun


@dataclass(frozen=True)
class RunSummary:
    """One run folder.

    Attributes:
        done: Samples that will not run again, repeats included; `errors`: samples that failed.
        expected: Samples of the whole task times repeats; None when not known.
        complete: True when every sample of the task is done and scored.
        created, last: Time at which the run was created, and its last session began. ISO 8601, UTC.
        problem: Reason why the folder cannot be read, or None.
    """

    run_id: str
    path: Path
    task: str = ""
    mode: str = ""
    model: str = ""
    done: int = 0
    errors: int = 0
    expected: int | None = None
    complete: bool = False
    created: str = ""
    last: str = ""
    problem: str | None = None

    def record(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        return {**asdict(self), "path": str(self.path)}


def list_runs(out_dir: str | Path) -> list[RunSummary]:
    """Return the runs under `out_dir`/runs, the most recent first. A damaged one is listed with its problem."""
    paths = [path.parent for path in (Path(out_dir) / "runs").glob(f"*/{FILE}")]
    return sorted(map(_summary, paths), key=lambda run: (run.last, run.run_id), reverse=True)


def remove_run(path: Path, out_dir: str | Path) -> None:
    """Remove a run's folder and its rows in the leaderboard.

    Raises:
        UserError: Another process is writing the run, or the folder cannot be removed.
    """
    lock = Lock(path / ".lock")
    lock.acquire(f"run {path}")
    try:
        remove_runs(out_dir, {path.name})
        shutil.rmtree(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed: {error.strerror or error}.") from error
    finally:
        lock.release()


def _summary(path: Path) -> RunSummary:
    try:
        manifest = Manifest.read(path)
        states = RunReader(path).states()
    except UserError as error:
        return RunSummary(path.name, path, problem=str(error))
    identity, labels = manifest.content["identity"], manifest.content["labels"]
    finished = manifest.content["finished"]
    return RunSummary(
        run_id=path.name,
        path=path,
        task=identity["task"],
        mode=identity["mode"],
        model="+".join(dict.fromkeys(labels["models"].values())),
        done=sum(states[status] for status in DONE),
        errors=states["error"],
        expected=_whole(manifest),
        complete=bool(finished and finished["complete"]),
        created=manifest.content["created"],
        last=last_begun(manifest.path),
    )


def _whole(manifest: Manifest) -> int | None:
    """Return the number of samples of the whole task, repeats included; None when not known."""
    cells = manifest.expected
    if not cells:
        return None
    overall = cells.get((None, None)) or sum(
        n for (_, category), n in cells.items() if category is None
    )
    return overall * manifest.repeats or None
