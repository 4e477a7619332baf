"""Execution of a training: run the remaining steps and record each."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from p2r_bench.adapter import Profile
from p2r_bench.models import model_digest, model_folder
from p2r_bench.store.lock import Lock
from p2r_bench.types import Sample
from p2r_bench_pra_grpo.config import Config, profile_name, profile_of
from p2r_bench_pra_grpo.data.load import load_samples, samples_digest
from p2r_bench_pra_grpo.identity import identity_of, verifier_model
from p2r_bench_pra_grpo.rounds import evaluation
from p2r_bench_pra_grpo.rounds.stage_steps import StageSteps
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.rounds.steps import Step, model_of, steps
from p2r_bench_pra_grpo.services.manager import ServiceManager
from p2r_bench_pra_grpo.stage import Backend, View

Say = Callable[[str], None]
Moment = Literal["begins", "done", "recorded"]
Watch = Callable[[Step, Moment], None]
"""Function called for every step when it begins, when it is done, and when its result is on disk."""


def _heed_termination() -> None:
    """Handle a termination signal like an interrupt: stop the servers and end the training.

    Called before every step, because an evaluation installs and removes its own handlers.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _nothing(_step: Step, _moment: Moment) -> None: ...


class Rounds:
    """A training.

    Args:
        say: Function called with a line of text when something begins or ends.
        view: Function called with the metrics of every step of a stage.
        watch: Function called at each moment of a step, for tests.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        *,
        say: Say,
        view: View,
        watch: Watch = _nothing,
    ) -> None:
        self.config = config
        self._backend = backend
        self._say = say
        self._view = view
        self._watch = watch

    @property
    def left(self) -> list[Step]:
        """Return the remaining steps."""
        state = State.read(self.config.out)
        if evaluation.reason_to_stop(self.config, state.steps):
            return []
        return [step for step in steps(self.config) if step.name not in state.steps]

    def run(self) -> None:
        """Run the remaining steps. If there are none, no file is touched.

        Raises:
            UserError, ServiceDown: Finished steps are kept; the same call continues after them.
        """
        state = State.read(self.config.out)
        if state.begun:
            state.identify(identity_of(self.config))
        if not self.left:
            return
        self.config.out.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.config.out / ".lock")
        lock.acquire(f"the training in {self.config.out}")
        try:
            self._run(State.read(self.config.out))
        finally:
            lock.release()

    def _run(self, state: State) -> None:
        config = self._located()
        profile, samples = profile_of(config), load_samples(config)
        found = {
            "profile_hash": profile.hash,
            "start_digest": model_digest(model_of(config, 0)),
            "data_digest": samples_digest(samples),
            "verifier_model": verifier_model(config, samples),
        }
        state.identify(identity_of(self.config), found)
        services = ServiceManager(config, samples, self._say)
        try:
            for step in steps(config):
                if why := evaluation.reason_to_stop(config, state.steps):
                    state.stop(why)
                    self._say(why)
                    return
                if step.name not in state.steps:
                    self._take(step, state, config, profile, samples, services)
        finally:
            services.close()

    def _located(self) -> Config:
        """Return the configuration with the start model as a folder, downloaded if necessary."""
        folder = model_folder(self.config.model, self.config.revision)
        named = self.config.profile
        if named is None and folder.resolve() != Path(self.config.model).expanduser().resolve():
            named = profile_name(self.config)
        return replace(self.config, model=str(folder.resolve()), profile=named)

    def _named(self, step: Step) -> str:
        """Return the name, in results, of the model at a round's end. The start model has its configured name."""
        if step.round == 0:
            return self.config.model
        return str(model_of(self.config, step.round))

    def _take(
        self,
        step: Step,
        state: State,
        config: Config,
        profile: Profile,
        samples: Sequence[Sample],
        services: ServiceManager,
    ) -> None:
        _heed_termination()
        self._say(step.name)
        self._watch(step, "begins")
        result: Mapping[str, Any]
        if step.stage is not None:
            work = StageSteps(
                step.stage,
                config,
                profile,
                samples,
                self._backend,
                services,
                state,
                self._view,
                self._say,
            )
            result = work.take(step.kind)
        elif step.kind == "plot":
            from p2r_bench_pra_grpo.rounds.plot import plot_round

            result = plot_round(config, step.round, state.steps)
        else:
            services.ensure_verifier()
            result = evaluation.evaluate_model(config, self._named(step))
            self._say(f"{step.name}: {evaluation.shown(result)}")
        self._watch(step, "done")
        state.record(step.name, result)
        self._watch(step, "recorded")
