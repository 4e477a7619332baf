"""Promises of a run: nothing twice, nothing lost, no failure scored."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2r_bench.engines.data_urls import url_encoder
from p2r_bench.errors import UserError
from p2r_bench.run.rejudge import rejudge
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import Capabilities, Completion, Request
from tests.run.conftest import FakeEngine, FakeEngines, write_bench


def spec(bench: Path, **changes: Any) -> RunSpec:
    base = RunSpec("HR-Bench", data_dir=bench, out=bench.parent / "out", profile="tiny")
    return dataclasses.replace(base, **changes)


def do(spec: RunSpec, *engines: FakeEngine, **by_model: FakeEngine) -> RunResult:
    return asyncio.run(run(spec, FakeEngines(*engines, **by_model)))


@pytest.mark.parametrize(
    ("mode", "calls"), [("default", 12), ("thinking", 12), ("p2r", 24), ("oracle", 12)]
)
def test_every_mode_answers_every_sample(bench: Path, mode: str, calls: int) -> None:
    engine = FakeEngine()
    result = do(spec(bench, mode=mode), engine)
    assert result.complete and result.added == 12 and len(engine.calls) == calls
    assert [row["value"] for row in result.overall] == [1.0]
    samples = pd.read_parquet(result.path / "samples.parquet")
    assert list(samples["status"]) == ["ok"] * 12
    assert list(samples["index"]) == list(range(12))


def test_the_same_command_again_runs_nothing_and_starts_no_engine(bench: Path) -> None:
    first = do(spec(bench), FakeEngine())
    engine = FakeEngine()
    again = do(spec(bench), engine)
    assert (again.added, engine.calls, engine.starts) == (0, [], 0)
    assert again.run_id == first.run_id and again.complete


def test_a_limited_run_is_completed_by_the_full_command(bench: Path) -> None:
    limited = do(spec(bench, limit=5), FakeEngine())
    assert limited.added == 5 and not limited.complete
    engine = FakeEngine()
    full = do(spec(bench), engine)
    assert full.added == 7 and full.complete and full.run_id == limited.run_id


def test_a_failed_request_is_an_error_and_is_never_scored(bench: Path) -> None:
    engine = FakeEngine(fail=lambda r: r.sample_id == "4K/2" and r.role == "reason")
    result = do(spec(bench), engine)
    (row,) = result.overall
    assert (row["n"], row["n_errors"], row["value"]) == (11, 1, 1.0)
    assert row["value_low"] == pytest.approx(11 / 12) and row["value_high"] == 1.0
    assert not result.complete
    samples = pd.read_parquet(result.path / "samples.parquet").set_index("sample_id")
    failed = samples.loc["4K/2"]
    assert (failed["status"], failed["error_type"], failed["error_role"]) == (
        "error",
        "told",
        "reason",
    )
    assert [stage["role"] for stage in failed["stages"]] == ["perceive"]
    verdicts = pd.read_parquet(result.path / "verdicts.parquet")
    assert "4K/2" not in set(verdicts["sample_id"])


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Completion("<answer>A</answer>", "abort"), "aborted"),
        (Completion("<answer>A</answer>", "content_filter"), "refused"),
        (Completion("<answer>A</answer>", "tool_calls"), "unfinished"),
        (Completion("", "stop"), "empty"),
        (Completion(" \n", "length"), "empty"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_reply_that_is_no_answer_is_an_error_whatever_engine_gives_it(
    bench: Path, reply: Completion, kind: str
) -> None:
    class Lax(FakeEngine):
        """Hands on what a third party's engine might."""

        async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
            if request.sample_id == "4K/2":
                return reply
            return await super().generate(request, images)

    result = do(spec(bench, mode="default"), Lax())
    (row,) = result.overall
    assert (row["n"], row["n_errors"], row["value"]) == (11, 1, 1.0)
    assert not result.complete
    samples = pd.read_parquet(result.path / "samples.parquet").set_index("sample_id")
    assert samples.loc["4K/2"]["error_type"] == kind


def test_images_beyond_the_profiles_bytes_are_errors_that_name_its_field(bench: Path) -> None:
    class Sending(FakeEngine):
        def capabilities(self) -> Capabilities:
            return dataclasses.replace(super().capabilities(), image_encoder=url_encoder(1))

    profile = bench.parent / "small.toml"
    profile.write_text('extends = "tiny"\n[image]\nmax_bytes = 40')
    engine = Sending()
    result = do(spec(bench, mode="default", profile=str(profile), limit=2), engine)
    assert engine.calls == []
    samples = pd.read_parquet(result.path / "samples.parquet")
    assert set(samples["error_type"]) == {"image_bytes"}
    assert "image.max_bytes is 40" in samples["error_message"][0]


def test_a_context_too_short_for_the_profiles_tokens_is_refused_with_the_length_needed(
    bench: Path,
) -> None:
    engine = FakeEngine()
    engine.capabilities = lambda: Capabilities(context_tokens=40960)  # type: ignore[method-assign]
    needed = 4 * 4096 + 512 + 32768
    with pytest.raises(UserError, match=f"needs {needed} tokens.*max_model_len={needed}"):
        do(spec(bench, profile="qwen3-vl-thinking"), engine)
    assert engine.calls == []


