"""Synth-HR: the procedural benchmark, generated from a seed without any download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.stats.chance import chance_level
from p2r_bench.tasks.benchmark import Scanned
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.location import HubDataset, Origin, cache_dir
from p2r_bench.tasks.rendered import fingerprint, prepare_folder
from p2r_bench.types import Box, Cell, DataFacts, DataSource, ImageRef, Sample, digest_of

DEFAULTS = {"seed": 0, "rows": 400, "resolution": "4k", "split": "test"}
"""Parameters and their defaults."""


class SynthHR(HRBench):
    """Digits on coloured signs in 4K or 8K images; four rotations of the options per question.

    Parameters: `seed`, `rows`, `resolution` ("4k" or "8k") and `split` ("test", "validation" or "train", which share no
        scenes). Images are rendered on first use and kept in the user's cache. A data folder written by `data synth` in
        HR-Bench's format is read instead, if named.
    """

    name = "Synth-HR"
    datasets: tuple[HubDataset, ...] = ()
    parameters = frozenset(DEFAULTS)
    known_rows: Mapping[Cell, int] = {}
    known_images: Mapping[Cell, int] = {}

    def files(self, source: DataSource) -> Sequence[tuple[str, Path]]:
        """Return the files of the data folder. Without a folder there are none, since the parameters decide everything."""
        return super().files(source) if _on_disk(source) else ()

    def scan(self, source: DataSource) -> Iterator[Scanned]:
        if _on_disk(source):
            yield from super().scan(source)
        else:
            yield from self._generated(source)

    def _generated(self, source: DataSource) -> Iterator[Sample]:
        from p2r_bench.synth.rows import questions, rows_of

        seed, rows, resolution, split = self._arguments(source)
        folder = prepare_folder(cache_dir() / self.name, seed, split, resolution)
        subset = resolution.upper()
        posed = questions(seed, -(-rows // 4), split)  # type: ignore[arg-type]
        for number, (question, start) in enumerate(posed):
            image = ImageRef(path=str(folder / f"{number}.jpg"))
            for row in rows_of(question, start, number, b""):
                if row.index >= rows:
                    return
                lines = [f"{letter}. {text}" for letter, text in row.options.items()]
                named = zip(row.boxes, row.labels, strict=True)
                yield Sample(
                    id=f"{subset}/{row.index}",
                    task=self.name,
                    subset=subset,
                    category=row.category,
                    image=image,
                    question=row.question,
                    options=row.options,
                    answer=row.answer,
                    boxes=tuple(Box(xyxy, label) for xyxy, label in named),
                    question_id=f"{subset}/q{number}",
                    rotation=row.cycle_category,
                    published_question="\n".join([row.question, "Options:", *lines]),
                )

    def data_digest(self, source: DataSource) -> str:
        """Return the digest of the parameters and of a small drawing by the renderer, or of the files."""
        if _on_disk(source):
            return super().data_digest(source)
        seed, _, resolution, split = self._arguments(source)
        rows = [
            {key: value for key, value in asdict(sample).items() if key != "image"}
            for sample in self.samples(source)
        ]
        drawing = fingerprint(seed, split)
        return digest_of(
            {"task": self.name, "resolution": resolution, "rows": rows, "drawing": drawing}
        )

    def data_facts(self, source: DataSource, samples: Sequence[Sample]) -> DataFacts:
        """See `DescribedTask.data_facts`: synthetic, whatever the parameters."""
        unavailable = self._unavailable(samples)
        return DataFacts("synthetic", None, chance_level(samples), unavailable)

    def _arguments(self, source: DataSource) -> tuple[int, int, str, str]:
        """Return seed, rows, resolution and split."""
        from p2r_bench.synth.rows import check_arguments

        self.check_params(source)
        given = {**DEFAULTS, **source.params}
        for name in ("seed", "rows"):
            if isinstance(given[name], bool) or not isinstance(given[name], int):
                raise UserError(
                    f"{self.name}: {name}: {given[name]!r} where a whole number should be"
                )
        resolution, split = str(given["resolution"]).lower(), str(given["split"])
        check_arguments(given["rows"], resolution, split)
        return int(given["seed"]), int(given["rows"]), resolution, split


def _on_disk(source: DataSource) -> bool:
    """Return True if a data folder is to be read.

    Raises:
        UserError: A folder not written by `data synth`, or parameters beside a folder.
    """
    if source.data_dir is None:
        return False
    origin = Origin.read(Path(source.data_dir))
    if origin is None or not origin.synthetic or origin.task != HRBench.name:
        raise UserError(
            f"Synth-HR: --data-dir {source.data_dir} was not written by `p2r-bench data synth --format hrbench`; "
            "without --data-dir the rows are generated"
        )
    if source.params:
        raise UserError(
            f"Synth-HR: {', '.join(source.params)}: parameters apply to generated rows, "
            f"not to those in --data-dir {source.data_dir}"
        )
    return True
