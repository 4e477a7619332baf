"""A reward worker: patient with a service that is away for a moment, and heard when it gives one up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from making import TINY, URL, config_of, prepared, rolled_out
from omegaconf import OmegaConf
from p2r_bench_pra_grpo.backends.verl.dataset import StageDataset
from p2r_bench_pra_grpo.backends.verl.journal import DOWN
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.reward import RolloutFailed, StageRewardManager
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.stage import ServiceDown, StageRole
from pra_grpo_testing import FakeServer, write_p2r10k
from verl.utils import hf_tokenizer


class Server(FakeServer):
    """Is away for the next calls."""

    away = 0

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.away:
            self.away -= 1
            return 503, b"{}"
        return super().answer(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("p2r_bench_pra_grpo.services.breaker.FIRST_WAIT_S", 0.01)
    with Server("served") as running:
        yield running


def worker(
    config: Config, role: StageRole, server: Server
) -> tuple[StageRewardManager, StageDataset, StagePaths]:
    at = {"name": "the frozen reasoner", "urls": [server.url], "model": "served"}
    _, _, paths, told = prepared(config, role, at=at)
    values = OmegaConf.create({"data": told.data, "reward": {"num_workers": 1}})
    manager = StageRewardManager(values, hf_tokenizer(str(TINY)))
    return manager, StageDataset(told.data.train_files, None, told.data), paths


def test_a_frozen_model_that_is_away_at_the_first_call_is_asked_again(
    tmp_path: Path, server: Server
) -> None:
    manager, _, _ = worker(config_of(tmp_path, rows=4), "perceiver", server)
    server.away = 3
    manager.loop.run_until_complete(manager._connected())
    manager.loop.run_until_complete(manager._open.aclose())
    assert server.away == 0


def test_a_frozen_model_that_stays_away_is_given_up(tmp_path: Path, server: Server) -> None:
    services = {"reasoner": URL, "perceiver": URL, "pause_at_most": 0.0}
    manager, _, _ = worker(config_of(tmp_path, rows=4, services=services), "perceiver", server)
    server.away = 10**9
    with pytest.raises(ServiceDown, match=r"the frozen model cannot be used: .*simple request"):
        manager.loop.run_until_complete(manager._connected())


def test_a_worker_that_gives_up_the_verifier_leaves_word(tmp_path: Path, server: Server) -> None:
    verifier = {"kind": "url", "urls": [server.url], "model": "served"}
    limits = {"retries": 0, "pause_after": 2, "pause_at_most": 0.0}
    config = config_of(
        tmp_path,
        data=[{"format": "p2r-10k", "path": str(write_p2r10k(tmp_path, forms=("free_form",)))}],
        services={"reasoner": URL, "perceiver": URL, "verifier": verifier, **limits},
        judges={"verifier": {"cache_dir": str(tmp_path / "replies")}},
    )
    manager, rows, paths = worker(config, "baseline", server)
    server.away = 10**9
    for number in range(3):
        assert not (paths.journals / DOWN).exists()
        answer = f"<think>x</think><answer>{number}</answer>"
        with pytest.raises(RolloutFailed):
            coming = manager.run_single(rolled_out(rows[0], answer, manager.tokenizer))
            manager.loop.run_until_complete(coming)
    assert "the verifier has not answered" in (paths.journals / DOWN).read_text()
