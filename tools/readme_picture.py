"""Draw README's picture: python -m tools.readme_picture RUN SAMPLE --out docs/images/what-the-model-looked-at.png"""

from __future__ import annotations

import argparse
from pathlib import Path

from p2r_bench.report.picture import draw
from p2r_bench.store.reader import find_run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a run's folder, its id, or its hash")
    parser.add_argument("sample", help="a sample's id")
    parser.add_argument("--results", default="results", help="folder with runs/ (default: results)")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    given = parser.parse_args()
    row, verdicts = find_run(given.run, given.results).find(given.sample)
    draw(row, verdicts, given.out)
    print(f"{given.out}: sample {row['sample_id']}, {len(row['stages'])} calls")


if __name__ == "__main__":
    main()
