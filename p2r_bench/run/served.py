"""Identity of runs whose model is served: which run a command continues, decided by fingerprint.

See docs/decisions/served-models.md.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.fingerprint import Fingerprint, difference, take
from p2r_bench.run.spec import EngineChoice
from p2r_bench.store.identity import RunIdentity, name_of_model, with_fingerprint
from p2r_bench.store.manifest import Manifest
from p2r_bench.types import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identified:
    """The identity of a run, and what is known of its served models.

    Attributes:
        prints: Role to the fingerprint taken now, for served models without a revision.
        known: Role to the digest under which the run knows it: a matching earlier one, else that of `prints`.
        unreachable: Why no fingerprint could be taken. The run may be reported if nothing of it is missing.
        notice: What a user has to know beside the figures, or None.
    """

    identity: RunIdentity
    prints: Mapping[str, Fingerprint] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    unreachable: UserError | None = None
    notice: str | None = None


def is_served(engine: Engine) -> bool:
    """Return whether an engine knows its model by name only."""
    return not getattr(engine, "identifies_weights", True)


async def identify(
    base: RunIdentity,
    out: Path,
    choices: Mapping[str, EngineChoice],
    used: Mapping[str, Engine],
    engines: EngineSet,
    *,
    allow_mixed: bool,
) -> Identified:
    """Complete an identity with the fingerprints of models that are served without a revision.

    Args:
        base: With what `Engine.identify` returned for each role.

    Raises:
        UserError: The same command has a run with another model behind the server and `allow_mixed` is false; or
            the server cannot be reached and the command has no run yet.
    """
    roles = [role for role, e in used.items() if is_served(e) and choices[role].revision is None]
    if not roles:
        return Identified(base)
    runs = list(runs_like(out, base, roles))
    try:
        await engines.start(used[role] for role in roles)
        prints = await fingerprints(roles, choices, used)
    except UserError as error:
        if not runs:
            raise
        return Identified(
            replace(base, model_digests=runs[-1].content["identity"]["model_digests"]),
            unreachable=error,
            notice=f"not checked whether the server still serves the model of these figures: {error}",
        )
    if not runs:
        return _fresh(base, prints)
    found = _matching(runs, prints)
    if found is None:
        prints = await fingerprints(roles, choices, used)
        found = _matching(runs, prints)
    if found is not None:
        return _continued(base, found, prints)
    apart = _apart(runs[-1], prints)
    if not allow_mixed:
        raise UserError(
            f"{runs[-1].path.parent}: this run was made with another model than is served now: {apart}.\n"
            "Serve the former model again; or start a run of this one with --revision NAME, which vouches for the "
            "weights, or with another --out; or give --allow-mixed to continue all the same (the leaderboard marks "
            "the run as mixed)."
        )
    mixed = _continued(base, runs[-1], prints)
    return replace(
        mixed,
        known={role: one.digest for role, one in prints.items()},
        notice=f"another model is served now than the one that this run began with: {apart}",
    )


async def vouched_for(
    choices: Mapping[str, EngineChoice],
    used: Mapping[str, Engine],
    engines: EngineSet,
    sessions: Sequence[Mapping[str, Any]],
) -> dict[str, Fingerprint]:
    """Fingerprints of models that are served at a revision: recorded, and a change is a warning.

    Args:
        sessions: Earlier sessions of the run, as in its manifest.
    """
    prints: dict[str, Fingerprint] = {}
    for role, engine in used.items():
        if not is_served(engine) or choices[role].revision is None:
            continue
        await engines.start([engine])
        try:
            prints |= await fingerprints([role], choices, used)
        except UserError as error:
            log.warning("%s", error)
            continue
        for session in reversed(sessions):
            record = session["noted"].get("fingerprints", {}).get(role)
            if record is not None:
                if told := difference(Fingerprint.from_record(record), prints[role]):
                    log.warning(
                        "role %s: %s; --revision %s vouches for the weights, so the run goes on",
                        *(role, told, choices[role].revision),
                    )
                break
    return prints


async def fingerprints(
    roles: Iterable[str], choices: Mapping[str, EngineChoice], used: Mapping[str, Engine]
) -> dict[str, Fingerprint]:
    """Role to the fingerprint of its model; each engine is asked once."""
    taken: dict[int, Fingerprint] = {}
    prints = {}
    for role in roles:
        engine = used[role]
        if id(engine) not in taken:
            taken[id(engine)] = await take(engine, choices[role].model)
        prints[role] = taken[id(engine)]
    return prints


def runs_like(out: Path, base: RunIdentity, roles: Iterable[str]) -> Iterator[Manifest]:
    """Runs that differ from an identity at most in the fingerprints of these roles, oldest first."""
    wanted = _without_fingerprints(asdict(base), roles)
    manifests = []
    for path in sorted((out / "runs").glob("*/manifest.json")):
        with suppress(UserError):  # another run's damage is not this command's
            manifests.append(Manifest.read(path.parent))
    for manifest in sorted(manifests, key=lambda one: str(one.content.get("created"))):
        if _without_fingerprints(manifest.content["identity"], roles) == wanted:
            yield manifest


def stored(manifest: Manifest, role: str) -> Fingerprint | None:
    """The fingerprint with which a run began."""
    record = manifest.content["labels"].get("fingerprints", {}).get(role)
    return None if record is None else Fingerprint.from_record(record)


def _without_fingerprints(
    identity: Mapping[str, object], roles: Iterable[str]
) -> dict[str, object]:
    digests = identity["model_digests"]
    assert isinstance(digests, Mapping)
    names = {role: name_of_model(digests[role]) for role in roles if role in digests}
    # As JSON has it: tuples in a mode's parameters come back as lists.
    return dict(json.loads(json.dumps({**identity, "model_digests": {**digests, **names}})))


def _matching(runs: Iterable[Manifest], prints: Mapping[str, Fingerprint]) -> Manifest | None:
    return next((run for run in runs if _apart(run, prints) is None), None)


def _apart(run: Manifest, prints: Mapping[str, Fingerprint]) -> str | None:
    """Return how a run's models differ from those served now, with both fingerprints; None when they do not."""
    for role, now in prints.items():
        before = stored(run, role)
        if before is None:
            return f"role {role}: no fingerprint was recorded then, now it is {now.digest}"
        if told := difference(before, now):
            return f"role {role}: {told} (fingerprint {before.digest} before, {now.digest} now)"
    return None


def _fresh(base: RunIdentity, prints: Mapping[str, Fingerprint]) -> Identified:
    known = {role: one.digest for role, one in prints.items()}
    digests = {
        role: with_fingerprint(name, known[role]) if role in known else name
        for role, name in base.model_digests.items()
    }
    return Identified(replace(base, model_digests=digests), prints, known)


def _continued(base: RunIdentity, run: Manifest, prints: Mapping[str, Fingerprint]) -> Identified:
    digests = run.content["identity"]["model_digests"]
    known = {role: one.digest for role in prints if (one := stored(run, role)) is not None}
    return Identified(replace(base, model_digests=digests), prints, known)
