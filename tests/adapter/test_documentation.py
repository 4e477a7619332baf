"""docs/adapter.md says what is so: its code runs, its profile loads, its table holds the built-in values."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from p2r_bench.adapter import builtin_profiles, load_profile, read_boxes

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "adapter.md").read_text("utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_example_runs_and_gives_what_its_comments_say() -> None:
    code = block("python")
    values: dict[str, object] = {}
    exec(code, values)
    for line in code.splitlines():
        expression, _, comment = line.partition("  # ")
        if comment:
            assert eval(expression, values) == ast.literal_eval(comment)


def test_the_example_profile_loads(tmp_path: Path) -> None:
    shutil.copy(ROOT / "p2r_bench" / "adapter" / "packs" / "default.toml", tmp_path / "words.toml")
    (tmp_path / "mine.toml").write_text(block("toml"), "utf-8")
    profile = load_profile(tmp_path / "mine.toml")
    assert (profile.crop.count, profile.sampling.reason.max_tokens) == (4, 4096)
    assert profile.image.max_pixels == 2097152


@pytest.mark.parametrize("name", builtin_profiles())
def test_the_table_of_profiles_holds_the_built_in_values(name: str) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("|")
    ]
    head = next(i for i, row in enumerate(rows) if "`p2r` (default)" in row)
    column = next(i for i, cell in enumerate(rows[head]) if f"`{name}`" in cell)
    table = {row[0]: row[column] for row in rows[head + 2 : head + 14]}
    profile = load_profile(name)
    image, sampling = profile.image, profile.sampling

    def number(text: str) -> int:
        tiles, dot, _ = text.replace(",", "").partition("·32²")
        return int(tiles) * (1024 if dot else 1)

    if table["max / min pixels"] != "as rollout":
        limits = [number(text) for text in table["max / min pixels"].split(" / ")]
        assert limits == [image.max_pixels, image.min_pixels]
    second = table["second floor"].replace("–", "0").replace(",", "")
    assert int(second) == image.second_min_pixels
    policies = {("apply", "white"): "applied, on white", ("ignore", "drop"): "ignored, dropped"}
    assert table["EXIF, alpha"] == policies[image.exif, image.alpha]
    transport = table["transport"].replace("JPEG, quality ", "jpeg:")
    assert transport == image.transport
    assert (table["newline after each image"] == "yes") == profile.newline_after_image
    assert table["options"] == profile.option_style
    assert table["answers of `reason`, `think`"] == f"`{profile.answers.reason}`"
    assert profile.answers.reason == profile.answers.think
    assert table["pair, tag case"] == f"{profile.answers.pair}, {profile.answers.tag_case}"
    assert table["thoughts, boxes"] == f"{profile.thoughts}, {profile.boxes}"
    caps = [int(cap) for cap in table["tokens perceive / reason, think / answer"].split(" / ")]
    assert caps == [
        sampling.perceive.max_tokens,
        sampling.reason.max_tokens,
        sampling.answer.max_tokens,
    ]
    drawn = [float(value) for value in table["temperature, repetition penalty"].split(", ")]
    for role in ("perceive", "reason", "think", "answer"):
        chosen = sampling.for_role(role)
        assert [chosen.temperature, chosen.repetition_penalty] == drawn
        filters = [chosen.top_p, chosen.top_k, chosen.presence_penalty]
        assert filters == [float(v) for v in table["top-p, top-k, presence penalty"].split(", ")]


def test_the_table_of_box_texts_holds_what_each_rule_reads() -> None:
    rows = re.findall(r"^\| (`+) ?(.+?) ?\1 \| `(\w+)` \| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert len(rows) == 7
    for _, text, tolerant, published in rows:
        assert read_boxes(text, load_profile("p2r")).status == tolerant, text
        assert read_boxes(text, load_profile("original-eval")).status == published, text
