"""The built-in judges keep the contract that third-party judges are held to."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from p2r_bench.judges.verifier import Verifier
from p2r_bench.plugins import registry
from p2r_bench.testing import JudgeContract, ServiceJudgeContract


class TestStrict(JudgeContract):
    judge = "strict"
    right = ("b", "(B)", "Green", "The answer is B")
    wrong = ("C", "A or B", "not B", "Z")


class TestOriginal(JudgeContract):
    judge = "original"
    right = ("B", "Answer: B")
    wrong = ("b", "C", "Z")


class TestVLMEvalKit(JudgeContract):
    judge = "vlmevalkit"
    right = ("B", "Answer: B", "the green one")
    wrong = ("b", "C", "A or B", "Z")


class TestNumeric(JudgeContract):
    judge = "numeric"
    right = ("1.0", "There is 1.")
    wrong = ("2", "1 or 2")


class TestYesNo(JudgeContract):
    judge = "yes-no"
    right = ("Yes.", "YES, it is")
    wrong = ("no", "yes and no")


class TestWord(JudgeContract):
    judge = "word"
    right = ("Green.", "a green")
    wrong = ("blue", "green square")


class TestVerifier(ServiceJudgeContract):
    judge = "verifier"
    right = ("It shows a green square",)
    wrong = ("a dog",)

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path) -> None:
        self.cache_dir = tmp_path

    def make(self) -> Verifier:
        return self._with(_says_yes_to_squares)

    def make_broken(self) -> Verifier:
        return self._with(lambda request: httpx.Response(500))

    def _with(self, service: httpx.MockTransport | object) -> Verifier:
        transport = httpx.MockTransport(service)  # type: ignore[arg-type]
        return Verifier(
            "http://test/v1", "model", cache_dir=self.cache_dir, retries=0, transport=transport
        )


def _says_yes_to_squares(request: httpx.Request) -> httpx.Response:
    verdict = "INCORRECT" if b"a dog" in request.content else "CORRECT"
    return httpx.Response(200, json={"choices": [{"message": {"content": f"Verdict: {verdict}"}}]})


def test_every_judge_is_held_to_the_contract() -> None:
    contracts = [*JudgeContract.__subclasses__(), *ServiceJudgeContract.__subclasses__()]
    named = {c.judge for c in contracts if c.__module__ == __name__}
    assert named == set(registry().names("judge"))
