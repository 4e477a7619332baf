"""Engine arguments are typed; what is unknown or wrong is refused with a way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from p2r_bench.engines import openai, scripted, transformers
from p2r_bench.engines.arguments import argument, describe, read_arguments
from p2r_bench.errors import UserError


@dataclass(frozen=True)
class Arguments:
    size: int = argument(4, "how many", least=1)
    rate: float | None = argument(None, "how fast")
    careful: bool = argument(False, "whether to look")
    kind: Literal["soft", "hard"] = argument("soft", "which")
    urls: tuple[str, ...] = argument((), "where")


def test_values_get_their_types() -> None:
    read = read_arguments(
        Arguments,
        {"size": "7", "rate": "0.5", "careful": "yes", "kind": "hard", "urls": "a, b"},
        "test",
    )
    assert read == Arguments(7, 0.5, True, "hard", ("a", "b"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", "many", "an integer"),
        ("size", "0", "at least 1"),
        ("rate", "nan", "number"),
        ("careful", "perhaps", "yes or no"),
        ("kind", "medium", "must be soft or hard"),
        ("urls", " , ", "a list"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        read_arguments(Arguments, {name: value}, "test")
    assert f"--engine-arg {name}={value}" in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest_and_all() -> None:
    with pytest.raises(UserError) as caught:
        read_arguments(Arguments, {"sise": "3"}, "test")
    message = str(caught.value)
    assert "Did you mean 'size'?" in message
    assert all(name in message for name in ("size", "rate", "careful", "kind", "urls"))


def test_every_argument_is_described() -> None:
    assert describe(Arguments)[0] == "size (integer, default 4): how many"
    assert describe(Arguments)[2] == "careful (yes|no, default no): whether to look"
    for engine in (openai, scripted, transformers):
        assert all(line.count(": ") for line in describe(engine.Arguments))
