"""Folders of a task's files, the target of `data fetch`, and the error for missing data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.types import DataSource

RECORD = "p2r_bench_data.json"
"""Name of the record beside fetched or synthesised files."""


@dataclass(frozen=True)
class HubDataset:
    """A dataset on the hub.

    Attributes:
        id: "owner/name".
        patterns: Patterns of the files to download.
        folder: Folder for these files, below the task's folder; "" for the task's folder itself.
    """

    id: str
    patterns: tuple[str, ...]
    folder: str = ""


@dataclass(frozen=True)
class Origin:
    """Record of a data folder: hub dataset id to commit, or the parameters of synthesised data."""

    task: str
    revisions: dict[str, str]
    synthetic: bool = False

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        with replacing(folder / RECORD) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Origin | None:
        """Read the record of a folder; None without one.

        Raises:
            UserError: A damaged record.
        """
        path = folder / RECORD
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}: damaged: {error}; delete it or fetch the data again"
            ) from error


def cache_dir() -> Path:
    """Return the user's cache folder of p2r-bench: `$XDG_CACHE_HOME/p2r-bench`, by default `~/.cache/p2r-bench`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "p2r-bench"


def default_folder(task: str) -> Path:
    """Return the data folder of a task without `--data-dir`: `$P2R_BENCH_DATA/TASK`, or one in the cache."""
    base = os.environ.get("P2R_BENCH_DATA")
    return (Path(base) if base else cache_dir() / "data") / task


def data_folder(task: str, source: DataSource) -> Path:
    """Return the folder with a task's files: `--data-dir`, or its subfolder named like the task if present.

    Raises:
        UserError: `--data-dir` is no folder.
    """
    if source.data_dir is None:
        return default_folder(task)
    folder = Path(source.data_dir)
    if not folder.is_dir():
        raise UserError(f"--data-dir {folder}: no such folder")
    return folder / task if (folder / task).is_dir() else folder


def image_folder(task: str, source: DataSource) -> str:
    """Return the folder that must contain the images named by a task's data; the root if any folder may."""
    folder = data_folder(task, source).absolute()
    return folder.anchor if source.allow_outside else str(folder)


def missing_data(
    task: str, datasets: tuple[HubDataset, ...], folder: Path, lacks: str
) -> UserError:
    """Return the error for a folder without a task's data, with the ways out."""
    lines = [f"{task}: {lacks} in {folder}"]
    if datasets:
        ids = " and ".join(dataset.id for dataset in datasets)
        lines += [
            f"  fetch it ({ids}):  p2r-bench data fetch {task}",
            "  or use a copy:  --data-dir DIR, as "
            f"`hf download --repo-type dataset {datasets[0].id} --local-dir DIR` leaves it",
        ]
    lines.append(
        "  or, offline, make data of the same format:  p2r-bench data synth --rows 100 --out DIR"
        f"{_synth_format(task)}, then --data-dir DIR"
    )
    return UserError("\n".join(lines))


def _synth_format(task: str) -> str:
    formats = {"V-Star": "vstar", "MME-RealWorld": "mme", "MME-RealWorld-lite": "mme"}
    return f" --format {formats[task]}" if task in formats else ""
