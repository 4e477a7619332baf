"""`p2r-bench lmms`: exchange of runs with lmms-eval."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("lmms")
def command() -> None:
    """Exchange runs with lmms-eval."""


@command.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--include-path", default="", help="Folder with task files of your own.")
@click.option("--data-dir", default="", help="Local copy of the task's data.")
def export(run: Path, out: Path, include_path: str, data_dir: str) -> None:
    """Write a run in lmms-eval's results and samples formats.

    RUN is a run's folder. A run of an lmms:NAME task is scored and aggregated by lmms-eval itself, over the
    stored answers and without a model; one of any other task keeps p2r-bench's verdicts.

    \b
    p2r-bench lmms export results/runs/p2r-tiny-p2r-lmmsvstarbench-1a2b3c4d --out logs
    """
    from p2r_bench_lmms_eval.export import export_run

    for path in export_run(run, out, include_path=include_path, data_dir=data_dir):
        click.echo(path)