def test_errors_are_retried_by_the_same_command_unless_kept(bench: Path) -> None:
    do(spec(bench), FakeEngine(fail=lambda r: r.sample_id == "4K/2"))
    kept = do(spec(bench, retry_errors=False), FakeEngine())
    assert kept.added == 0 and not kept.complete
    retried = do(spec(bench), FakeEngine())
    assert retried.added == 1 and retried.complete


def test_a_set_up_in_which_everything_fails_is_stopped_early(tmp_path: Path) -> None:
    bench = write_bench(tmp_path / "data", questions=30)
    engine = FakeEngine(fail=lambda r: True)
    with pytest.raises(UserError, match=r"first 16 samples all failed.*told to fail"):
        do(spec(bench), engine)
    assert len(engine.calls) < 60
    assert do(spec(bench), FakeEngine()).complete


@pytest.mark.parametrize("kind", ["image", "too_long"])
def test_failures_of_rows_do_not_stop_a_run(tmp_path: Path, kind: str) -> None:
    bench = write_bench(tmp_path / "data", questions=8)
    engine = FakeEngine(fail=lambda r: int(r.sample_id.partition("/")[2]) < 20)
    engine.kind = kind
    result = do(spec(bench), engine)
    assert result.metrics[0]["n_errors"] == 20 and result.added == 32


def test_lasting_errors_of_a_resumed_run_do_not_stop_it(tmp_path: Path) -> None:
    bench = write_bench(tmp_path / "data", questions=8)
    engine = FakeEngine(fail=lambda r: int(r.sample_id.partition("/")[2]) >= 8)
    engine.kind = "http_400"
    assert do(spec(bench), engine).added == 32
    assert do(spec(bench), engine).added == 24


def test_a_server_that_dies_stops_the_run_with_the_cause(tmp_path: Path) -> None:
    bench = write_bench(tmp_path / "data", questions=30)
    engine = FakeEngine(fail=lambda r: len(engine.calls) > 40)
    engine.kind = "connection"
    with pytest.raises(UserError, match=r"last 16 samples all failed.*first error: connection"):
        do(spec(bench), engine)
    assert len(engine.calls) < 80
    result = do(spec(bench), FakeEngine())
    assert result.complete and 80 < result.added < 120


def test_a_bug_in_a_mode_is_an_error_of_the_sample(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def solve(self: Any, sample: Any, ask: Any, profile: Any) -> Any:
        raise KeyError("no such thing")

    monkeypatch.setattr("p2r_bench.modes.default.Default.solve", solve)
    result = do(spec(bench, mode="default"), FakeEngine())
    samples = pd.read_parquet(result.path / "samples.parquet")
    assert set(samples["error_type"]) == {"KeyError"} and not result.complete


def test_roles_have_their_own_engines(bench: Path) -> None:
    eyes, head = FakeEngine(), FakeEngine()
    roles = {"perceive": EngineChoice("eyes")}
    do(spec(bench, choice=EngineChoice("head"), roles=roles), eyes=eyes, head=head)
    assert {r.role for r in eyes.calls} == {"perceive"} and {r.role for r in head.calls} == {
        "reason"
    }


def test_another_model_profile_or_seed_is_another_run(bench: Path) -> None:
    ids = {do(spec(bench), FakeEngine()).run_id, do(spec(bench, seed=1), FakeEngine()).run_id}
    other = FakeEngine()
    other.digest = "other-weights"
    ids |= {do(spec(bench), other).run_id, do(spec(bench, profile="p2r"), FakeEngine()).run_id}
    assert len(ids) == 4


def test_resuming_on_a_changed_engine_is_refused_unless_allowed(bench: Path) -> None:
    do(spec(bench, limit=3), FakeEngine())
    other = FakeEngine()
    other.facts = {"name": "fake", "dtype": "float16"}
    with pytest.raises(UserError, match="dtype"):
        do(spec(bench), other)
    assert do(spec(bench, allow_mixed=True), other).complete


def test_repeats_draw_with_different_seeds(bench: Path) -> None:
    engine = FakeEngine()
    result = do(spec(bench, mode="default", repeats=3), engine)
    assert result.added == 36
    seeds = {(r.sample_id, r.sampling.seed) for r in engine.calls}
    assert len(seeds) == 36 and None not in {seed for _, seed in seeds}
    again = FakeEngine()
    do(spec(bench, mode="default", repeats=3, out=bench.parent / "elsewhere"), again)
    assert {(r.sample_id, r.sampling.seed) for r in again.calls} == seeds


def test_only_named_samples_run_and_unknown_names_are_refused(bench: Path) -> None:
    assert do(spec(bench, sample_ids=("4K/3", "4K/7")), FakeEngine()).added == 2
    with pytest.raises(UserError, match="no sample 'nope'; ids look like '4K/0'"):
        do(spec(bench, sample_ids=("nope",)), FakeEngine())


def test_profiles_the_engine_cannot_honour_are_refused_before_the_first_call(bench: Path) -> None:
    engine = FakeEngine()
    engine.capabilities = lambda: type(FakeEngine().capabilities())(min_pixels=65536)  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"image\.min_pixels is 8192") as refused:
        do(spec(bench), engine)
    assert "min_pixels = 65536" in str(refused.value)
    assert engine.calls == []


