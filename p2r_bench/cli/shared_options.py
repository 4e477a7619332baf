"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

out_option = click.option(
    "--out",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the runs and the leaderboard.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
