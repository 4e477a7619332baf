"""Take the bundled models' figures in results/reference.parquet from a folder of finished runs.

python -m tools.reference RESULTS

The measured rows become those of RESULTS/leaderboard.parquet; the published rows stay. Then run
`python -m tools.readme_figures`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench.store.leaderboard import read_runs
from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import read_rows, write_table

REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference.parquet"

Row = Mapping[str, Any]


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    rows = updated(list(read_rows(REFERENCE, LEADERBOARD)), read_runs(sys.argv[1]))
    write_table(REFERENCE, LEADERBOARD, (dict(row) for row in rows))
    print(f"{REFERENCE}: {len(rows)} rows, {sum(r['source'] == 'measured' for r in rows)} measured")


def updated(before: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """The published rows of `before` and the measured ones.

    Raises:
        SystemExit: There is nothing measured, or a headline row is incomplete or mixed.
    """
    if not measured:
        raise SystemExit("no measured rows there")
    for row in measured:
        if row["headline"] and (not row["complete"] or row["mixed"]):
            raise SystemExit(f"{row['run_id']}: incomplete or mixed; no reference figure")
    return [*(row for row in before if row["source"] == "reported"), *measured]


if __name__ == "__main__":
    main()
