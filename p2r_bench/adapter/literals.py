"""Text constants of a Python file, read from its syntax tree without executing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from p2r_bench.errors import UserError


@dataclass(frozen=True)
class Constant:
    """A named text of a module.

    Attributes:
        name: "NAME", "DICT.key.key", or "function()" for a function that only returns a text.
        where: "file:line".
        text: The text, or None when it cannot be known without running the file.
        refusal: The reason if `text` is None.
    """

    name: str
    where: str
    text: str | None
    refusal: str | None = None


class _Refused(Exception):
    """Raised for an expression whose text cannot be known without executing it."""


_Literal = str | dict[str, "_Literal"] | _Refused | None


def text_constants(source: bytes, origin: str) -> dict[str, Constant]:
    """Return module-level texts by name: strings, sums of strings, dicts of them, functions that return one.

    f-strings, calls such as `.format()`, and names changed later on are returned with the reason in `refusal`. Values
    of other types are left out.

    Raises:
        UserError: `source` is not valid Python.
    """
    try:
        tree = ast.parse(source, origin)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{origin}{line}: not a Python file that can be parsed: {error}") from error
    names: dict[str, tuple[_Literal, int]] = {}
    for statement in tree.body:
        _read_statement(statement, names)
    found = {}
    for name, (literal, number) in names.items():
        for dotted, value in _flat(name, literal):
            text = value if isinstance(value, str) else None
            refusal = str(value) if isinstance(value, _Refused) else None
            found[dotted] = Constant(dotted, f"{origin}:{number}", text, refusal)
    return found


def _read_statement(statement: ast.stmt, names: dict[str, tuple[_Literal, int]]) -> None:
    line = statement.lineno
    match statement:
        case ast.Assign(targets=targets, value=value) if all(
            isinstance(t, ast.Name) for t in targets
        ):
            for target in targets:
                names[ast.unparse(target)] = (_literal(value, names), line)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            names[name] = (_literal(value, names), line)
        case ast.FunctionDef(name=name, body=body, args=arguments, decorator_list=[]):
            match [s for s in body if not _is_docstring(s)]:
                case [ast.Return(value=ast.expr() as value)] if not ast.unparse(arguments):
                    names[f"{name}()"] = (_literal(value, names), line)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return
        case _:
            for name in _changed(statement):
                if name in names:
                    reason = f"it is changed on line {line}, by code that would have to run"
                    names[name] = (_Refused(reason), names[name][1])


def _changed(statement: ast.stmt) -> Iterator[str]:
    """Return the names that a statement other than a plain assignment may set or modify."""
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Call(func=ast.Attribute()):
                yield from (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _literal(node: ast.expr, names: dict[str, tuple[_Literal, int]]) -> _Literal:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name):
            return names[name][0] if name in names else None
        case ast.JoinedStr():
            return _Refused("it is an f-string, which would have to be executed")
        case ast.Call():
            return _Refused("it is the result of a call, which would have to be executed")
        case ast.BinOp(left=left, op=operator, right=right):
            parts = [_literal(left, names), _literal(right, names)]
            for part in parts:
                if isinstance(part, _Refused):
                    return part
            if (
                isinstance(operator, ast.Add)
                and isinstance(parts[0], str)
                and isinstance(parts[1], str)
            ):
                return parts[0] + parts[1]
            if any(isinstance(part, str) for part in parts):
                return _Refused("it is computed, which would have to be executed")
            return None
        case ast.Dict(keys=keys, values=values):
            items: dict[str, _Literal] = {}
            for key, value in zip(keys, values, strict=True):
                if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                    return _Refused("it is a dict with keys that are not plain texts")
                items[key.value] = _literal(value, names)
            return items
        case _:
            return None


def _flat(name: str, literal: _Literal) -> Iterator[tuple[str, str | _Refused]]:
    if isinstance(literal, dict):
        for key, value in literal.items():
            yield from _flat(f"{name}.{key}", value)
    elif literal is not None:
        yield name, literal
