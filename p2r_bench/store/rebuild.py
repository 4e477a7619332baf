"""Rebuild of the leaderboard from the run folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.leaderboard import replace_leaderboard
from p2r_bench.store.manifest import FILE, Manifest
from p2r_bench.store.schema import METRICS
from p2r_bench.store.tables import read_rows


@dataclass(frozen=True)
class Rebuilt:
    """Result of a rebuild. `left_out`: the reason for each run without figures."""

    path: Path
    runs: int
    left_out: tuple[str, ...]


def rebuild_leaderboard(out_dir: str | Path) -> Rebuilt:
    """Write `leaderboard.parquet` from the `metrics.parquet` of all runs under `out_dir`/runs.

    The file before, which may be damaged or hold runs whose folders are gone, stays as `leaderboard.parquet.bak`.

    Raises:
        UserError: No run was found, or the file cannot be written.
    """
    folders = sorted(path.parent for path in (Path(out_dir) / "runs").glob(f"*/{FILE}"))
    if not folders:
        raise UserError(f"{Path(out_dir) / 'runs'}: no run found to rebuild the leaderboard from.")
    rows: list[dict[str, Any]] = []
    left_out = []
    for folder in folders:
        try:
            rows += _figures(folder)
        except UserError as error:
            left_out.append(str(error))
    path = replace_leaderboard(out_dir, rows)
    return Rebuilt(path, len(folders) - len(left_out), tuple(left_out))


def _figures(folder: Path) -> list[dict[str, Any]]:
    manifest = Manifest.read(folder)
    path = folder / "metrics.parquet"
    if not path.exists():
        raise UserError(f"{folder}: has no figures yet. Run the same command again to finish it.")
    # Earlier versions recorded no checksums.
    if "sha256" in (manifest.finished or {}) and not manifest.is_intact(path.name):
        raise UserError(f"{path}: is damaged. `p2r-bench score {folder}` makes it again.")
    return list(read_rows(path, METRICS))
