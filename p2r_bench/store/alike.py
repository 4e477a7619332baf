"""Comparability of stored runs, and the facts in which they differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from p2r_bench.adapter.profile import dotted
from p2r_bench.errors import UserError
from p2r_bench.store.scored import ScoredRun
from p2r_bench.types import Cell

_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letter(number: int) -> str:
    """Return the letter that stands for a run in a comparison; numbers after Z."""
    return _NAMES[number] if number < len(_NAMES) else f"R{number + 1}"


def check_comparable(runs: Sequence[ScoredRun]) -> None:
    """Refuse runs that are not about the same samples by the same rules.

    Raises:
        UserError: Two runs differ in task, data, cluster or cells of a sample, or scoring protocol.
    """
    for number, (one, other) in enumerate(pairwise(runs)):
        names = f"{letter(number)} ({one.run_id}) and {letter(number + 1)} ({other.run_id})"
        for field, what in (("task", "tasks"), ("data_digest", "data digests")):
            a, b = one.identity[field], other.identity[field]
            if a != b:
                raise UserError(
                    f"{names} have different {what}: {a[:12]} and {b[:12]}. Only runs over the same samples "
                    "can be compared; run one of them again on the other's data"
                )
        if one.protocol != other.protocol:
            raise UserError(
                f"{names} were judged by different rules: {_protocol(one)} and {_protocol(other)}. "
                f"`p2r-bench score {one.run_id} {other.run_id}` judges both by the current ones"
            )


def _protocol(run: ScoredRun) -> str:
    return ", ".join(
        f"{name} {version} ({params[:8]})"
        for name, found in sorted(run.protocol.items())
        for version, params in found
    )


def differences(runs: Sequence[ScoredRun]) -> list[tuple[str, list[Any]]]:
    """Return the facts in which runs differ, each with its value in every run: identity, then fields of the profile.

    The mode's name and the models' names stand in the runs' labels and are not repeated.
    """
    facts = [_facts(run) for run in runs]
    names = dict.fromkeys(name for found in facts for name in found)
    rows = ((name, [found.get(name) for found in facts]) for name in names)
    return [(name, values) for name, values in rows if any(v != values[0] for v in values[1:])]


def _facts(run: ScoredRun) -> dict[str, Any]:
    identity = run.identity
    facts: dict[str, Any] = {
        name: identity[name] for name in ("mode_version", "mode_params", "seed", "repeats")
    }
    facts["weights"] = " + ".join(dict.fromkeys(d[:12] for d in identity["model_digests"].values()))
    facts["profile"] = run.labels["profile"]
    try:
        profile = json.loads(run.labels["profile_text"] or "{}")
    except ValueError:  # a run of an older version
        profile = {"hash": identity["profile_hash"]}
    return {**facts, **dotted(profile, "profile.")}


def shown_cells(runs: Sequence[ScoredRun], *, categories: bool) -> list[Cell]:
    """Return the figures that the samples count in: overall ones, and those by category where wanted."""
    cells = dict.fromkeys(cell for place in runs[0].places.values() for cell in place.cells)
    return [cell for cell in cells if categories or cell[1] is None] or list(cells)
