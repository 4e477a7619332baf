"""A server on this machine or elsewhere: started or adopted, health-checked, stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.config import ServiceConfig
from p2r_bench_pra_grpo.services.processes import birth, stop

_POLL_S = 0.2
_LOG_LINES = 20
_HTTP_TIMEOUT_S = 10.0

Say = Callable[[str], None]


class Server:
    """One server of a training.

    Args:
        role: "reasoner", "perceiver" or "verifier"; names its record and its log.
        model: Value of the command's {model}.
        name: Name under which the model must be served.
        folder: Folder of record and log.
    """

    def __init__(
        self, role: str, service: ServiceConfig, model: str, name: str, folder: Path, say: Say
    ) -> None:
        self.role = role
        self.service = service
        self.model = model
        self.name = name
        self.urls = service.urls if service.kind == "url" else (service.url,)
        self.log = folder / f"{role}.log"
        self._record = folder / f"{role}.json"
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """Words of the server's command, filled in; empty for a server that runs elsewhere."""
        values = {"model": self.model, "name": self.name, "port": str(self.service.port)}
        return [_filled(word, values) for word in self.service.command]

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the started server, beside this process's environment."""
        gpus = ",".join(map(str, self.service.gpus))
        return {**({"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}), **self.service.environment}

    def ensure(self) -> None:
        """Adopt a running server with the right model, else start one.

        Raises:
            UserError: The server does not start, or serves another model.
        """
        if self.service.kind == "url":
            for url in self.urls:
                self._check_elsewhere(url)
            return
        if self._is_left_running():
            self._say(f"{self.role}: goes on with the server at {self.urls[0]}")
            return
        self.stop()
        served = served_models(self.urls[0])
        if served is not None:
            raise UserError(
                f"services.{self.role}.port = {self.service.port}: another server answers there (it serves "
                f'{", ".join(served) or "nothing"}). Stop it, choose another port, or use kind = "url"'
            )
        self._start()
        self._wait()

    def stop(self) -> None:
        """Stop the server if this training started it; safe to call at any time."""
        if self._process is not None:
            stop(self._process.pid, birth(self._process.pid))
            self._process.wait()
            self._process = None
        stop_recorded(self._record)

    def _is_left_running(self) -> bool:
        facts = read_record(self._record)
        if not facts or facts["command"] != self.command:
            return False
        if facts["birth"] is None or birth(int(facts["pid"])) != facts["birth"]:
            return False
        try:
            self._wait(facts)
        except UserError:
            return False
        return True

    def _start(self) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-m", "p2r_bench_pra_grpo.services.launch", str(self._record)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*launcher, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self._say(f"{self.role}: starts {' '.join(self.command)}")

    def _wait(self, facts: Mapping[str, Any] | None = None) -> None:
        """Wait until the server lists its model.

        Raises:
            UserError: The server exits, does not answer in time, or serves another model.
        """
        until = time.monotonic() + self.service.start_timeout
        while time.monotonic() < until:
            served = served_models(self.urls[0])
            if served is not None:
                if self.name not in served:
                    raise UserError(
                        f"{self.role}: {self.urls[0]} serves {', '.join(served) or 'nothing'}, not {self.name}: "
                        f"services.{self.role}.command must serve it under {{name}}"
                    )
                return
            ended = self._process is not None and self._process.poll() is not None
            if ended or (facts and birth(int(facts["pid"])) != facts["birth"]):
                raise UserError(
                    f"{self.role}: the server has ended; {self.log} ends with\n{self._tail()}"
                )
            time.sleep(_POLL_S)
        raise UserError(
            f"{self.role}: no answer from {self.urls[0]} in {self.service.start_timeout:g} s "
            f"(services.{self.role}.start_timeout); {self.log} ends with\n{self._tail()}"
        )

    def _check_elsewhere(self, url: str) -> None:
        served = served_models(url)
        if served is None:
            raise UserError(
                f"{self.role}: {url} does not answer. Serve {self.model} there under the name {self.name}; "
                "the same command then goes on"
            )
        if self.name not in served:
            raise UserError(
                f"{self.role}: {url} serves {', '.join(served) or 'nothing'}, not {self.name}. Serve {self.model} "
                "there under that name; the same command then goes on"
            )

    def _tail(self) -> str:
        try:
            lines = self.log.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return "  (no log)"
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


def read_record(record: Path) -> dict[str, Any] | None:
    """Return the record of a started server: pid, birth and command; None when it is missing or unusable."""
    try:
        facts = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and {"pid", "birth", "command"} <= set(facts) else None


def stop_recorded(record: Path) -> None:
    """Stop the server of a record, also one that another process of this training started."""
    if facts := read_record(record):
        stop(int(facts["pid"]), facts["birth"])
    record.unlink(missing_ok=True)


def served_models(url: str) -> list[str] | None:
    """Return the names that a server lists, or None without a usable answer."""
    try:
        response = httpx.get(f"{url.rstrip('/')}/models", timeout=_HTTP_TIMEOUT_S)
        response.raise_for_status()
        return [str(entry["id"]) for entry in response.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def _filled(word: str, values: Mapping[str, str]) -> str:
    """Fill the {placeholders} of a word of a command; other braces, such as JSON's, stay."""
    for key, value in values.items():
        word = word.replace(f"{{{key}}}", value)
    return word
