"""Text from models, datasets and plugins on its way out: one function for each format it may leave in.

All of them pass through `printable`, so no name can move a cursor, colour a terminal or hide itself.
"""

from __future__ import annotations

from p2r_bench.terminal import printable


def one_line(text: str) -> str:
    """The text for a table's cell: `printable`, every run of white space as one space."""
    return printable(" ".join(text.split()))


def markdown(text: str) -> str:
    """The text as a cell of a Markdown table: no character of it is mark-up, HTML or a cell's border."""
    return "".join(_MARKDOWN.get(c, c) for c in one_line(text))


def latex(text: str) -> str:
    """The text as LaTeX prints it, with the default fonts and encoding."""
    return "".join(_LATEX.get(c, c) for c in one_line(text))


def csv_text(text: str) -> str:
    """The text as a CSV cell that a spreadsheet does not take for a formula: those begin with an apostrophe.

    Quotes, commas and line breaks are for the CSV writer. Source: OWASP, CSV injection.
    """
    return f"'{printable(text)}" if text.startswith(_FORMULA) else printable(text)


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MARKDOWN = {c: f"\\{c}" for c in "\\`*_[]|~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "×": r"\texttimes{}",
    "·": r"\textperiodcentered{}",
}
