"""The manifest of a run: what it is, who took part, and whether its parquet files are up to date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.atomic import replacing
from p2r_bench.store.data_record import DataRecord
from p2r_bench.store.identity import RunIdentity, RunLabels, Session, changed_facts
from p2r_bench.store.rows import now
from p2r_bench.store.schema import SCHEMA_VERSION
from p2r_bench.types import Cell, Metric

FILE = "manifest.json"


class Manifest:
    """`manifest.json` of a run folder.

    Attributes:
        content: The JSON object: schema, run_id, identity, identity_digest, labels, metrics, created,
            sessions, data, expected, finished.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content

    @classmethod
    def create(
        cls,
        folder: Path,
        identity: RunIdentity,
        labels: RunLabels,
        metrics: Sequence[Metric],
    ) -> Manifest:
        """A new run's manifest, written."""
        manifest = cls(
            folder / FILE,
            {
                "schema": SCHEMA_VERSION,
                "run_id": folder.name,
                "identity": asdict(identity),
                "identity_digest": identity.digest,
                "labels": asdict(labels),
                "metrics": [asdict(metric) for metric in metrics],
                "created": now(),
                "sessions": [],
                "data": None,
                "expected": None,
                "finished": None,
            },
        )
        manifest.write()
        return manifest

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of an existing run.

        Raises:
            UserError: Missing, damaged, or of a newer version.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_bytes())
            version = int(content["schema"])
        except FileNotFoundError:
            raise UserError(f"{folder}: is not a run folder (it has no {FILE}).") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: damaged manifest ({error}). Restore it from a copy, or move the folder away "
                "to start the run anew."
            ) from error
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{path}: has schema version {version}, this p2r-bench reads up to {SCHEMA_VERSION}. "
                "Upgrade p2r-bench."
            )
        return cls(path, content)

    def write(self) -> None:
        """Swap in the current content."""
        # ASCII, because a user's labels and facts may hold any text.
        text = json.dumps(self.content, indent=2)
        with replacing(self.path) as beside:
            beside.write_text(text + "\n", encoding="ascii")

    @property
    def sessions(self) -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = self.content["sessions"]
        return sessions

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(Metric(**metric) for metric in self.content["metrics"])

    @metrics.setter
    def metrics(self, metrics: Sequence[Metric]) -> None:
        self.content["metrics"] = [asdict(metric) for metric in metrics]

    @property
    def repeats(self) -> int:
        return int(self.content["identity"]["repeats"])

    @property
    def expected(self) -> dict[Cell, int] | None:
        """How many samples of the whole task count in each cell, or None when not known."""
        cells = self.content["expected"]
        return None if cells is None else {(subset, category): n for subset, category, n in cells}

    @expected.setter
    def expected(self, counts: Mapping[Cell, int]) -> None:
        self.content["expected"] = [[*cell, n] for cell, n in counts.items()]

    @property
    def data(self) -> DataRecord:
        """What the last session knew of the task's data; nothing for a run of an older version."""
        return DataRecord.from_json(self.content.get("data") or {})

    @data.setter
    def data(self, record: DataRecord) -> None:
        self.content["data"] = record.as_json()

    def check_identity(self, identity: RunIdentity) -> None:
        """Raise UserError when the folder belongs to another run."""
        if self.content["identity_digest"] != identity.digest:
            changes = "\n  ".join(changed_facts(self.content["identity"], asdict(identity)))
            raise UserError(
                f"{self.path.parent}: holds another run that differs in\n  {changes}\n"
                "Move it away or use another --out."
            )

    def add_session(self, session: Session, contributed: set[int], *, allow_mixed: bool) -> int:
        """Record a session and return its position.

        Args:
            contributed: Positions of the sessions that samples which are done came from.

        Raises:
            UserError: None of those has the same pinned facts, and `allow_mixed` is false.
        """
        # What JSON makes of the facts is what later sessions are compared with.
        pinned = json.loads(json.dumps(dict(session.pinned)))
        before = [self.sessions[position]["pinned"] for position in sorted(contributed)]
        if before and pinned not in before and not allow_mixed:
            changes = "\n  ".join(changed_facts(before[-1], pinned))
            raise UserError(
                f"{self.path.parent}: this run has samples made under other conditions:\n  {changes}\n"
                "Go back to those conditions, give --allow-mixed to continue all the same (the "
                "leaderboard marks the run as mixed), or start anew with another --out."
            )
        self.sessions.append(
            {
                "started": now(),
                "ended": None,
                "engines": dict(session.engines),
                "pinned": pinned,
                "noted": json.loads(json.dumps(dict(session.noted))),
            }
        )
        self.write()
        return len(self.sessions) - 1

    def end_session(self, position: int) -> None:
        """Record that a session is over."""
        self.sessions[position]["ended"] = now()
        self.write()

    def finish(
        self, *, journal_bytes: int, scorer: str | Mapping[str, str], complete: bool
    ) -> None:
        """Record that the parquet files hold what the journal's first `journal_bytes` bytes say."""
        self.content["finished"] = {
            "at": now(),
            "journal_bytes": journal_bytes,
            "scorer": scorer,
            "complete": complete,
        }
        self.write()

    def is_mixed(self, contributed: set[int]) -> bool:
        """Whether these sessions had different pinned facts."""
        facts = [self.sessions[position]["pinned"] for position in contributed]
        return any(other != facts[0] for other in facts[1:])

    def facts(self, contributed: set[int]) -> dict[str, Any]:
        """The columns of a metric row that are the same for all figures of the run."""
        identity, labels = self.content["identity"], self.content["labels"]
        params = identity["mode_params"]
        models: Mapping[str, str] = labels["models"]
        digests: Mapping[str, str] = identity["model_digests"]
        differ = len(set(models.values())) > 1 or len(set(digests.values())) > 1
        engines = [
            name
            for position in sorted(contributed)
            for name in self.sessions[position]["engines"].values()
        ]
        return {
            "model": _joined(models.values()),
            "model_digest": _joined(digests.values()),
            "perceive_model": models.get("perceive") if differ else None,
            "reason_model": models.get("reason") if differ else None,
            "mode": identity["mode"],
            "mode_version": identity["mode_version"],
            "mode_params": json.dumps(params, sort_keys=True) if params else None,
            "task": identity["task"],
            "mixed": self.is_mixed(contributed),
            "repeats": identity["repeats"],
            "seed": identity["seed"],
            "profile": labels["profile"],
            "profile_hash": identity["profile_hash"],
            "data_digest": identity["data_digest"],
            "data_kind": self.data.kind,
            "data_note": self.data.note,
            "engine": _joined(engines) or None,
            "run_id": self.content["run_id"],
            "source": "measured",
        }


def _joined(names: Any) -> str:
    return "+".join(dict.fromkeys(names))
