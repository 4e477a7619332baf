"""A run's last lines say what went wrong, and `show --errors` where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.cli.run_summary import summary
from p2r_bench.errors import EngineError
from p2r_bench.run.result import RunResult
from p2r_bench.store.failures import causes
from p2r_bench.store.reader import RunReader
from p2r_bench.testing import Reply, scripted_run, write_bench
from p2r_bench.types import Request


def reply(request: Request) -> Reply:
    """Fails three samples, for two causes; gives no answer, bad boxes and none to one each."""
    number = int(request.sample_id.rpartition("/")[2])
    if number in (0, 1):
        return EngineError(f"no reply to {request.sample_id} in {5 + number} s", kind="timeout")
    if number == 2:
        return EngineError("too many requests", kind="http_429")
    if request.role == "perceive":
        return {3: "no list at all", 4: "[]"}.get(
            number, '[{"bbox_2d": [100, 200, 300, 400], "label": "it"}]'
        )
    return "I cannot say." if number == 5 else "<answer>A</answer>"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("run")
    data = write_bench(folder / "data")
    return scripted_run("p2r", reply, out=folder / "results", data_dir=data)


def shown(result: RunResult, *arguments: str) -> Result:
    out = str(result.path.parent.parent)
    return CliRunner().invoke(main, ["show", result.run_id, *arguments, "--out", out])


def test_errors_are_counted_by_cause_with_an_example(result: RunResult) -> None:
    text = "\n".join(summary(result, causes(RunReader(result.path))))
    assert "2 × timeout in perceive: no reply to 4K/0 in 5 s (sample 4K/0)" in text
    assert "1 × http_429 in perceive: too many requests (sample 4K/2)" in text
    assert f"p2r-bench show {result.run_id} --errors --out {result.path.parent.parent}" in text


def test_samples_without_answer_or_boxes_are_counted(result: RunResult) -> None:
    text = "\n".join(summary(result, ()))
    for count in ("1 without an answer", "1 with unreadable boxes", "1 without a box"):
        assert count in text
    assert "not run yet" not in text and "does not apply" not in text


def test_nothing_scored_says_why(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data")
    failing = scripted_run(
        "default", lambda r: EngineError("down", kind="http_500"), out=tmp_path / "a", data_dir=data
    )
    assert "nothing scored: 8 samples ended in an error" in next(iter(summary(failing, ())))


def test_nothing_scored_because_the_mode_does_not_apply(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    data = write_bench(tmp_path / "data")
    (file,) = data.glob("*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(["boxes"]), file)
    result = scripted_run("oracle", lambda r: "A", out=tmp_path / "out", data_dir=data)
    (first, *_) = summary(result, ())
    assert "nothing scored: mode oracle does not apply to 8 samples" in first


def test_show_errors_lists_samples_up_to_a_limit(result: RunResult) -> None:
    text = shown(result, "--errors", "--limit", "1").output
    assert "2 × timeout in perceive" in text and "4K/0, and 1 more" in text
    causes_ = json.loads(shown(result, "--errors", "--json").output)["causes"]
    assert [(c["type"], c["count"]) for c in causes_] == [("timeout", 2), ("http_429", 1)]
    assert causes_[0]["samples"][1] == {"sample_id": "4K/1", "repeat": 0}


def test_show_needs_a_sample_or_errors(result: RunResult) -> None:
    for arguments in ((), ("4K/1", "--errors")):
        answer = shown(result, *arguments)
        assert (
            answer.exit_code == 2 and "name a SAMPLE of the run, or give --errors" in answer.output
        )


def test_show_draws_what_the_model_looked_at(result: RunResult, tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "deep" / "sample.png"
    answer = shown(result, "4K/6", "--picture", str(file))
    assert answer.exit_code == 0, answer.output
    with Image.open(file) as picture:
        assert picture.width > 1000 and len(picture.getcolors(1 << 24) or ()) > 10


def test_a_picture_needs_the_data_and_a_format(result: RunResult, tmp_path: Path) -> None:
    answer = shown(result, "4K/6", "--picture", str(tmp_path / "sample.nope"))
    assert answer.exit_code == 2 and "name a .png file" in answer.output


def test_show_says_first_that_there_are_no_runs(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["show", "latest", "--out", str(tmp_path / "nores")])
    assert answer.exit_code == 2
    assert f"{tmp_path / 'nores' / 'runs'}: no run found; name" in answer.output
    assert "--out" in answer.output and "SAMPLE" not in answer.output
