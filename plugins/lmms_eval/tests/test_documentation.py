"""docs/lmms-eval.md names every option and every model argument there is."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from p2r_bench_lmms_eval.cli import command, export
from p2r_bench_lmms_eval.loading import PARAMETERS
from p2r_bench_lmms_eval.manifests import manifests
from p2r_bench_lmms_eval.settings import _OWN

PAGE = (Path(__file__).parents[3] / "docs" / "lmms-eval.md").read_text("utf-8")
OPTIONS = [word for option in export.params for word in option.opts if word.startswith("--")]


@pytest.mark.parametrize("word", [*OPTIONS, *(f"--model {m.model_id}" for m in manifests())])
def test_options_are_documented(word: str) -> None:
    assert word in PAGE


@pytest.mark.parametrize("word", [*_OWN, "backend", *PARAMETERS])
def test_arguments_are_documented(word: str) -> None:
    assert f"`{word}`" in PAGE or f"{word}=" in PAGE


def test_commands_are_documented() -> None:
    assert isinstance(command, click.Group)
    assert all(f"p2r-bench lmms {name}" in PAGE for name in command.commands)
