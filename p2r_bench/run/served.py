"""Identity of runs of served models: a fingerprint decides which run a command resumes.

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
from p2r_bench.optional import HasIdentifiesWeights
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.fingerprint import Fingerprint, difference, take
from p2r_bench.run.spec import EngineChoice
from p2r_bench.store.identity import RunIdentity, name_of_model, with_fingerprint
from p2r_bench.store.manifest import Manifest
from p2r_bench.types import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identified:
    """The identity of a run, and facts about its served models.

    Attributes:
        prints: Fingerprints, taken in this session, of served models without a revision, by role.
        known: Digests of the models in the run's identity, by role: of a matching earlier fingerprint, else of
            `prints`.
        unreachable: The reason why no fingerprint could be taken, or None. A complete run can still be reported.
        notice: A warning to show beside the figures, or None.
    """

    identity: RunIdentity
    prints: Mapping[str, Fingerprint] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    unreachable: UserError | None = None
    notice: str | None = None

    def with_vouched(self, prints: Mapping[str, Fingerprint], notices: Iterable[str]) -> Identified:
        """Return a copy with the fingerprints and notices that `vouched_for` returned."""
        parts = [*([self.notice] if self.notice else []), *notices]
        return replace(self, prints={**self.prints, **prints}, notice="; ".join(parts) or None)


def is_served(engine: Engine) -> bool:
    """Return True if an engine knows its model by name only."""
    return isinstance(engine, HasIdentifiesWeights) and not engine.identifies_weights


async def identify(
    base: RunIdentity,
    out: Path,
    choices: Mapping[str, EngineChoice],
    used: Mapping[str, Engine],
    engines: EngineSet,
    *,
    allow_mixed: bool,
) -> Identified:
    """Complete an identity with fingerprints of the models served without a revision.

    Args:
        base: Identity with the results of `Engine.identify`.

    Raises:
        UserError: The command's run has another model behind the server and `allow_mixed` is false; or the server
            cannot be reached and the command has no run yet.
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
    *,
    finished: bool,
) -> tuple[dict[str, Fingerprint], tuple[str, ...]]:
    """Return the fingerprints of models served with a revision, and notices of a change or of a missing check.

    A change refuses nothing, because the revision vouches for the weights.

    Args:
        sessions: Earlier sessions of the run, as in its manifest.
        finished: The run only reports its figures, and needs no server.

    Raises:
        UserError: An unfinished run's server cannot be used.
    """
    prints: dict[str, Fingerprint] = {}
    notices = []
    for role, engine in used.items():
        revision = choices[role].revision
        if not is_served(engine) or revision is None:
            continue
        try:
            await engines.start([engine])
        except UserError as error:
            if not finished:
                raise
            notices.append(f"not checked whether the server still serves {revision}: {error}")
            continue
        try:
            prints |= await fingerprints([role], choices, used)
        except UserError as error:
            notices.append(str(error))
            continue
        records = [session["noted"].get("fingerprints", {}).get(role) for session in sessions]
        before = next((record for record in reversed(records) if record is not None), None)
        found = before and difference(Fingerprint.from_record(before), prints[role])
        if found:
            stands = "the figures stand" if finished else "the run goes on"
            notices.append(
                f"role {role}: {found}; --revision {revision} vouches for the weights, so {stands}"
            )
    return prints, tuple(dict.fromkeys(notices))


async def fingerprints(
    roles: Iterable[str], choices: Mapping[str, EngineChoice], used: Mapping[str, Engine]
) -> dict[str, Fingerprint]:
    """Return the fingerprint of each role's model; each engine is asked once."""
    taken: dict[int, Fingerprint] = {}
    prints = {}
    for role in roles:
        engine = used[role]
        if id(engine) not in taken:
            taken[id(engine)] = await take(engine, choices[role].model)
        prints[role] = taken[id(engine)]
    return prints


def runs_like(out: Path, base: RunIdentity, roles: Iterable[str]) -> Iterator[Manifest]:
    """Return the runs, oldest first, that differ from an identity only in the fingerprints of these roles."""
    wanted = _without_fingerprints(asdict(base), roles)
    manifests = []
    for path in sorted((out / "runs").glob("*/manifest.json")):
        with suppress(UserError):  # a damaged run elsewhere must not stop this command
            manifests.append(Manifest.read(path.parent))
    for manifest in sorted(manifests, key=lambda one: str(one.content.get("created"))):
        if _without_fingerprints(manifest.content["identity"], roles) == wanted:
            yield manifest


def stored(manifest: Manifest, role: str) -> Fingerprint | None:
    """Return the fingerprint with which a run began."""
    record = manifest.content["labels"].get("fingerprints", {}).get(role)
    return None if record is None else Fingerprint.from_record(record)


def _without_fingerprints(
    identity: Mapping[str, object], roles: Iterable[str]
) -> dict[str, object]:
    digests = identity["model_digests"]
    assert isinstance(digests, Mapping)
    names = {role: name_of_model(digests[role]) for role in roles if role in digests}
    # Through JSON, since tuples in a mode's parameters come back as lists.
    return dict(json.loads(json.dumps({**identity, "model_digests": {**digests, **names}})))


def _matching(runs: Iterable[Manifest], prints: Mapping[str, Fingerprint]) -> Manifest | None:
    return next((run for run in runs if _apart(run, prints) is None), None)


def _apart(run: Manifest, prints: Mapping[str, Fingerprint]) -> str | None:
    """Return the first difference between a run's models and the models served now; None if they are equal."""
    for role, now in prints.items():
        before = stored(run, role)
        if before is None:
            return f"role {role}: no fingerprint was recorded then, now it is {now.digest}"
        if found := difference(before, now):
            return f"role {role}: {found} (fingerprint {before.digest} before, {now.digest} now)"
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