def test_the_leaderboard_holds_the_run_with_its_scorers(bench: Path) -> None:
    result = do(spec(bench), FakeEngine())
    board = pd.read_parquet(bench.parent / "out" / "leaderboard.parquet")
    assert set(board["source"]) == {"measured"}
    own = board[
        (board["run_id"] == result.run_id)
        & board["category"].isna()
        & (board["metric"] == "accuracy")
    ]
    assert set(own["scorer"]) >= {"strict", "original"}


def test_a_task_names_its_own_headline_scorer_and_the_user_has_the_last_word(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2r_bench.tasks.hr_bench.HRBench.scorer", "original", raising=False)
    assert do(spec(bench), FakeEngine()).overall[0]["scorer"] == "original"
    assert do(spec(bench, scorer="strict"), FakeEngine()).overall[0]["scorer"] == "strict"


def test_a_new_version_of_a_scorer_judges_again_without_the_model(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(spec(bench), FakeEngine())
    monkeypatch.setattr("p2r_bench.judges.strict.Strict.version", "999")
    engine = FakeEngine()
    again = do(spec(bench), engine)
    verdicts = pd.read_parquet(again.path / "verdicts.parquet")
    assert engine.calls == [] and again.complete
    assert set(verdicts[verdicts["scorer"] == "strict"]["version"]) == {"999"}


def test_kind_of_data_and_chance_level_stand_in_manifest_and_figures(bench: Path) -> None:
    result = do(spec(bench), FakeEngine())
    data = json.loads((result.path / "manifest.json").read_text())["data"]
    assert (data["kind"], data["chance"], data["skipped_rows"]) == ("partial", 0.25, 0)
    rows = {(row["metric"], row["category"]): row for row in result.metrics}
    accuracy = rows["accuracy", None]
    assert (accuracy["data_kind"], accuracy["data_note"]) == (
        "partial",
        "12 rows of 4K, published are 800",
    )
    assert (accuracy["chance"], accuracy["n_chance"]) == (0.25, 12)
    assert (accuracy["n_skipped_rows"], accuracy["reason"]) == (0, None)
    assert rows["accuracy_all_rotations", None]["chance"] == 0.25**4
    again = rejudge(result.path)
    assert [row["chance"] for row in again.metrics] == [row["chance"] for row in result.metrics]


def spoilt(tmp_path: Path) -> Path:
    """Three questions, of which row 5 has no answer."""
    bench = write_bench(tmp_path / "data")
    path = bench / "hrbench_4k-00000-of-00001.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[5]["answer"] = ""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return bench


def test_bad_rows_stop_a_run_before_an_engine_starts(tmp_path: Path) -> None:
    engine = FakeEngine()
    with pytest.raises(UserError, match="HR-Bench: 1 bad row:"):
        do(spec(spoilt(tmp_path)), engine)
    assert engine.starts == 0 and not (tmp_path / "out").exists()


def test_a_run_that_skips_bad_rows_counts_them_and_is_never_complete(tmp_path: Path) -> None:
    skipping = spec(spoilt(tmp_path), on_bad_row="skip")
    result = do(skipping, FakeEngine())
    assert result.added == 11 and not result.complete
    assert {row["n_skipped_rows"] for row in result.metrics} == {1}
    (row,) = result.overall
    assert (row["n"], row["value"], row["complete"]) == (11, 1.0, False)
    manifest = json.loads((result.path / "manifest.json").read_text())
    assert manifest["data"]["skipped_rows"] == 1 and not manifest["finished"]["complete"]
    assert not do(skipping, FakeEngine()).complete
    assert not any(row["complete"] for row in rejudge(result.path).metrics)


def test_a_figure_that_the_data_does_not_allow_has_a_reason_and_no_value(tmp_path: Path) -> None:
    result = do(spec(spoilt(tmp_path), on_bad_row="skip"), FakeEngine())
    rows = {row["category"]: row for row in result.metrics if row["per"] == "question"}
    assert (rows["cross"]["value"], rows["cross"]["n"]) == (None, 0)
    assert "only 3 of 4 rotations" in rows["cross"]["reason"]
    assert (rows["single"]["value"], rows["single"]["reason"]) == (1.0, None)


def test_a_question_is_not_right_before_all_its_rotations_are_run(bench: Path) -> None:
    result = do(spec(bench, limit=2), FakeEngine())
    (row,) = (r for r in result.metrics if r["per"] == "question" and r["category"] is None)
    assert (row["value"], row["n"], row["reason"]) == (None, 0, None)
