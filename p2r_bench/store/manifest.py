"""Manifest of a run: its identity, its sessions, and the state of its parquet files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.store.data_record import DataRecord
from p2r_bench.store.identity import RunIdentity, RunLabels, Session, changed_facts
from p2r_bench.store.rows import now
from p2r_bench.store.schema import SCHEMA_VERSION
from p2r_bench.types import Cell, Metric

FILE = "manifest.json"
PARQUET_FILES = ("samples.parquet", "verdicts.parquet", "metrics.parquet")

_REQUIRED = frozenset(
    ("run_id", "identity", "identity_digest", "labels", "metrics", "created", "sessions")
)
_REBUILD = (
    "Without it, the command that made the run makes a new one and keeps all recorded samples; the "
    "conditions of earlier sessions are lost, so adding samples then needs --allow-mixed."
)


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
        *,
        lost_sessions: int = 0,
    ) -> Manifest:
        """Write and return the manifest of a new run, or of a run whose manifest is lost.

        Args:
            lost_sessions: Number of sessions that recorded the samples of a run whose manifest is gone. Nothing is
                known of these sessions, so a further one needs `allow_mixed`.
        """
        created = now()
        lost = {"started": created, "ended": created, "engines": {}, "pinned": {}, "noted": {}}
        manifest = cls(
            folder / FILE,
            {
                "schema": SCHEMA_VERSION,
                "run_id": folder.name,
                "identity": asdict(identity),
                "identity_digest": identity.digest,
                "labels": asdict(labels),
                "metrics": [asdict(metric) for metric in metrics],
                "created": created,
                "sessions": [dict(lost) for _ in range(lost_sessions)],
                "data": None,
                "expected": None,
                "finished": None,
            },
        )
        manifest.write()
        return manifest

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an existing run.

        Raises:
            UserError: The manifest is missing, damaged, or of a newer version.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_bytes())
            version = int(content["schema"])
            if version <= SCHEMA_VERSION and (absent := _REQUIRED - content.keys()):
                raise KeyError(", ".join(sorted(absent)))
        except FileNotFoundError:
            if not any((folder / name).exists() for name in ("journal.jsonl", "samples.parquet")):
                raise UserError(f"{folder}: is not a run folder (it has no {FILE}).") from None
            raise UserError(f"{folder}: its {FILE} is missing. {_REBUILD}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}: damaged manifest ({error}). Restore it from a copy, or delete it. {_REBUILD}"
            ) from error
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{path}: has schema version {version}, this p2r-bench reads up to {SCHEMA_VERSION}. "
                "Upgrade p2r-bench."
            )
        return cls(path, content)

    def write(self) -> None:
        """Replace the file with the current content."""
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
        """Number of samples of the whole task in each cell, or None when not known."""
        cells = self.content.get("expected")
        return None if cells is None else {(subset, category): n for subset, category, n in cells}

    @expected.setter
    def expected(self, counts: Mapping[Cell, int]) -> None:
        self.content["expected"] = [[*cell, n] for cell, n in counts.items()]

    @property
    def data(self) -> DataRecord:
        """Facts about the task's data from the last session; empty for a run of an older version."""
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
        """Add a session and return its position.

        Args:
            contributed: Positions of the sessions that made the finished samples.

        Raises:
            UserError: No contributing session has the same pinned facts, and `allow_mixed` is false.
        """
        # Later sessions are compared with facts that went through JSON.
        pinned = json.loads(json.dumps(dict(session.pinned)))
        before = [self.sessions[position]["pinned"] for position in sorted(contributed)]
        if before and pinned not in before and not allow_mixed:
            changes = "\n  ".join(changed_facts(before[-1], pinned))
            raise UserError(
                f"{self.path.parent}: has samples made under other conditions:\n  {changes}\n"
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
        """Record the end of a session."""
        self.sessions[position]["ended"] = now()
        self.write()

    @property
    def finished(self) -> dict[str, Any] | None:
        """Facts about the parquet files, as `finish` set them, or None before the first time."""
        finished: dict[str, Any] | None = self.content.get("finished")
        return finished

    def finish(
        self,
        *,
        journal_bytes: int,
        samples: int,
        scorer: str | Mapping[str, str],
        complete: bool,
    ) -> None:
        """Record that the current parquet files hold the journal's first `journal_bytes` bytes.

        Args:
            samples: Number of rows of samples.parquet.
        """
        self.content["finished"] = {
            "at": now(),
            "journal_bytes": journal_bytes,
            "samples": samples,
            "sha256": {name: _sha256(self.path.with_name(name)) for name in PARQUET_FILES},
            "scorer": scorer,
            "complete": complete,
        }
        self.write()

    def is_intact(self, *names: str) -> bool:
        """Return True when the named parquet files are the ones that `finish` recorded, to the byte.

        Page checksums do not cover a parquet file's footer; this check does.
        """
        recorded = (self.finished or {}).get("sha256", {})
        return all(
            self.path.with_name(name).exists()
            and _sha256(self.path.with_name(name)) == recorded.get(name)
            for name in names
        )

    def is_mixed(self, contributed: set[int]) -> bool:
        """Return True when these sessions had different pinned facts."""
        facts = [self.sessions[position]["pinned"] for position in contributed]
        return any(other != facts[0] for other in facts[1:])

    def facts(self, contributed: set[int]) -> dict[str, Any]:
        """Return the columns of a metric row that are the same for all figures of the run."""
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _joined(names: Any) -> str:
    return "+".join(dict.fromkeys(names))
