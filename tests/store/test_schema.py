"""Every column is documented, and files of other versions are not misread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.schema import SCHEMA_VERSION, TABLES, VERDICTS, VERSION_KEY, Column, Table
from p2r_bench.store.tables import read_rows, write_table

DOCS = Path(__file__).parents[2] / "docs" / "schema.md"
LINE = re.compile(r"^\| `(?P<name>[\w.]+)` \| (?P<type>[^|]+) \| (?P<text>.*) \|$", re.MULTILINE)


def described(columns: tuple[Column, ...], prefix: str = "") -> Iterator[tuple[str, Column]]:
    """Every column and nested field with its dotted name."""
    for column in columns:
        yield prefix + column.name, column
        yield from described(column.fields, f"{prefix}{column.name}.")


def documented(table: Table) -> list[tuple[str, str]]:
    sections = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = (s for s in sections if s.startswith(f"`{table.name}.parquet`"))
    return [(m["name"], m["text"]) for m in LINE.finditer(section)]


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_the_documentation_lists_every_column_as_the_schema_describes_it(table: Table) -> None:
    expected = [
        (name, f"{column.description}{' *Volatile.*' if column.volatile else ''}")
        for name, column in described(table.columns)
    ]
    if table.name == "metrics":
        assert documented(table) == []  # it has the leaderboard's columns, and says so
    else:
        assert documented(table) == expected


def test_the_documentation_names_the_version() -> None:
    assert f"Schema version: {SCHEMA_VERSION}" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_keys_are_columns_and_never_volatile(table: Table) -> None:
    columns = {column.name: column for column in table.columns}
    assert len(columns) == len(table.columns)
    assert all(not columns[name].volatile for name in table.key)


def test_timings_and_times_of_day_are_volatile_everywhere() -> None:
    for table in TABLES:
        for name, column in described(table.columns):
            if name.endswith(("seconds", "created", "timings", "cached_tokens")):
                assert column.volatile, name


def test_files_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    newer = {VERSION_KEY: str(SCHEMA_VERSION + 1).encode()}
    pq.write_table(pa.table({"sample_id": ["a"]}).replace_schema_metadata(newer), path)
    with pytest.raises(UserError, match=r"verdicts\.parquet.*Upgrade"):
        list(read_rows(path, VERDICTS))


def test_columns_that_an_older_file_lacks_are_null(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    older = {VERSION_KEY: str(SCHEMA_VERSION).encode()}
    pq.write_table(pa.table({"sample_id": ["a"]}).replace_schema_metadata(older), path)
    (row,) = read_rows(path, VERDICTS)
    assert set(row) == set(VERDICTS.names)
    assert row["sample_id"] == "a" and row["scorer"] is None


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "verdicts.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"verdicts\.parquet: cannot be read"):
        list(read_rows(path, VERDICTS))


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    write_table(path, VERDICTS, [dict.fromkeys(VERDICTS.names, None) | {"sample_id": "a"}])
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write_table(path, VERDICTS, ({"n": 1 // n} for n in (1, 0)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_empty_files_have_all_columns_for_pandas(tmp_path: Path, table: Table) -> None:
    path = tmp_path / f"{table.name}.parquet"
    write_table(path, table, [])
    assert list(pd.read_parquet(path).columns) == list(table.names)
