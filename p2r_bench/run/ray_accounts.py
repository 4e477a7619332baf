"""What replicas have used, by replica: a lost one's processes are summed up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2r_bench.run.ray_messages import Place

Account = Mapping[str, Any]
"""What `Launcher.accounting` of one process tells, with its `peak_mb`."""


class Accounts:
    """The last account of every process."""

    def __init__(self) -> None:
        self._by_replica: dict[str, dict[str, Account]] = {}

    def note(self, replica: str, place: Place, account: Account) -> None:
        """Replaces what the same process has told before."""
        process = f"{place.host}, process {place.pid}"
        self._by_replica.setdefault(replica, {})[process] = account

    def by_replica(self) -> dict[str, dict[str, Any]]:
        """One account for each replica; `processes` are those that played it, in order."""
        return {
            name: {**_together(list(accounts.values())), "processes": list(accounts)}
            for name, accounts in sorted(self._by_replica.items(), key=lambda item: int(item[0]))
        }


def _together(accounts: list[Account]) -> dict[str, Any]:
    """Seconds and counts are summed; the capacity stays that of one process, as only one runs at a time."""
    engines = [
        {
            name: readings[0][name] if name == "capacity" else sum(r[name] for r in readings)
            for name in readings[0]
        }
        for readings in zip(*(account["engines"] for account in accounts), strict=True)
    ]
    images = {name: sum(a["images"][name] for a in accounts) for name in accounts[0]["images"]}
    return {
        "engines": engines,
        "images": images,
        "peak_mb": round(max(account["peak_mb"] for account in accounts), 1),
    }
