"""`p2r-bench power`: smallest differences that a benchmark can show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import click

from p2r_bench.cli.completion import registered
from p2r_bench.cli.shared_options import json_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.terminal import echo

DISCORDANCES = (0.05, 0.1, 0.2, 0.3)


@click.command("power")
@click.argument("task", shell_complete=registered("task"))
@click.option(
    "--effect",
    type=click.FloatRange(0, 100, min_open=True),
    default=3.0,
    show_default=True,
    help="True difference in points that is to be seen.",
)
@click.option(
    "--discordance",
    "discordances",
    type=click.FloatRange(0, 100, min_open=True),
    multiple=True,
    metavar="PERCENT",
    help="Images whose result differs between the runs, in percent. Repeatable. [default: 5, 10, 20, 30]",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    help="Number of images. [default: the published dataset's; of the data or a run where it is synthetic]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Count the images of this data.")
@json_option
def command(
    task: str,
    effect: float,
    discordances: tuple[float, ...],
    images: int | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Show for TASK which paired difference has 80 % power at 5 %, and the power against --effect.

    Rows of one image count as one: the worst case, in which they all change together. `p2r-bench compare` shows the detectable
    difference of two stored runs, given how many of their samples differ.

    \b
    p2r-bench power V-Star --effect 3
    p2r-bench power HR-Bench --effect 5 --discordance 15
    """
    sizes = {task: images} if images else _images(task, data_dir)
    shares = [value / 100 for value in discordances] or list(DISCORDANCES)
    records = [
        _record(name, number, share, effect / 100)
        for name, number in sizes.items()
        for share in shares
    ]
    if as_json:
        echo(json.dumps(records, indent=1))
        return
    echo(
        f"paired difference, two-sided at 5 %; power against a true difference of {effect:g} points"
    )
    for name, number in sizes.items():
        rows = [
            (
                f"{100 * r['discordance']:g} %",
                f"{100 * r['detectable']:.1f}",
                "-" if r["power"] is None else f"{100 * r['power']:.0f} %",
                r["images_needed"],
            )
            for r in records
            if r["name"] == name
        ]
        header = ("discordance", "detectable at 80 %", f"power at {effect:g}", "images for 80 %")
        echo(f"\n{name}: {number} images\n{table(header, rows, right=(0, 1, 2, 3))}")


def _record(name: str, images: int, discordance: float, effect: float) -> dict[str, Any]:
    from p2r_bench.stats.paired import detectable, power_of

    error = sqrt(discordance / images)
    possible = effect <= discordance
    return {
        "name": name,
        "images": images,
        "discordance": discordance,
        "effect": effect,
        "detectable": min(1.0, detectable(error)),
        "power": power_of(effect, error) if possible else None,
        "images_needed": ceil(discordance * (detectable(1.0) / effect) ** 2) if possible else None,
    }


def _images(task: str, data_dir: Path | None) -> Mapping[str, int]:
    """Return the number of images of each subset, by name."""
    from p2r_bench.optional import HasKnownImages
    from p2r_bench.plugins import registry

    found = registry().get("task", task)()
    known = found.known_images if isinstance(found, HasKnownImages) else {}
    if data_dir is None and known:
        return {
            " ".join(filter(None, (task, subset))): n
            for (subset, category), n in known.items()
            if category is None
        }
    return _counted(task, found, data_dir)


def _counted(name: str, task: Any, data_dir: Path | None) -> Mapping[str, int]:
    from p2r_bench.types import DataSource

    images: dict[str, set[str]] = {}
    try:
        for sample in task.samples(DataSource(data_dir)):
            ref = sample.image
            place = sample.group or ref.digest or f"{ref.path}:{ref.row}"
            subset = " ".join(filter(None, (name, sample.subset)))
            images.setdefault(subset, set()).add(sample.question_id or place)
    except UserError as error:
        raise UserError(
            f"{error}\n--images N says how many images the data has, where the data is not here"
        ) from error
    return {subset: len(found) for subset, found in images.items()}
