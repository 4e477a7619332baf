"""Requirements of hosted servers beside the standard: keys, headers, queries and fields of their own."""

from __future__ import annotations

import json

import pytest

from p2r_bench.engines.openai import OpenAIEngine
from p2r_bench.errors import EngineError, UserError
from p2r_bench.http.retries import endpoint_of
from p2r_bench.redaction import redacted_arguments, redacted_command
from p2r_bench.types import EngineConfig
from tests.engines.local_server import Fault, LocalServer, reply
from tests.engines.test_openai import UNCHECKED, ask, ask_after_faults, capabilities, use


def last_headers(server: LocalServer, **args: str) -> dict[str, str]:
    use(server, ask(), **UNCHECKED, **args)
    return {name.lower(): value for name, value in server.headers[-1].items()}


def test_the_key_goes_with_every_request(
    scripted_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", " sesame \n")
    last_headers(scripted_server, api_key_env="MY_KEY")
    assert len(scripted_server.headers) > 2
    assert {headers["Authorization"] for headers in scripted_server.headers} == {"Bearer sesame"}


def test_the_key_goes_bare_in_another_header(
    scripted_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    headers = last_headers(scripted_server, api_key_header="api-key")
    assert headers["api-key"] == "sesame"
    assert "authorization" not in headers


@pytest.mark.parametrize("key", ["sesam\u00e9", "se\u200bsame", "se\nsame"])
def test_a_key_that_no_header_can_hold_is_a_message(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match=r"OPENAI_API_KEY holds U\+") as refused:
        use("http://127.0.0.1:9", capabilities)
    assert key not in str(refused.value)


def test_a_named_variable_without_a_key_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UserError, match="api_key_env=MY_KEY: this environment variable is not set"):
        use("http://127.0.0.1:9", capabilities, api_key_env="MY_KEY")


@pytest.mark.parametrize(
    "headers", ["X-Team=${TEAM},X-Title=p2r=1", '{"X-Team": "${TEAM}", "X-Title": "p2r=1"}']
)
def test_headers_are_sent_with_values_of_environment_variables(
    scripted_server: LocalServer, headers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM", "red ")
    sent = last_headers(scripted_server, headers=headers)
    assert (sent["x-team"], sent["x-title"]) == ("red", "p2r=1")
    monkeypatch.delenv("TEAM")
    with pytest.raises(UserError, match="environment variable TEAM is not set"):
        use(scripted_server, capabilities, headers=headers)


def test_a_query_goes_with_every_call(scripted_server: LocalServer) -> None:
    args = {"base_url": f"{scripted_server.url}?tenant=a%26b", "api_version": "2025-01-01"}
    config = EngineConfig("scripted", args={**args, **UNCHECKED})
    use(scripted_server, ask(), **config.args)
    assert {path.partition("?")[2] for path in scripted_server.paths} == {
        "tenant=a%26b&api-version=2025-01-01"
    }


def test_the_token_cap_may_have_another_name(scripted_server: LocalServer) -> None:
    scripted_server.known = scripted_server.known - {"max_tokens"} | {"max_completion_tokens"}
    args = {"max_tokens_field": "max_completion_tokens", **UNCHECKED}
    use(scripted_server, ask(max_tokens=3), **args)
    assert scripted_server.bodies[-1]["max_completion_tokens"] == 3


def test_omitted_fields_are_not_sent_and_are_recorded(scripted_server: LocalServer) -> None:
    scripted_server.known = scripted_server.known - {"temperature", "seed", "top_k"}
    args = {"omit": "temperature,seed,top_k", **UNCHECKED}
    assert use(scripted_server, ask(temperature=0.7, top_k=20), **args).text
    assert not {"temperature", "seed", "top_k"} & scripted_server.bodies[-1].keys()
    can = use(scripted_server, capabilities, **args)
    assert can.facts["omitted"] == ["seed", "temperature", "top_k"]


def test_further_fields_are_sent_and_recorded(scripted_server: LocalServer) -> None:
    scripted_server.known = scripted_server.known | {"chat_template_kwargs"}
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    args = {"extra_body": json.dumps(extra), **UNCHECKED}
    use(scripted_server, ask(), **args)
    assert scripted_server.bodies[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert use(scripted_server, capabilities, **args).facts["extra_body"] == extra


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"omit": "warmth"}, "omit=warmth: not a field of requests; they are frequency_penalty"),
        ({"omit": "messages"}, "omit=messages: not a field"),
        ({"extra_body": '{"temperature": 0.5}'}, "temperature is set by the profile"),
        ({"extra_body": '{"model": "b"}'}, "model is set by the profile"),
        ({"extra_body": "temperature=1"}, "must be a JSON object"),
        ({"extra_body": "[1]"}, "must be a JSON object"),
        ({"headers": "X-Team"}, "must be a JSON object, or K=V"),
        ({"headers": '{"X-Team": 3}'}, r"\[X-Team\] must be text"),
        ({"max_tokens_field": "limit"}, "must be max_tokens or max_completion_tokens"),
    ],
)
def test_what_cannot_be_sent_is_refused(args: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OpenAIEngine(EngineConfig("m", args=args))


@pytest.mark.parametrize("header", ["X Team=a", "=a"])
def test_a_header_needs_a_name(header: str) -> None:
    with pytest.raises(UserError, match="headers"):
        use("http://127.0.0.1:9", capabilities, headers=header)


SECRETS = ["hunter2", "s3cret", "t0ken"]


def test_nothing_secret_is_shown_or_stored() -> None:
    url = "http://me:hunter2@127.0.0.1:9/v1?key=s3cret"
    assert endpoint_of(url, {}).url == "http://***@127.0.0.1:9/v1"
    with pytest.raises(UserError) as refused:
        use(url, capabilities, headers="X-Key=t0ken")
    args = {"base_url": f"{url},me:hunter2@b:80", "headers": "X-Key=t0ken", "retries": "2"}
    stored = redacted_arguments(args)
    assert stored["retries"] == "2" and "127.0.0.1:9/v1" in stored["base_url"]
    words = [f"{name}={value}" for name, value in args.items()]
    command = redacted_command(
        ["run", *words, f"--engine-arg=reason:{words[1]}", f"perceive:{words[0]}", "--model", "a@b"]
    )
    assert command[-1] == "a@b" and command[0] == "run"
    for text in (str(refused.value), str(stored), str(command)):
        assert not [secret for secret in SECRETS if secret in text]


def test_a_query_or_password_is_not_part_of_the_recorded_endpoint(
    scripted_server: LocalServer,
) -> None:
    url = f"{scripted_server.url}?key=s3cret".replace("://", "://me:hunter2@")
    assert use(url, ask(), **UNCHECKED).engine["endpoint"] == scripted_server.url.replace(
        "://", "://***@"
    )
    assert scripted_server.paths[-1].endswith("?key=s3cret")


# Bounds


def test_an_answer_that_trickles_is_bounded_as_a_whole(scripted_server: LocalServer) -> None:
    body = json.dumps(reply(content="B" * 200)).encode()
    error = ask_after_faults(scripted_server, Fault(200, body, piece=1), timeout="0.5", retries="0")
    assert isinstance(error, EngineError) and error.kind == "timeout"


def test_an_endless_answer_is_given_up(
    scripted_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2r_bench.http import retries

    monkeypatch.setattr(retries, "LARGEST_ANSWER", 4096)
    body = json.dumps(reply(content="B" * 5000)).encode()
    error = ask_after_faults(scripted_server, Fault(200, body), retries="0")
    assert isinstance(error, EngineError)
    assert (error.kind, "longer than 4096 bytes" in str(error)) == ("bad_response", True)
