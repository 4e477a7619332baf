"""The openai engine's start: a busy or loading server is waited for, and a refusal names its way out."""

from __future__ import annotations

import json
import logging

import pytest

from p2r_bench.errors import UserError
from tests.engines.local_server import Fault, LocalServer
from tests.engines.test_openai import UNCHECKED, capabilities, use

BUSY = Fault(503, b'{"error": "overloaded"}', {"Retry-After": "0"})


def test_one_busy_moment_among_the_probes_changes_nothing(scripted_server: LocalServer) -> None:
    """Whichever probe meets it: fields, schema, sizes or the number of images."""
    scripted_server.schemas = True
    found = use(scripted_server, capabilities)
    probes = len(scripted_server.bodies)
    assert found.schema and found.max_pixels and found.facts["extra_fields"]
    for fault in (BUSY, Fault(500, headers={"Retry-After": "0"}), Fault(drop=True)):
        for before in range(0, probes, 2):
            scripted_server.fail_next({before: fault})
            assert use(scripted_server, capabilities) == found
            assert not scripted_server.fault_at


def test_a_server_that_stays_busy_is_an_error_not_a_missing_capability(
    scripted_server: LocalServer,
) -> None:
    scripted_server.fail_next(dict.fromkeys(range(1, 40), BUSY))
    with pytest.raises(UserError, match="503: overloaded"):
        use(scripted_server, capabilities, retries="1")


def test_a_loading_server_is_waited_for(
    scripted_server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_server.listing.extend([Fault(503, b"loading")] * 2)
    with caplog.at_level(logging.WARNING):
        assert use(scripted_server, capabilities, wait="30", retries="0", **UNCHECKED).facts
    (sign,) = [r.getMessage() for r in caplog.records if r.name.endswith("openai_start")]
    assert "is not ready; waiting up to" in sign and "503: loading" in sign
    assert not scripted_server.listing


def test_a_loading_server_without_a_list_is_waited_for_too(scripted_server: LocalServer) -> None:
    scripted_server.fail_next({0: Fault(503, b"loading"), 1: Fault(502, b"bad gateway")})
    args = {"check_model": "no", "wait": "30", "retries": "0", **UNCHECKED}
    assert use(scripted_server, capabilities, **args).facts


def test_a_server_that_is_not_there_says_how_to_wait() -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/v1 .*--engine-arg wait=600"):
        use("http://127.0.0.1:9/v1", capabilities)


def test_waiting_ends(scripted_server: LocalServer) -> None:
    scripted_server.listing.extend([Fault(503, b"loading")] * 50)
    with pytest.raises(UserError, match="503: loading"):
        use(scripted_server, capabilities, wait="0.7", retries="0")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable(
    scripted_server: LocalServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    scripted_server.listing.append(Fault(status, b'{"error": {"message": "no"}}'))
    with pytest.raises(UserError, match=r"OPENAI_API_KEY is empty.*api_key_env=.*api_key_header="):
        use(scripted_server, capabilities)
    monkeypatch.setenv("MY_KEY", "sesame")
    scripted_server.listing.append(Fault(status, b'{"error": {"message": "no"}}'))
    with pytest.raises(UserError, match="MY_KEY holds a key that it refuses") as refused:
        use(scripted_server, capabilities, api_key_env="MY_KEY")
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "listing",
    [Fault(404, b"not found"), Fault(405), Fault(200, b"[]"), Fault(200, b'{"data": {"id": 1}}')],
)
def test_a_server_without_a_list_of_models_says_check_model(
    scripted_server: LocalServer, listing: Fault
) -> None:
    scripted_server.listing.extend([listing] * 2)
    with pytest.raises(UserError, match="check_model=no"):
        use(scripted_server, capabilities, retries="1")


@pytest.mark.parametrize(
    ("message", "way_out"),
    [
        ("Unsupported parameter: 'temperature'", "omit=temperature "),
        ("'frequency_penalty' and 'seed' are not supported", "omit=frequency_penalty,seed "),
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "max_tokens_field=max_completion_tokens",
        ),
    ],
)
def test_a_refused_field_says_how_to_leave_it_out(
    scripted_server: LocalServer, message: str, way_out: str
) -> None:
    body = json.dumps({"error": {"message": message}}).encode()
    scripted_server.fail_next(dict.fromkeys(range(5), Fault(400, body)))
    with pytest.raises(UserError, match=way_out):
        use(scripted_server, capabilities)


def test_too_few_images_name_the_profiles_field(scripted_server: LocalServer) -> None:
    scripted_server.most_images = 2
    with pytest.raises(UserError, match=r"limit-mm-per-prompt.*crop\.count"):
        use(scripted_server, capabilities, max_pixels="131072")
