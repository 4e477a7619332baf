"""`verifier`: a model decides; its failures decide nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.errors import UserError
from p2r_bench.judges.verifier import Verifier, parse_verdict
from tests.judges.samples import judged, sample
from tests.judges.test_chat_service import URL, Server, reply

QUESTION = sample("a red car", "free", question="What is $parked there?")


@pytest.fixture
def made(tmp_path: Path) -> Any:
    def make(server: Server, **params: Any) -> Verifier:
        params = {"url": URL, "model": "judge-1", "retries": 0, "cache_dir": tmp_path, **params}
        return Verifier(**params, transport=httpx.MockTransport(server))

    return make


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VERDICT: CORRECT", True),
        ("It differs.\nVERDICT: INCORRECT", False),
        ("**Verdict:** correct", True),
        ("CORRECT", True),
        ("incorrect.", False),
        ("<think>VERDICT: CORRECT?</think>\nVERDICT: INCORRECT", False),
        ("It says VERDICT: INCORRECT?</think>VERDICT: CORRECT", True),
        ("CORRECT or INCORRECT? They agree.\nVERDICT: CORRECT", True),
        ("VERDICT: INCORRECT. The answer is not correct.", False),
        ("VERDICT: CORRECT because it is the same.", True),
    ],
)
def test_the_verdict_line_decides(text: str, expected: bool) -> None:
    assert parse_verdict(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think it is correct",
        "VERDICT: NOT CORRECT",
        "VERDICT: CORRECT or VERDICT: INCORRECT",
        "<think>VERDICT: CORRECT</think>",
        "<think>VERDICT: CORRECT",
        "VERDICT: CORRECT</think>",
        "CORRECT or INCORRECT?",
        "VERDICT: CORRECT or INCORRECT?",
        "VERDICT: CORRECT / INCORRECT",
        "VERDICT: [CORRECT|INCORRECT]",
        "VERDICT: CORRECT?",
        "CORRECT?",
        "VERDICT: CORRECT\nVERDICT: INCORRECT",
    ],
)
def test_a_reply_without_one_verdict_says_nothing(text: str) -> None:
    assert parse_verdict(text) is None


@given(st.text())
def test_any_reply_can_be_read(text: str) -> None:
    assert parse_verdict(text) in (True, False, None)


def test_the_model_gets_question_reference_and_answer_and_decides(made: Any) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    verdict = judged(made(server), QUESTION, "it is a car, a red one; $reference")
    assert (verdict.status, verdict.correct) == ("ok", True)
    assert verdict.extracted == "it is a car, a red one; $reference"
    body = json.loads(server.requests[0].content)
    assert (body["model"], body["temperature"], body["top_p"]) == ("judge-1", 0.0, 1.0)
    for text in ("What is $parked there?", "a red car", "it is a car, a red one; $reference"):
        assert text in body["messages"][0]["content"]


def test_the_model_can_say_wrong(made: Any) -> None:
    verdict = judged(made(Server(reply("VERDICT: INCORRECT"))), QUESTION, "a bus")
    assert (verdict.status, verdict.correct) == ("ok", False)


def test_no_answer_is_wrong_without_asking(made: Any) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    verdict = judged(made(server), QUESTION, None)
    assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)
    assert server.requests == []


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.Response(500), "http_500"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (reply("I would rather not say"), "unparsable_reply"),
        (reply("<think>VERDICT: CORRECT"), "unparsable_reply"),
        (reply("VERDICT: CORRECT", finish_reason="length"), "cut_off"),
        (reply("VERDICT: CORRECT", finish_reason="abort"), "bad_reply"),
        (reply("VERDICT: CORRECT", finish_reason="content_filter"), "refused"),
        (reply(""), "bad_reply"),
        (httpx.Response(200, json={"error": {"message": "overloaded"}}), "bad_reply"),
        (httpx.Response(200, json={"choices": None}), "bad_reply"),
    ],
)
def test_a_failing_verifier_is_an_error_and_never_cached(
    made: Any, failure: Any, kind: str
) -> None:
    server = Server(failure, reply("VERDICT: CORRECT"))
    verifier = made(server)
    failed = judged(verifier, QUESTION, "a car")
    assert (failed.status, failed.correct, failed.extracted) == ("error", None, None)
    assert failed.error is not None and failed.error.type == kind
    assert judged(made(server), QUESTION, "a car").correct is True


def test_a_reply_is_asked_for_once(made: Any) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    for _ in range(2):
        assert judged(made(server), QUESTION, "a car").correct is True
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("params", "question", "answer"),
    [
        ({"model": "judge-2"}, QUESTION, "a car"),
        ({"max_tokens": 5}, QUESTION, "a car"),
        ({}, QUESTION, "a bus"),
        ({}, sample("a car", "free", question=QUESTION.question), "a car"),
        ({}, sample("a red car", "free", question="What?"), "a car"),
    ],
)
def test_anything_that_can_change_the_reply_asks_again(
    made: Any, params: dict[str, Any], question: Any, answer: str
) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    judged(made(server), QUESTION, "a car")
    judged(made(server, **params), question, answer)
    assert len(server.requests) == 2


def test_a_damaged_cache_file_is_asked_for_again(made: Any, tmp_path: Path) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    judged(made(server), QUESTION, "a car")
    (file,) = tmp_path.rglob("*.json")
    for damage in (b"", b"[]", b'{"question": {}, "reply": "VERDICT: INCORRECT"}', b"\xff"):
        file.write_bytes(damage)
        assert judged(made(server), QUESTION, "a car").correct is True
    assert len(server.requests) == 5


def test_a_cache_that_cannot_be_written_costs_no_verdict(
    made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    verifier = made(Server(reply("VERDICT: CORRECT")), cache_dir=blocked)
    assert judged(verifier, QUESTION, "a car").correct is True
    assert "not cached" in caplog.text


def test_params_hash_tells_model_and_prompt_apart_and_not_the_address(made: Any) -> None:
    server = Server(reply(""))
    base = made(server)
    assert made(server, url="http://elsewhere.test/v1").params_hash == base.params_hash
    assert made(server, model="judge-2").params_hash != base.params_hash
    assert made(server, max_tokens=7).params_hash != base.params_hash


def test_it_judges_free_answers_and_captions_unless_told_otherwise() -> None:
    assert Verifier().applies(QUESTION) and Verifier().applies(sample("x", "caption"))
    assert not Verifier().applies(sample()) and not Verifier().applies(sample("x", "word"))
    assert Verifier(forms="word, free").applies(sample("x", "word"))


def test_url_and_model_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2R_BENCH_VERIFIER_URL", URL)
    monkeypatch.setenv("P2R_BENCH_VERIFIER_MODEL", "judge-1")
    assert (Verifier().url, Verifier().model) == (URL, "judge-1")


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, "url.*P2R_BENCH_VERIFIER_URL"),
        ({"url": URL}, "model.*P2R_BENCH_VERIFIER_MODEL"),
        ({"url": "localhost:8000", "model": "m"}, "not an http"),
        ({"url": URL, "model": "m", "api_key": "P2R_NO_SUCH_KEY"}, "P2R_NO_SUCH_KEY"),
    ],
)
def test_what_is_missing_is_refused_at_the_start(
    params: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("P2R_BENCH_VERIFIER_URL", raising=False)
    monkeypatch.delenv("P2R_BENCH_VERIFIER_MODEL", raising=False)
    with pytest.raises(UserError, match=told):
        Verifier(**params, cache_dir=tmp_path).check()


def test_a_cache_folder_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cache_dir"):
        Verifier(URL, "m", cache_dir=tmp_path / "file").check()


@pytest.mark.parametrize(
    "params",
    [{"forms": "novel"}, {"forms": ""}, {"retries": -1}, {"timeout": "soon"}, {"concurrency": 0}],
)
def test_unusable_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(params))):
        Verifier(**params)


OFF = {"enable_thinking": False}


def kwargs_of(server: Server) -> list[Any]:
    return [json.loads(r.content).get("chat_template_kwargs") for r in server.requests]


def test_thinking_is_switched_off_and_the_cap_is_an_argument(made: Any) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    judged(made(server, max_tokens="77"), QUESTION, "a car")
    assert kwargs_of(server) == [OFF]
    assert json.loads(server.requests[0].content)["max_tokens"] == 77
    judged(made(server, thinking="on"), QUESTION, "a car")
    assert kwargs_of(server) == [OFF, None]
    with pytest.raises(UserError, match="thinking is 'no'"):
        made(server, thinking="no")


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_the_switch_is_asked_without_it_from_then_on(
    made: Any, status: int
) -> None:
    server = Server(httpx.Response(status, text="unknown field"), reply("VERDICT: CORRECT"))
    verifier = made(server)
    assert judged(verifier, QUESTION, "a car").correct is True
    assert judged(verifier, QUESTION, "a bus").correct is True
    assert kwargs_of(server) == [OFF, None, None]


def test_a_request_that_is_refused_either_way_is_an_error(made: Any) -> None:
    verdict = judged(made(Server(httpx.Response(400, text="no such model"))), QUESTION, "a car")
    assert verdict.error is not None and verdict.error.type == "http_400"


def test_a_choice_question_is_asked_with_its_options(made: Any) -> None:
    server = Server(reply("VERDICT: CORRECT"))
    judged(made(server, forms="choice"), sample(), "the second")
    prompt = json.loads(server.requests[0].content)["messages"][0]["content"]
    chosen = sample()
    assert f"{chosen.answer}. {chosen.options[chosen.answer]}\n</reference>" in prompt
    for letter, text in chosen.options.items():
        assert f"\n{letter}. {text}" in prompt
