"""A file appears whole or not at all, and leftovers of killed processes go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from p2r_bench.atomic import remove_temporaries, replacing, swapping
from p2r_bench.errors import UserError


def test_a_block_that_fails_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_failed_write_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"file\.json: cannot be written: .*same command again"),
        replacing(tmp_path / "missing" / "file.json") as temporary,
    ):
        temporary.write_text("new")


def test_two_writers_of_a_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with swapping(path) as one, swapping(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_abandoned_temporary_files_are_removed_by_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "a[1].json"
    hours_ago = time.time() - 4000
    abandoned, in_use, foreign = (
        tmp_path / name for name in (".a[1].json.1.x.tmp", ".a[1].json.2.x.tmp", ".b.json.1.x.tmp")
    )
    for file in (abandoned, in_use, foreign):
        file.write_text("half")
    for file in (abandoned, foreign):
        os.utime(file, (hours_ago, hours_ago))
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, in_use, foreign])
    remove_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
