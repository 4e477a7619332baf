"""Training rows are read as the published trainer stores them; what is wrong is named by row and field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.data.load import load_samples, samples_digest
from p2r_bench_pra_grpo.data.mixing import epoch_order, mixed
from p2r_bench_pra_grpo.data.options import split_options
from p2r_bench_pra_grpo.data.p2r10k import load_p2r10k
from pra_grpo_testing import write_p2r10k

from p2r_bench import Sample, UserError
from p2r_bench.tasks.reading import read_image
from p2r_bench.testing import tiny_sample

FORMS = ("mca", "na", "free_form", "word", "caption", "yes_no")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_p2r10k(tmp_path / "data", rows=6, forms=FORMS)


def changed(file: Path, row: int, **values: Any) -> Path:
    """The same file with values of one row replaced."""
    rows = pq.read_table(file).to_pylist()
    rows[row] = {**rows[row], **values}
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def test_every_answer_form_is_read(file: Path) -> None:
    samples = load_p2r10k(file)
    forms = [s.answer_form for s in samples]
    assert forms == ["choice", "number", "free", "word", "caption", "yes_no"]
    assert [s.answer for s in samples][:3] == ["B", "1", "a square"]
    assert samples[0].question == "Which colour is square 0?"
    assert samples[0].options == {"A": "red", "B": "green", "C": "blue", "D": "black"}
    assert samples[0].published_question == (
        "Which colour is square 0?\nA. red\nB. green\nC. blue\nD. black"
    )
    assert len({s.id for s in samples}) == 6


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (0, {"images": [{"path": "images/none.png"}]}, "row 0, images:"),
        (1, {"images": []}, "row 1, images: no image"),
        (2, {"images": [{"path": "images/0.png"}] * 2}, "row 2, images: 2 images"),
        (
            1,
            {"reward_model": {"ground_truth": "many", "style": ""}},
            "cannot be read as one number",
        ),
        (0, {"reward_model": {"ground_truth": "F", "style": ""}}, "not one of the options A, B, C"),
        (3, {"reward_model": {"ground_truth": None, "style": ""}}, "row 3, reward_model.ground"),
        (5, {"reward_model": {"ground_truth": "maybe", "style": ""}}, "where yes or no should be"),
        (4, {"extra_info": {"answer_form": "poem"}}, "row 4, extra_info.answer_form: 'poem'"),
        (0, {"prompt": [{"role": "user", "content": "<image> Red?"}]}, "without options A, B"),
        (2, {"prompt": [{"role": "system", "content": "x"}]}, "row 2, prompt: no message of the"),
        (2, {"prompt": [{"role": "user", "content": "<image>\n"}]}, "holds no question"),
        (2, {"prompt": [{"role": "user", "content": "<image><image>a"}]}, "2 images"),
    ],
)
def test_what_is_wrong_is_named_by_file_row_and_field(
    file: Path, row: int, values: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_p2r10k(changed(file, row, **values))
    assert str(file) in str(caught.value) and message in str(caught.value)


def test_all_findings_are_shown_at_once(file: Path) -> None:
    changed(changed(file, 0, images=[]), 5, images=[])
    with pytest.raises(UserError, match="2 rows cannot be used") as caught:
        load_p2r10k(file)
    assert "row 0" in str(caught.value) and "row 5" in str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"images": [["a.png"]]}), path)
    with pytest.raises(UserError, match="no column 'prompt'"):
        load_p2r10k(path)


def test_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no parquet file there"):
        load_p2r10k(tmp_path)


def test_images_in_the_rows_become_files_once(file: Path, tmp_path: Path) -> None:
    data = (file.parent / "images" / "0.png").read_bytes()
    changed(file, 0, images=[{"path": None, "bytes": data}])
    rows = pq.read_table(file).to_pylist()
    for row in rows[1:]:
        row["images"][0]["bytes"] = None
    pq.write_table(pa.Table.from_pylist(rows), file)
    first = load_p2r10k(file, unpacked=tmp_path / "unpacked")[0]
    assert first.image.data is None and read_image(first.image) == data
    again = load_p2r10k(file, unpacked=tmp_path / "unpacked")[0]
    assert again.image == first.image and len(list((tmp_path / "unpacked").iterdir())) == 1


def test_relative_paths_start_at_the_configured_root(file: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (file.parent / "images").rename(moved / "images")
    with pytest.raises(UserError, match=r"set data\.images"):
        load_p2r10k(file)
    samples = load_p2r10k(file, moved)
    assert all(Path(s.image.path or "").is_absolute() for s in samples)


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("What?\nA. x\nB. y", "What?", {"A": "x", "B": "y"}),
        ("What?\nOptions:\nA. x\nB. y", "What?", {"A": "x", "B": "y"}),
        ("What? (A) x (B) y z", "What?", {"A": "x", "B": "y z"}),
        ("What?\n(A) x\n(B) y\nPlease select the letter.", "What?", {"A": "x", "B": "y"}),
        (
            "Is A. or B. here?\nA) x\nB) y\nC) z",
            "Is A. or B. here?",
            {"A": "x", "B": "y", "C": "z"},
        ),
    ],
)
def test_options_are_taken_out_of_the_text(
    text: str, question: str, options: dict[str, str]
) -> None:
    assert split_options(text) == (question, options)


@pytest.mark.parametrize("text", ["What?", "What? (A) x", "A. x\nB. y", "What?\nB. x\nA. y", ""])
def test_texts_without_options_in_order_have_none(text: str) -> None:
    assert split_options(text) is None


words = st.from_regex(r"[a-z]{1,8}( [a-z]{1,8}){0,3}", fullmatch=True)


@given(words, st.lists(words, min_size=2, max_size=6))
def test_options_written_on_lines_come_back(question: str, texts: list[str]) -> None:
    options = dict(zip("ABCDEF", texts, strict=False))
    lines = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    assert split_options(f"{question}?\n{lines}") == (f"{question}?", options)


def samples(count: int) -> list[Sample]:
    from dataclasses import replace

    return [replace(tiny_sample(), id=str(n)) for n in range(count)]


def test_a_weight_says_how_often_a_row_is_used() -> None:
    epoch = mixed([samples(4), samples(4)], [2.0, 0.5], seed=1)
    ids = [s.id for s in epoch]
    assert len(ids) == 10 and all(ids.count(f"0:{n}") == 2 for n in range(4))
    assert mixed([samples(4)], [1.0], seed=1) == samples(4)


@given(st.integers(1, 30), st.floats(0.01, 5), st.integers(0, 99))
def test_mixing_draws_evenly_and_alike(count: int, weight: float, seed: int) -> None:
    epoch = mixed([samples(count)], [weight], seed)
    assert epoch == mixed([samples(count)], [weight], seed)
    assert len(epoch) == max(round(weight * count), 1)
    times = [sum(s.id == str(n) for s in epoch) for n in range(count)]
    assert max(times) - min(times) <= 1


@given(st.integers(0, 50), st.integers(0, 9), st.integers(0, 9))
def test_the_order_of_an_epoch_holds_everything_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(count, seed, epoch)) == list(range(count))


def config(tmp_path: Path, *data: Mapping[str, Any]) -> Any:
    return load_config({"model": "p2r-tiny-base", "out": str(tmp_path / "out"), "data": list(data)})


def test_samples_are_probed_and_the_probes_are_kept(file: Path, tmp_path: Path) -> None:
    given = config(tmp_path, {"format": "p2r-10k", "path": str(file)})
    first = load_samples(given)
    assert all(s.image.digest and s.image.size == (160, 128) and s.group for s in first)
    stamp = (tmp_path / "out" / "data" / "probes.json").stat().st_mtime_ns
    assert load_samples(given) == first
    assert (tmp_path / "out" / "data" / "probes.json").stat().st_mtime_ns == stamp


def test_an_image_that_changed_is_probed_again(file: Path, tmp_path: Path) -> None:
    given = config(tmp_path, {"format": "p2r-10k", "path": str(file)})
    before = load_samples(given)
    (file.parent / "images" / "0.png").write_bytes((file.parent / "images" / "1.png").read_bytes())
    after = load_samples(given)
    assert after[0].image.digest == before[1].image.digest
    assert samples_digest(before) != samples_digest(after)


def test_an_unreadable_image_is_named(file: Path, tmp_path: Path) -> None:
    (file.parent / "images" / "2.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2\.png"):
        load_samples(config(tmp_path, {"format": "p2r-10k", "path": str(file)}))


def test_synth_hr_is_trained_on_its_training_split(tmp_path: Path) -> None:
    source = {"format": "synth-hr", "params": {"rows": 4}}
    (first, *_) = load_samples(config(tmp_path, source))
    assert "train-" in (first.image.path or "") and first.boxes
    with pytest.raises(UserError, match="the test scenes are for the evaluation"):
        load_samples(config(tmp_path, {"format": "synth-hr", "params": {"split": "test"}}))


def checked(tmp_path: Path, file: Path) -> Any:
    from click.testing import CliRunner
    from p2r_bench_pra_grpo.data.__main__ import main

    toml = tmp_path / "train.toml"
    toml.write_text(
        f'model = "m"\nout = "{tmp_path / "out"}"\n[[data]]\nformat = "p2r-10k"\npath = "{file}"\n',
        "utf-8",
    )
    return CliRunner().invoke(main, [str(toml)])


def test_data_can_be_checked_before_a_training(file: Path, tmp_path: Path) -> None:
    result = checked(tmp_path, file)
    assert result.exit_code == 0 and re.search(r"P2R-10k +choice", result.output)
    assert "images: 6, digest: " in result.output


def test_the_check_reads_pixels_and_names_what_is_broken(file: Path, tmp_path: Path) -> None:
    picture = file.parent / "images" / "3.png"
    picture.write_bytes(picture.read_bytes()[:-40])
    result = checked(tmp_path, file)
    assert result.exit_code == 2 and "3.png" in result.output
