"""Shared code of the built-in tasks: finding files, reading rows, reporting bad ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from p2r_bench.errors import UserError
from p2r_bench.stats.chance import chance_level
from p2r_bench.tasks.bad_rows import good_rows
from p2r_bench.tasks.digest import files_digest
from p2r_bench.tasks.fields import Row
from p2r_bench.tasks.kind import kind_of, rows_by_cell
from p2r_bench.tasks.location import HubDataset, data_folder, missing_data
from p2r_bench.tasks.shards import Shard, find_shards, open_shard
from p2r_bench.types import Cell, DataFacts, DataSource, ImageRef, Metric, Sample

Scanned = Sample | UserError


class Benchmark(ABC):
    """A task read from files.

    Attributes:
        datasets: Hub datasets for `data fetch`, the one with the rows first.
        parameters: Names that `DataSource.params` may have.
        known_rows: Numbers of published rows by cell, for the cells whose number is certain.
        known_images: Numbers of published images by cell, for the cells whose number is certain; for HR-Bench numbers
            of questions.
    """

    name: str
    metrics: tuple[Metric, ...] = (Metric(),)
    datasets: tuple[HubDataset, ...] = ()
    parameters: frozenset[str] = frozenset()
    known_rows: Mapping[Cell, int] = {}
    known_images: Mapping[Cell, int] = {}

    @abstractmethod
    def scan(self, source: DataSource) -> Iterator[Scanned]:
        """Yield every row in order: its sample, or its error."""

    @abstractmethod
    def files(self, source: DataSource) -> Sequence[tuple[str, Path]]:
        """Return the files to read, each with a label that does not depend on its folder.

        Raises:
            UserError: No file is found.
        """

    @abstractmethod
    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        """Return the reported figures in which this sample counts."""

    def samples(self, source: DataSource) -> Iterator[Sample]:
        """Yield the samples in the dataset's order, without images.

        Raises:
            UserError: Missing data, or bad rows, all of which are listed.
        """
        return good_rows(self, source)

    def data_digest(self, source: DataSource) -> str:
        """Return the digest of the data: of the files' names, sizes and footers, and of the parameters."""
        self.check_params(source)
        return files_digest(self.name, self.files(source), source.params)

    def data_facts(self, source: DataSource, samples: Sequence[Sample]) -> DataFacts:
        """See `DescribedTask.data_facts`: the kind follows from row counts and the synthetic marker."""
        folder = data_folder(self.name, source)
        files = [path for _, path in self.files(source)]
        kind, note = kind_of(folder, files, rows_by_cell(self, samples), self.known_rows)
        return DataFacts(kind, note, chance_level(samples))

    def check_params(self, source: DataSource) -> None:
        """Refuse parameters that the task does not have.

        Raises:
            UserError: An unknown parameter.
        """
        for name in source.params:
            if name not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "none"
                raise UserError(f"{self.name} has no parameter {name!r}; it has: {known}")

    def shards(self, source: DataSource) -> list[Path]:
        """Return the shards in the task's folder.

        Raises:
            UserError: No file is found.
        """
        folder = data_folder(self.name, source)
        if shards := find_shards(folder):
            return shards
        raise missing_data(self.name, self.datasets, folder, "no parquet or arrow files")


def rows_of(shard: Shard, task: str, needed: Sequence[str], image: str) -> Iterator[Row]:
    """Yield all rows of a shard, without the column `image`.

    Raises:
        UserError: A column is missing.
    """
    columns = shard.schema.names
    for name in (*needed, image):
        if name not in columns:
            raise UserError(
                f"{shard.path}: no column {name!r}; {task} has {', '.join((*needed, image))}, "
                f"and this file has {', '.join(columns)}"
            )
    others = [name for name in columns if name != image]
    for number, values in enumerate(shard.rows(others)):
        yield Row(shard.path, number, values)


def image_ref(shard: Shard, column: str, row: int, within: str | None = None) -> ImageRef:
    """Return the reference of a row's image: a struct with bytes, bytes, or base64 text.

    Args:
        within: See `ImageRef`.

    Raises:
        UserError: The column is of another type.
    """
    kind = shard.schema.field(column).type
    path = str(shard.path)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        if _is_binary(inner := kind.field("bytes").type):
            return ImageRef(path=path, row=row, column=f"{column}.bytes", within=within)
        raise UserError(f"{shard.path}: column {column!r}: its field bytes is {inner}, not bytes")
    if _is_binary(kind):
        return ImageRef(path=path, row=row, column=column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ImageRef(path=path, row=row, column=column, encoding="base64")
    raise UserError(f"{shard.path}: column {column!r} is {kind}, not bytes or base64 text")


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def scan_rows(
    task: str, paths: Iterable[Path], needed: Sequence[str], image: str, within: str | None = None
) -> Iterator[tuple[Row, ImageRef]]:
    """Yield the rows of several shards in order, each with its image's reference.

    Args:
        within: See `ImageRef`.

    Raises:
        UserError: A damaged shard, or a missing column.
    """
    for path in paths:
        shard = open_shard(path)
        for row in rows_of(shard, task, needed, image):
            yield row, image_ref(shard, image, row.number or 0, within)


class Unique:
    """Check that keys are unique."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._first: dict[Any, str] = {}

    def check(self, key: object, row: Row) -> None:
        """Add a key.

        Raises:
            UserError: A repeated key; the message names both rows.
        """
        place = f"{row.file}, row {row.number}"
        if (first := self._first.setdefault(key, place)) != place:
            raise row.error(
                self._field,
                f"{row.values.get(self._field)!r} is also at {first}; keep one copy of the data in the folder",
            )
