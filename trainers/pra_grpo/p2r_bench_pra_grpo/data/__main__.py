"""Checks the training data of a configuration: `python -m p2r_bench_pra_grpo.data CONFIG.toml`."""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

import click

from p2r_bench.adapter import decode
from p2r_bench.errors import ImageError, UserError
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.data.load import load_samples, samples_digest


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--decode/--headers", "decoding", default=True, help="Read all pixels, or headers only."
)
def main(config: Path, decoding: bool) -> None:
    """Read every row and every image that a training would read; exit status 2 when something is wrong."""
    try:
        epoch = load_samples(load_config(tomllib.loads(config.read_text("utf-8"))))
        unique = list({sample.id: sample for sample in epoch}.values())
        broken = _broken(unique) if decoding else []
    except (UserError, tomllib.TOMLDecodeError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    rows = Counter((s.task, s.answer_form) for s in unique)
    uses = Counter((s.task, s.answer_form) for s in epoch)
    cells = [(task, form, count, uses[task, form]) for (task, form), count in sorted(rows.items())]
    for cell in (("SOURCE", "ANSWER FORM", "ROWS", "IN AN EPOCH"), *cells):
        click.echo("{:<10} {:<11} {:>8} {:>12}".format(*cell))
    click.echo(f"images: {len({s.image.digest for s in unique})}, digest: {samples_digest(epoch)}")
    if broken:
        click.echo("\n".join(broken), err=True)
        sys.exit(2)


def _broken(samples: list[Sample]) -> list[str]:
    """Return a line for each image whose pixels cannot be read."""
    found, seen = [], set()
    for sample in samples:
        if sample.image.digest in seen:
            continue
        seen.add(sample.image.digest)
        try:
            decode(read_image(sample.image), exif="apply", alpha="white")
        except ImageError as error:
            found.append(f"sample {sample.id}, {sample.image.path}: {error}")
    return found


if __name__ == "__main__":
    main()
