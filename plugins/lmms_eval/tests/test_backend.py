"""Two stages over a chat model of lmms-eval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models import get_model
from p2r_bench_lmms_eval.backend import BackendEngine
from PIL import Image

from p2r_bench import EngineConfig, EngineError, Message, Request, Sampling, UserError


class Theirs(lmms):
    """A chat model of lmms-eval that reads the question of every request it gets."""

    is_simple = False
    batches: list[list[Any]] = []  # noqa: RUF012
    reply: Callable[[str], Any]

    def __init__(self, pretrained: str = "", batch_size: int = 1) -> None:
        super().__init__()
        self.pretrained, self.batch_size = pretrained, batch_size

    def generate_until(self, requests: list[Instance]) -> list[Any]:
        batch = []
        for request in requests:
            _, to_messages, settings, doc_id, task, split = request.args
            batch.append((to_messages(self.task_dict[task][split][doc_id]), settings))
        type(self).batches.append(batch)
        return [type(self).reply(messages[-1]["content"][-1]["text"]) for messages, _ in batch]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> type[Theirs]:
    Theirs.batches = []
    Theirs.reply = staticmethod(lambda text: GenerationResult(f"re {text}", TokenCounts(5, 2)))
    monkeypatch.setattr("lmms_eval.models.get_model", lambda name: Theirs)
    return Theirs


def request(text: str, **sampling: Any) -> Request:
    messages = (Message("system", ("Be good.",)), Message("user", (text,)))
    return Request("s", "answer", messages, Sampling(**sampling))


def ask(requests: list[Request], **args: str) -> list[Any]:
    async def work() -> list[Any]:
        engine = BackendEngine(EngineConfig("some_model", None, args))
        await engine.start()
        try:
            calls = (engine.generate(r, ()) for r in requests)
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await engine.close()

    return asyncio.run(work())


def test_waiting_requests_go_together_and_each_gets_its_own_answer(chat: type[Theirs]) -> None:
    done = ask([request(f"q{i}") for i in range(5)], batch_size="3")
    assert [c.text for c in done] == [f"re q{i}" for i in range(5)]
    assert [len(batch) for batch in chat.batches] == [3, 2]
    assert (done[0].prompt_tokens, done[0].output_tokens) == (5, 2)


def test_messages_and_sampling_are_passed_on(chat: type[Theirs]) -> None:
    ask([request("q", max_tokens=77, temperature=0.5, top_p=0.9, stop=("end",))])
    ((messages, settings),) = chat.batches[0]
    assert [m["role"] for m in messages] == ["system", "user"]
    assert (settings["max_new_tokens"], settings["temperature"], settings["top_p"]) == (
        77,
        0.5,
        0.9,
    )
    assert settings["do_sample"] is True and settings["until"] == ["end"]


def test_a_model_that_raises_fails_its_requests_and_no_later_ones(chat: type[Theirs]) -> None:
    def reply(text: str) -> str:
        if text == "q0":
            raise RuntimeError("out of memory")
        return text

    chat.reply = staticmethod(reply)
    failed, fine = ask([request("q0"), request("q1")], batch_size="1")
    assert isinstance(failed, EngineError) and "out of memory" in str(failed)
    assert fine.text == "q1"


def test_an_empty_text_is_a_failure_and_no_answer(chat: type[Theirs]) -> None:
    chat.reply = staticmethod(lambda text: "")
    (failed,) = ask([request("q")])
    assert isinstance(failed, EngineError) and failed.kind == "empty"


def test_an_unknown_model_is_refused_at_start() -> None:
    with pytest.raises(UserError, match="lmms-eval cannot make its model 'some_model'"):
        ask([request("q")])


def test_two_stages_run_over_a_backend(
    chat: type[Theirs], load: Callable[[str], Any], tmp_path: Path
) -> None:
    def reply(text: str) -> str:
        boxes = '[{"bbox_2d": [100, 100, 400, 400], "label": "sign"}]'
        return boxes if "bbox_2d" in text else "<think>So.</think><answer>B</answer>"

    chat.reply = staticmethod(reply)
    kind = get_model("p2r")
    model = kind(backend="some_model", pretrained="x", profile="tiny", trace=str(tmp_path))
    task = load("vstar_local")
    task.build_all_requests()
    assert [r.text for r in model.generate_until(task.instances)] == ["B"] * 4
    images = [
        [part["url"] for part in messages[-1]["content"] if part["type"] == "image"]
        for batch in chat.batches
        for messages, _ in batch
    ]
    assert sorted(len(shown) for shown in images) == [1] * 4 + [2] * 4
    assert all(isinstance(image, Image.Image) for shown in images for image in shown)
