"""The errors of a run, grouped by their cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2r_bench.store.reader import RunReader

_SPELLING = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?", re.IGNORECASE)
"""Parts of a message that differ between errors of one cause: numbers and addresses."""


@dataclass
class Cause:
    """Errors that differ only in numbers and sample ids.

    Attributes:
        type: Type of the error, such as "timeout".
        role: Role of the call that failed, or None.
        scorer: The scorer that failed; None when the sample itself has no prediction.
        message: Message of the first of these errors.
        samples: Keys (sample_id, repeat) of the samples with the error, in the dataset's order.
    """

    type: str
    role: str | None
    scorer: str | None
    message: str
    samples: list[tuple[str, int]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Type and place: "timeout in perceive", or "http_429 of scorer verifier"."""
        place = f" in {self.role}" if self.role else ""
        return f"{self.type}{place}" + (f" of scorer {self.scorer}" if self.scorer else "")

    def as_json(self) -> dict[str, Any]:
        """Return the cause as a JSON object."""
        samples = [{"sample_id": name, "repeat": repeat} for name, repeat in self.samples]
        return {**vars(self), "count": len(self.samples), "samples": samples}


def causes(run: RunReader) -> list[Cause]:
    """Return the causes of a run's errors, the most frequent first."""
    found: dict[tuple[Any, ...], Cause] = {}
    for key, scorer, error in _errors(run):
        kind, role = error["error_type"] or "error", error["error_role"]
        message = error["error_message"] or ""
        pattern = _SPELLING.sub("#", message.replace(key[0], "SAMPLE"))
        cause = found.setdefault((kind, role, scorer, pattern), Cause(kind, role, scorer, message))
        cause.samples.append(key)
    return sorted(found.values(), key=lambda cause: -len(cause.samples))


def _errors(run: RunReader) -> Iterator[tuple[tuple[str, int], str | None, Mapping[str, Any]]]:
    for sample, verdicts in run.outcomes():
        key = (sample["sample_id"], sample["repeat"])
        if sample["status"] == "error":
            yield key, None, sample
        for verdict in verdicts:
            if verdict["status"] == "error":
                yield key, verdict["scorer"], verdict
