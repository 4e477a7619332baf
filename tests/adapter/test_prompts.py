"""Prompt packs: what they say, and what is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.adapter import builtin_packs, load_pack
from p2r_bench.adapter.prompts import parse_pack
from p2r_bench.errors import UserError
from p2r_bench.families import BoxNotation
from p2r_bench.types import AnswerForm, Sample

PACK = load_pack("default")
TEXT = """
name = "mine"
system = "Look."
perceive = "P {question}"
reason = "R {question} {ending}"
reason_whole = "W {question} {ending}"
think = "T {question} {ending}"
answer = "A {question} {bare_ending}"
option_header = "Choices"
option_line = "({letter}) {text}"
endings = { choice = "c", number = "n", free = "f", word = "w", caption = "p", yes_no = "y" }
bare_endings = { choice = "C", number = "N", free = "F", word = "W", caption = "P", yes_no = "Y" }
"""


def test_options_are_a_block_under_their_header(make_sample: Callable[..., Sample]) -> None:
    question = PACK.question(make_sample(), "block")
    assert question == "What colour is the kite?\nOptions:\nA. red\nB. blue"


def test_a_question_without_options_stays_alone(make_sample: Callable[..., Sample]) -> None:
    assert PACK.question(make_sample(options={}), "block") == "What colour is the kite?"


def test_the_published_question_is_used_only_in_the_published_style(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample(published_question="Which? (A) red (B) blue")
    assert PACK.question(sample, "published") == "Which? (A) red (B) blue"
    assert PACK.question(sample, "block").startswith("What colour")
    assert PACK.question(make_sample(), "published") == PACK.question(make_sample(), "block")


@pytest.mark.parametrize("form", get_args(AnswerForm))
@pytest.mark.parametrize("template", ["reason", "reason_whole", "think", "answer"])
def test_the_ending_depends_on_the_answer_form(
    form: AnswerForm, template: str, make_sample: Callable[..., Sample]
) -> None:
    pack = parse_pack(TEXT, "pack.toml", "pack")
    ending = (pack.bare_endings if template == "answer" else pack.endings)[form]
    text = pack.text(template, make_sample(answer_form=form, options={}), "block")
    assert (
        text
        == f"{ {'reason_whole': 'W'}.get(template, template[0].upper()) } What colour is the kite? {ending}"
    )


@pytest.mark.parametrize("name", builtin_packs())
def test_every_pack_asks_for_json_and_tags_where_the_parser_looks_for_them(
    name: str, make_sample: Callable[..., Sample]
) -> None:
    pack = load_pack(name)
    for form in get_args(AnswerForm):
        sample = make_sample(answer_form=form)
        regions = pack.regions_text(BoxNotation(), (320, 320))
        assert '"bbox_2d"' in pack.text("perceive", sample, "block", regions)
        for template in ("reason", "reason_whole", "think"):
            text = pack.text(template, sample, "block")
            assert all(tag in text for tag in ("<think>", "</think>", "<answer>", "</answer>"))
        assert "<" not in pack.text("answer", sample, "block")


@given(st.text(st.characters(exclude_categories=())), st.text(), st.text(max_size=3))
def test_braces_and_anything_else_in_a_question_reach_the_model_unchanged(
    make_sample: Callable[..., Sample], question: str, option: str, letter: str
) -> None:
    sample = make_sample(question=question, options={letter: option})
    shown = PACK.text("perceive", sample, "block")
    assert f"{question}\nOptions:\n{letter}. {option}" in shown


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('system = "Look."', "", "system: missing, or not a string"),
        ('system = "Look."', "system = 7", "system: missing, or not a string"),
        (
            'system = "Look."',
            'system = "Look."\nsystems = ""',
            "systems: no such field; known are name, system",
        ),
        ('"P {question}"', '"P {question"', "perceive: expected '}'"),
        (
            '"P {question}"',
            '"P [{x}] {question}"',
            "perceive: {x} is not a placeholder here; allowed are question",
        ),
        ('"P {question}"', '"P {question} {ending}"', "perceive: {ending} is not a placeholder"),
        ('"P {question}"', '"P {question} {}"', "perceive: {} is not a placeholder"),
        ('"P {question}"', '"P {question!r}"', "perceive: {question!r} is not a placeholder"),
        (
            '"P {question}"',
            '"P {question:>{question}}"',
            "perceive: {question:>{question}} is not a placeholder",
        ),
        ('"P {question}"', '"P {question.x}"', "perceive: {question.x} is not a placeholder"),
        ('"P {question}"', '"P"', "perceive: the placeholder {question} is missing"),
        (
            '"A {question} {bare_ending}"',
            '"A {question} {ending}"',
            "answer: {ending} is not a placeholder",
        ),
        ('"({letter}) {text}"', '"{text}"', "option_line: the placeholder {letter} is missing"),
        ('choice = "c", ', "", "endings.choice: missing, or not a string"),
        ('choice = "C"', "choice = 7", "bare_endings.choice: missing, or not a string"),
        (
            'yes_no = "y"',
            'yes_no = "y", yesno = "y"',
            "endings.yesno: no such key; known are choice",
        ),
        ("\noption_header", "\noption_header =", "not valid TOML"),
    ],
)
def test_a_bad_pack_is_refused_by_file_and_field(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(UserError) as refused:
        load_pack(path)
    assert str(refused.value).startswith(f"{path}: {message}")


def test_a_missing_pack_names_the_built_in_ones() -> None:
    with pytest.raises(UserError, match=r"no prompt pack 'defualt': built in are .*default"):
        load_pack("defualt")


def test_a_pack_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"mine\.toml: cannot be read"):
        load_pack(path)


def test_a_pack_is_read_again_when_its_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    first = load_pack(path)
    path.write_text(TEXT.replace("Look.", "Look closely."))
    assert load_pack(path) == replace(first, system="Look closely.")


def test_a_pack_is_named_by_its_file_unless_it_names_itself(tmp_path: Path) -> None:
    assert parse_pack(TEXT, "x.toml", "x").name == "mine"
    assert parse_pack(TEXT.replace('name = "mine"', ""), "x.toml", "x").name == "x"
    assert tomllib.loads(TEXT)["name"] == "mine"
