"""Published rows beside the stored runs that are to reproduce them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.stats.ranking import data_kind
from p2r_bench.store.manifest import FILE, Manifest
from p2r_bench.store.reference import reference_rows
from p2r_bench.store.schema import METRICS
from p2r_bench.store.tables import read_rows

Row = dict[str, Any]

_ROUNDING = 0.0005
"""Half a step of the published figures, which have one decimal of a percent."""


@dataclass(frozen=True)
class Publication:
    """A published row: a model under one mode, with the profile and the scorer of the publication.

    Attributes:
        hub: Id of the checkpoint on the hub.
        reported: The model's name in the reference rows.
    """

    name: str
    hub: str
    reported: str
    mode: str
    profile: str = "original-eval"
    scorer: str = "original"

    def figures(self) -> list[Row]:
        """Return the published figures by task, subset and category."""
        rows = (row for row in reference_rows() if row["source"] == "reported")
        return [row for row in rows if row["model"] == self.reported]


PUBLICATIONS = {
    one.name: one
    for size in ("2b", "4b", "8b")
    for one in (
        Publication(f"p2r-{size}", f"hongxingli/P2R-{size.upper()}", f"P2R-{size.upper()}", "p2r"),
        Publication(
            f"qwen3-vl-{size}",
            f"Qwen/Qwen3-VL-{size.upper()}-Instruct",
            f"Qwen3-VL-{size.upper()}-Instruct",
            "default",
        ),
    )
}
"""Name to publication: the P2R models and their base models (arXiv 2607.01191)."""


@dataclass(frozen=True)
class Check:
    """A published figure beside the run's own.

    Attributes:
        measured: The run's figure with the leaderboard's columns; None without a run.
        outcome: "inside" or "outside" the run's 95 % interval, or the reason why neither can be said.
        changes: Fields in which the run's profile differs from the publication's, as (name, published, run's).
    """

    published: Row
    measured: Row | None
    outcome: str
    changes: tuple[tuple[str, Any, Any], ...] = ()


def checks_of(
    publication: Publication, out_dir: str | Path, identity: Mapping[str, Any]
) -> list[Check]:
    """Return every published figure beside the best run of the model in a folder.

    A run under the publication's profile comes before others, and a complete one before a part.

    Args:
        identity: Fields of the publication's profile.
    """
    figures = list(_figures(publication, Path(out_dir)))
    checks = []
    for published in publication.figures():
        cell = (published["task"], published["subset"], published["category"])
        candidates = []
        for row, manifest in figures:
            if (row["task"], row["subset"], row["category"]) == cell:
                changes = tuple(_changes(identity, manifest))
                candidates.append(
                    (bool(row["complete"]), -len(changes), row["created"] or "", row, changes)
                )
        if not candidates:
            checks.append(Check(published, None, "no run"))
            continue
        *_, row, changes = max(candidates, key=lambda one: one[:3])
        checks.append(Check(published, row, _outcome(published, row), changes))
    return checks


def _figures(publication: Publication, out_dir: Path) -> Iterator[tuple[Row, Manifest]]:
    for path in sorted((out_dir / "runs").glob(f"*/{FILE}")):
        try:
            manifest = Manifest.read(path.parent)
        except UserError:
            continue
        names = set(manifest.content["labels"]["models"].values())
        ours = names <= {publication.hub, publication.hub.rpartition("/")[2]}
        metrics = path.with_name("metrics.parquet")
        if ours and manifest.content["identity"]["mode"] == publication.mode and metrics.exists():
            for row in read_rows(metrics, METRICS):
                if row["scorer"] == publication.scorer and row["metric"] == "accuracy":
                    yield row, manifest


def _outcome(published: Row, row: Row) -> str:
    if row["value"] is None:
        return "nothing scored"
    if data_kind(row) != "published":
        return f"{data_kind(row)} data"
    if not row["complete"]:
        return "incomplete"
    low, high = row["ci_low"] - _ROUNDING, row["ci_high"] + _ROUNDING
    return "inside" if low <= published["value"] <= high else "outside"


def _changes(identity: Mapping[str, Any], manifest: Manifest) -> Iterable[tuple[str, Any, Any]]:
    stored = json.loads(manifest.content["labels"]["profile_text"] or "{}")
    before, now = _flat(identity, ""), _flat(stored, "")
    # The wording is not in this project: an imported pack differs from the built-in one in every text.
    names = [name for name in sorted(before | now) if not name.startswith("pack.")]
    return [
        (name, before.get(name), now.get(name))
        for name in names
        if before.get(name) != now.get(name)
    ]


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()
        }
    return {prefix[:-1]: list(value) if isinstance(value, tuple) else value}
