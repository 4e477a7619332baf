"""Paths of a stage's files that only this backend writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2r_bench_pra_grpo.stage import Stage


@dataclass(frozen=True)
class StagePaths:
    """Files below a stage's folder, at the same path on every node.

    Attributes:
        folder: Folder that holds all of these files.
        attempt: Number of the stage's start, from 1: logs of an earlier start are not overwritten.
    """

    folder: Path
    attempt: int

    @property
    def rows(self) -> Path:
        """The stage's rows; see `rows`."""
        return self.folder / "rows.parquet"

    @property
    def images(self) -> Path:
        """Images that came without a file."""
        return self.folder / "images"

    @property
    def stage_file(self) -> Path:
        """See `stage_file`."""
        return self.folder / "stage.json"

    @property
    def agent_loop(self) -> Path:
        """verl's list of agent loops."""
        return self.folder / "agent_loop.yaml"

    @property
    def checkpoints(self) -> Path:
        """Folder of verl's checkpoints of this stage only, since verl resumes from the newest one in the folder."""
        return self.folder / "checkpoints"

    @property
    def attempt_folder(self) -> Path:
        """Logs of this attempt."""
        return self.folder / f"attempt-{self.attempt}"

    @property
    def installed(self) -> Path:
        """Facts of this attempt: interpreter, versions, and whether sequences are packed."""
        return self.attempt_folder / "installed.json"

    @property
    def log(self) -> Path:
        """One JSON line per step, by verl's file logger."""
        return self.attempt_folder / "steps.jsonl"

    @property
    def journals(self) -> Path:
        """One journal of rollouts per reward worker; see `journal`."""
        return self.attempt_folder / "rollouts"

    @property
    def output(self) -> Path:
        """File of verl's output."""
        return self.attempt_folder / "verl.log"

    @classmethod
    def next(cls, stage: Stage) -> StagePaths:
        """Return the paths of the next attempt."""
        done = cls.attempts(stage)
        return cls((stage.folder / "verl").resolve(), (done[-1].attempt + 1) if done else 1)

    @classmethod
    def attempts(cls, stage: Stage) -> list[StagePaths]:
        """Return the paths of the attempts so far, in order."""
        folder = (stage.folder / "verl").resolve()
        numbers = sorted(int(p.name.rpartition("-")[2]) for p in folder.glob("attempt-*"))
        return [cls(folder, number) for number in numbers]
