"""Identity of a run, and the conditions that its sessions share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from p2r_bench.types import digest_of


@dataclass(frozen=True)
class RunIdentity:
    """All facts that decide which run a command continues. They include no models' names and no paths.

    Attributes:
        task: Name of the task.
        mode: Name of the mode.
        mode_version: Distribution and version that the mode comes from, "p2r-bench 0.1.0".
        mode_params: The mode's parameters; JSON-able.
        model_digests: Role to the digest of the model that plays it; for a served model "name@revision", or
            "name@served#" and the digest of its fingerprint.
        data_digest: Identity of the data, from the task.
        profile_hash: Hash of the profile.
        seed: The run's seed.
        repeats: Number of runs of each sample.
    """

    task: str
    mode: str
    mode_version: str
    model_digests: Mapping[str, str]
    data_digest: str
    profile_hash: str
    mode_params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    repeats: int = 1

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of all fields."""
        return digest_of(asdict(self))


@dataclass(frozen=True)
class RunLabels:
    """Readable names. They are recorded and shown, and may differ between sessions of a run.

    Attributes:
        models: Role to the model's name as the user gave it.
        profile: The profile's name.
        profile_text: The whole profile.
        fingerprints: Role to the fingerprint of its served model when the run began, as recorded.
    """

    models: Mapping[str, str]
    profile: str
    profile_text: str = ""
    fingerprints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """One process that adds samples to a run.

    Attributes:
        pinned: Nested facts that must not change between the sessions of a run: engines per role
            (name, dtype, attention, device), versions, hardware. A change is refused without
            `allow_mixed`, so ports, host names and times do not belong here.
        noted: Facts that are recorded and never compared: command, git state, endpoints.
        engines: Role to the engine's name, for the leaderboard.
    """

    pinned: Mapping[str, Any]
    noted: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, str] = field(default_factory=dict)


_FINGERPRINT = "#"


def with_fingerprint(name: str, digest: str) -> str:
    """Return the digest of a served model: its name and the digest of its fingerprint."""
    return f"{name}{_FINGERPRINT}{digest}"


def name_of_model(digest: str) -> str:
    """Return a model's digest without its fingerprint, which only served models have."""
    return digest.partition(_FINGERPRINT)[0]


def run_id(identity: RunIdentity, labels: RunLabels) -> str:
    """Return the folder name of a run from model, mode, task and hash: "qwen3-vl-4b-p2r-hrbench-1a2b3c4d"."""
    names = list(
        dict.fromkeys(name.rstrip("/").rpartition("/")[2] for name in labels.models.values())
    )
    model = "+".join(names)
    words = (_slug(model), _slug(identity.mode), re.sub(r"[^a-z0-9]", "", identity.task.lower()))
    return "-".join((*(w[:48] for w in words if w), identity.digest[:8]))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.+]+", "-", text.lower()).strip("-.")


def changed_facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return facts that differ, one line each: "engines.reason.dtype: float32 before, bfloat16 now"."""
    old, new = dict(_flat(before)), dict(_flat(now))
    absent = "not recorded"
    return [
        f"{name}: {old.get(name, absent)} before, {new.get(name, absent)} now"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    ]


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            # JSON turns tuples into lists.
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value
