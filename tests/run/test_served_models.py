"""Runs of served models: a fingerprint of the replies decides whether the same command goes on."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.run import fingerprint
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.fingerprint import (
    MEAN_TOLERANCE,
    TOKEN_TOLERANCE,
    Fingerprint,
    difference,
    questions,
)
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import Capabilities, Completion, Request
from tests.engines.local_server import LocalServer
from tests.run.conftest import write_bench

MODEL = "model-x"


@dataclass
class Weights:
    """A model: its name stands for its weights, and its replies and probabilities depend on them.

    Attributes:
        jitter: Added to the log-probabilities of every other token, as other batches would.
        slips: Questions that get another text before the model answers as it always does.
    """

    name: str
    jitter: float = 0.0
    slips: int = 0
    asked: list[Request] = field(default_factory=list)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def capabilities(self) -> Capabilities:
        return Capabilities()

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        self.asked.append(request)
        text = next(p for m in request.messages for p in m.content if isinstance(p, str))
        reply = "A" if "option" in text.lower() else f"{self.name} says {text[:20]}"
        if text.startswith(("Continue", "Name three", "Describe")) and self.slips:
            self.slips -= 1
            reply = "a slip"
        return Completion(reply, prompt_tokens=9 + (request.visual_tokens or 0), output_tokens=4)

    def with_logprobs(self, answer: dict[str, Any]) -> dict[str, Any]:
        base = -(sum(map(ord, self.name)) % 7) / 5
        tokens = [{"token": "x", "logprob": base + self.jitter * (i % 2)} for i in range(4)]
        answer["choices"][0]["logprobs"] = {"content": tokens}
        return answer


def serving(weights: Weights, *, logprobs: bool = False, **entry: Any) -> LocalServer:
    server = LocalServer(weights, MODEL, **entry)  # type: ignore[arg-type]
    if logprobs:
        server.known = server.known | {"logprobs"}
        server.rewrite = weights.with_logprobs
    return server


def spec(
    tmp_path: Path, *servers: LocalServer, revision: str | None = None, **fields: Any
) -> RunSpec:
    args = {"base_url": ",".join(s.url for s in servers), "max_pixels": "65536", "retries": "0"}
    return RunSpec(
        "HR-Bench",
        "default",
        EngineChoice(MODEL, "openai", revision, args),
        **{"profile": "tiny", "canaries": "off", "out": tmp_path / "out", **fields},
        data_dir=write_bench(tmp_path / "data", questions=2),
    )


def go(spec: RunSpec) -> RunResult:
    async def work() -> RunResult:
        engines = EngineSet()
        try:
            return await run(spec, engines)
        finally:
            await engines.close()

    return asyncio.run(work())


def manifest(result: RunResult) -> dict[str, Any]:
    return dict(json.loads((result.path / "manifest.json").read_text()))


def test_the_same_server_restarted_continues_the_run(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        first = go(spec(tmp_path, server, limit=3))
    with serving(Weights("v1")) as server:
        second = go(spec(tmp_path, server))
    assert first.run_id == second.run_id
    assert (first.added, second.added) == (3, 5)
    assert second.complete
    assert not second.metrics[0]["mixed"]


def test_other_weights_under_the_same_name_are_refused_with_both_values(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        go(spec(tmp_path, server, limit=3))
    with serving(Weights("v2")) as server:
        with pytest.raises(UserError) as caught:
            go(spec(tmp_path, server))
        for words in ("v1 says", "v2 says", "--revision", "--out", "--allow-mixed"):
            assert words in str(caught.value)


def test_a_complete_run_of_other_weights_is_not_reported(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        assert go(spec(tmp_path, server)).complete
    with serving(Weights("v2")) as server, pytest.raises(UserError, match="another model"):
        go(spec(tmp_path, server))


def test_allow_mixed_goes_on_and_marks_the_run(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        first = go(spec(tmp_path, server, limit=3))
    with serving(Weights("v2")) as server:
        second = go(spec(tmp_path, server, allow_mixed=True))
    assert second.run_id == first.run_id
    assert second.metrics[0]["mixed"]
    assert "v1 says" in (second.notice or "")


def test_a_revision_vouches_and_starts_a_run_of_its_own(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        first = go(spec(tmp_path, server, limit=3))
    with serving(Weights("v2")) as server:
        second = go(spec(tmp_path, server, revision="step-200"))
    assert second.run_id != first.run_id
    assert second.added == 8
    assert second.metrics[0]["model_digest"] == f"{MODEL}@step-200"
    record = manifest(second)["sessions"][0]["noted"]["fingerprints"]["answer"]
    assert record["texts"][0].startswith("v2 says")


def test_vouched_weights_that_reply_otherwise_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Weights("v1")) as server:
        go(spec(tmp_path, server, revision="main", limit=3))
    with serving(Weights("v2")) as server:
        assert go(spec(tmp_path, server, revision="main")).complete
    assert "v2 says" in caplog.text
    assert "--revision main vouches" in caplog.text


def test_a_finished_run_of_vouched_weights_is_checked_and_its_figures_stand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Weights("v1")) as server:
        assert go(spec(tmp_path, server, revision="main")).complete
        assert go(spec(tmp_path, server, revision="main")).notice is None
    with serving(Weights("v2")) as server:
        again = go(spec(tmp_path, server, revision="main"))
    assert (again.complete, again.added) == (True, 0)
    assert "v2 says" in (again.notice or "") and "so the figures stand" in caplog.text
    gone = go(spec(tmp_path, server, revision="main"))
    assert gone.complete and "not checked whether" in (gone.notice or "")


def test_another_out_folder_gets_a_run_with_another_identity(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        first = go(spec(tmp_path, server, limit=3))
    with serving(Weights("v2")) as server:
        second = go(spec(tmp_path, server, limit=3, out=tmp_path / "other"))
    assert first.run_id != second.run_id
    assert first.metrics[0]["model_digest"] != second.metrics[0]["model_digest"]


def test_a_finished_run_is_reported_without_its_server_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Weights("v1")) as server:
        done = spec(tmp_path, server)
        first = go(done)
    again = go(done)
    assert (again.run_id, again.added) == (first.run_id, 0)
    assert again.overall[0]["value"] == first.overall[0]["value"]
    assert "not checked whether the server still serves the model" in (again.notice or "")
    assert "not checked" in caplog.text


def test_an_unfinished_run_needs_its_server(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        go(spec(tmp_path, server, limit=3))
        rest = spec(tmp_path, server)
    with pytest.raises(UserError, match="127"):
        go(rest)


def test_a_run_without_a_recorded_fingerprint_is_not_continued(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        first = go(spec(tmp_path, server, limit=3))
        path = first.path / "manifest.json"
        content = json.loads(path.read_text())
        del content["labels"]["fingerprints"]
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match="no fingerprint was recorded"):
            go(spec(tmp_path, server))


def test_a_slip_of_the_server_is_asked_again(tmp_path: Path) -> None:
    with serving(Weights("v1")) as server:
        go(spec(tmp_path, server, limit=3))
    with serving(Weights("v1", slips=1)) as server:
        assert go(spec(tmp_path, server)).complete


def test_logprobs_tell_models_apart_whose_replies_read_the_same(tmp_path: Path) -> None:
    class Twin(Weights):
        def with_logprobs(self, answer: dict[str, Any]) -> dict[str, Any]:
            made = super().with_logprobs(answer)
            for token in made["choices"][0]["logprobs"]["content"]:
                token["logprob"] -= 0.4
            return made

    with serving(Weights("v1"), logprobs=True) as server:
        go(spec(tmp_path, server, limit=3))
    with serving(Weights("v1", jitter=0.02), logprobs=True) as server:
        assert go(spec(tmp_path, server, limit=4)).added == 1
    with (
        serving(Twin("v1"), logprobs=True) as server,
        pytest.raises(UserError, match=r"log-probabilities .* differ by 0\.400"),
    ):
        go(spec(tmp_path, server))


def test_the_servers_own_name_of_what_it_serves_counts(tmp_path: Path) -> None:
    with serving(Weights("v1"), root="/models/step-100", created=1) as server:
        go(spec(tmp_path, server, limit=3))
    with serving(Weights("v1"), root="/models/step-100", created=2) as server:
        assert go(spec(tmp_path, server, limit=4)).added == 1
    with (
        serving(Weights("v1"), root="/models/step-200") as server,
        pytest.raises(UserError, match=r"step-200.*step-100"),
    ):
        go(spec(tmp_path, server))


def test_servers_with_different_weights_are_refused(tmp_path: Path) -> None:
    with (
        serving(Weights("v1")) as one,
        serving(Weights("v2")) as other,
        pytest.raises(UserError, match="is another model"),
    ):
        go(spec(tmp_path, one, other))


def test_the_questions_are_few_fixed_and_greedy() -> None:
    first, second = questions(), questions()
    assert [request.digest for request, _ in first] == [request.digest for request, _ in second]
    assert [images for _, images in first][-1][0].tobytes() == second[-1][1][0].tobytes()
    assert all(request.sampling.temperature == 0 for request, _ in first)
    assert sum(bool(images) for _, images in first) == 1
    assert len(first) * fingerprint.TOKENS < 64


@given(
    st.lists(st.floats(-20, 0), min_size=1, max_size=12),
    st.floats(0, MEAN_TOLERANCE * 0.99),
    st.data(),
)
def test_noise_within_the_bounds_never_tells_models_apart(
    logprobs: list[float], noise: float, data: st.DataObject
) -> None:
    signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=12, max_size=12))
    moved = [p + noise * sign for p, sign in zip(logprobs, signs, strict=False)]
    before = Fingerprint(("a",), (tuple(logprobs),))
    assert difference(before, Fingerprint(("a",), (tuple(moved),))) is None
    beyond = [p + TOKEN_TOLERANCE * 1.01 for p in logprobs]
    assert difference(before, Fingerprint(("a",), (tuple(beyond),))) is not None


@given(st.text(), st.lists(st.floats(-20, 0), max_size=3), st.none() | st.text())
def test_a_fingerprint_survives_the_manifest(
    text: str, logprobs: list[float], root: str | None
) -> None:
    taken = Fingerprint((text,), (tuple(logprobs),), root, 5)
    again = Fingerprint.from_record(json.loads(json.dumps(taken.record())))
    assert difference(taken, again) is None
    assert all(math.isfinite(p) for reply in again.logprobs for p in reply)
    assert again.digest == taken.digest or any(abs(p * 10 % 1 - 0.5) < 0.01 for p in logprobs)
