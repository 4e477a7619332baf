"""Escaping of text from models, datasets and plugins: one function for each output format.

Every function applies `printable`, so that no text can contain terminal control codes.
"""

from __future__ import annotations

from p2r_bench.terminal import printable


def one_line(text: str) -> str:
    """Return the text for a table's cell: `printable`, white space reduced to single spaces."""
    return printable(" ".join(text.split()))


def markdown(text: str) -> str:
    """Return the text for a cell of a Markdown table, with mark-up, HTML and cell borders escaped."""
    return "".join(_MARKDOWN.get(c, c) for c in one_line(text))


def latex(text: str) -> str:
    """Return the text escaped for LaTeX with its default fonts and encoding."""
    return "".join(_LATEX.get(c, c) for c in one_line(text))


def csv_text(text: str) -> str:
    """Return the text for a CSV cell; text that a spreadsheet would take for a formula begins with an apostrophe.

    The CSV writer escapes quotes, commas and line breaks. Source: OWASP, CSV injection.
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
