"""No text of a model, dataset or plugin is obeyed by what it is printed to."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.cli import escaping
from p2r_bench.cli.table import shortened, table, width

ANY = st.text(st.characters(), max_size=40)


@given(ANY)
def test_nothing_printed_is_a_control_character(text: str) -> None:
    shown = escaping.printable(text)
    assert all(c in "\n\t" or c.isprintable() for c in shown)
    shown.encode("utf-8")


def test_terminal_escapes_are_shown_and_not_obeyed() -> None:
    assert escaping.printable("\x1b[31mred\x07\u202e") == r"\x1b[31mred\x07\u202e"


@given(ANY)
def test_a_markdown_cell_has_no_border_no_html_and_one_line(text: str) -> None:
    shown = escaping.markdown(text)
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[\]]", shown)
    assert not set(shown) & set("<>\n")


def test_markdown_mark_up_is_text() -> None:
    shown = escaping.markdown("a|b <img src=x> [x](y) `c` _d_ &lt;\\")
    assert shown == r"a\|b &lt;img src=x&gt; \[x\](y) \`c\` \_d\_ &amp;lt;\\"


@given(ANY)
def test_latex_specials_are_commands(text: str) -> None:
    shown = escaping.latex(text)
    commands = r"\\(?:[&%$#_{}]|text[a-z]+\{\})"
    assert not set(re.sub(commands, "", shown)) & set('&%$#_{}~^\\<>|"`\n')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "＝1"])
def test_a_formula_in_csv_is_text(text: str) -> None:
    assert escaping.csv_text(text).startswith("'")
    assert escaping.csv_text("a=1") == "a=1"


@given(ANY)
def test_csv_text_survives_a_csv_reader(text: str) -> None:
    written = io.StringIO()
    csv.writer(written).writerow([escaping.csv_text(text), "end"])
    ((cell, end),) = csv.reader(io.StringIO(written.getvalue()))
    assert (cell, end) == (escaping.csv_text(text), "end")


@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4))
def test_every_line_of_a_table_is_a_row(rows: list[tuple[str, str]]) -> None:
    assert len(table(("a", "b"), rows).split("\n")) == len(rows) + 1


def test_wide_characters_take_two_columns() -> None:
    lines = table(("model", "n"), [("模型", 1), ("abcd", 2)]).splitlines()
    assert [line[-1] for line in lines] == ["n", "1", "2"]
    assert {width(line) for line in lines} == {8}


@given(ANY.map(escaping.one_line), st.integers(3, 30))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, columns: int) -> None:
    shown = shortened(text, columns)
    assert width(shown) <= max(columns, 1 + 2 * (columns // 2))
    if width(text) <= columns:
        assert shown == text
    else:
        assert "…" in shown and text.endswith(shown.rpartition("…")[2])
