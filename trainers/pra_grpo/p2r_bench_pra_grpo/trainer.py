"""`p2r-bench train pra-grpo`: plan, run and status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.terminal import echo
from p2r_bench_pra_grpo.backends import make_backend
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.stage import ServiceDown

_SHOWN = {
    "reward_mean": "reward {:.3f}",
    "kl": "KL {:.4f}",
    "entropy": "entropy {:.2f}",
    "response_tokens_mean": "{:.0f} tokens",
    "clip_share": "clipped {:.1%}",
    "failed_share": "failed {:.1%}",
    "box_count_mean": "{:.1f} boxes",
    "iou_mean": "IoU {:.2f}",
    "seconds": "{:.0f} s",
}
"""Column of the metrics to its format in a line of progress."""


class PRAGRPO:
    """Training of a perceiver and a reasoner in turns.

    Args:
        config: Values of the user's TOML file; docs/training.md has all keys.

    Raises:
        UserError: A value cannot be used.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = load_config(config)
        self._backend = make_backend(self.config)

    def plan(self) -> Sequence[Mapping[str, Any]]:
        """Return every remaining step, with its commands, hosts, ports, GPUs and files.

        Raises:
            UserError: The folder holds a training with another configuration.
        """
        from p2r_bench_pra_grpo.identity import identity_of
        from p2r_bench_pra_grpo.rounds.planning import plan
        from p2r_bench_pra_grpo.rounds.state import State

        state = State.read(self.config.out)
        if state.begun:
            state.identify(identity_of(self.config))
        return plan(self.config, self._backend)

    def run(self) -> None:
        """Run the remaining steps; see `Trainer.run`."""
        from p2r_bench_pra_grpo.rounds.machine import Rounds

        rounds = Rounds(self.config, self._backend, say=_say, view=_view)
        try:
            rounds.run()
        except ServiceDown as error:
            raise UserError(f"paused: {error}") from error
        _say(f"finished: {self.config.out / 'model'}")

    def status(self) -> Mapping[str, Any]:
        """Return the progress, from the files on disk."""
        from p2r_bench_pra_grpo.rounds.status import status

        return status(self.config)


def _say(line: str) -> None:
    echo(line, err=True)


def _view(row: Mapping[str, Any]) -> None:
    parts = [text.format(row[name]) for name, text in _SHOWN.items() if row.get(name) is not None]
    _say(f"round {row['round']} {row['role']} step {row['step']}: {', '.join(parts)}")
