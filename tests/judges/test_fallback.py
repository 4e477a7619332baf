"""A second opinion is asked for only where the rules found nothing, and both figures stay apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from p2r_bench.errors import UserError
from p2r_bench.judges.fallback import Fallback
from p2r_bench.judges.select import make_judges
from p2r_bench.judges.strict import Strict
from p2r_bench.judges.verifier import Verifier
from tests.judges.samples import judged, sample
from tests.judges.test_chat_service import URL, Server, reply

SERVED = {"url": URL, "model": "m"}


@pytest.fixture
def made(tmp_path: Path) -> Any:
    def make(server: Server) -> Fallback:
        verifier = Verifier(
            URL, "m", cache_dir=tmp_path, retries=0, transport=httpx.MockTransport(server)
        )
        return Fallback(Strict(), verifier)

    return make


def test_the_rules_decide_where_they_find_an_answer(made: Any) -> None:
    server = Server(reply("VERDICT: INCORRECT"))
    verdict = judged(made(server), sample(), "B")
    assert (verdict.scorer, verdict.correct, verdict.fallback) == (
        "strict-then-verifier",
        True,
        None,
    )
    assert server.requests == []


@pytest.mark.parametrize(("word", "correct"), [("CORRECT", True), ("INCORRECT", False)])
def test_the_second_judge_decides_where_they_find_none(made: Any, word: str, correct: bool) -> None:
    verdict = judged(made(Server(reply(f"VERDICT: {word}"))), sample(), "the second one, surely")
    assert (verdict.correct, verdict.fallback) == (correct, "verifier")
    assert (verdict.scorer, verdict.extracted) == ("strict-then-verifier", "the second one, surely")


def test_no_answer_is_not_sent(made: Any) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    verdict = judged(made(server), sample(), None)
    assert (verdict.correct, verdict.fallback, server.requests) == (False, None, [])


def test_a_failing_second_judge_is_an_error(made: Any) -> None:
    verdict = judged(made(Server(httpx.Response(500))), sample(), "the second one, surely")
    assert (verdict.status, verdict.correct, verdict.fallback) == ("error", None, "verifier")


def test_it_is_added_by_an_argument_and_leaves_the_rules_alone(tmp_path: Path) -> None:
    params: dict[str, dict[str, Any]] = {
        "strict": {"fallback": "verifier"},
        "verifier": {**SERVED, "cache_dir": tmp_path},
    }
    plain = make_judges({}, [sample()])
    judges = make_judges(params, [sample()])
    assert [j.scorer for j in judges] == [
        "strict",
        "original",
        "vlmevalkit",
        "strict-then-verifier",
    ]
    assert judges[0].params_hash == plain[0].params_hash
    assert [j.scorer for j in make_judges(params, [sample()], "strict-then-verifier")] == [
        j.scorer for j in judges
    ]


def test_a_second_judge_that_is_not_set_up_or_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("P2R_BENCH_VERIFIER_URL", raising=False)
    with pytest.raises(UserError, match="no url"):
        make_judges({"strict": {"fallback": "verifier"}}, [sample()])
    for second in ("strict", "oracle"):
        with pytest.raises(UserError, match=f"'strict': fallback={second}: must be another scorer"):
            make_judges({"strict": {"fallback": second}}, [sample()])
    with pytest.raises(UserError, match="strict-then-verifier"):
        make_judges({}, [sample()], "strict-then-verifier")
