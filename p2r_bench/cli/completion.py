"""Shell completion of names; see README, "Install"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from click import Context, Parameter
from click.shell_completion import CompletionItem

from p2r_bench.plugins import Kind, discover

Completer = Callable[[Context, Parameter, str], list[CompletionItem]]


def registered(kind: Kind, *, several: bool = False) -> Completer:
    """Complete registered names.

    Args:
        several: The value is a list separated by commas; its last name is completed.
    """

    def complete(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        return _items(discover().names(kind), last, before + comma)

    return complete


def profiles(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete built-in profiles and files."""
    from p2r_bench.adapter import builtin_profiles

    return _items(builtin_profiles(), incomplete) or [CompletionItem(incomplete, type="file")]


def runs(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of the runs under --out, and paths."""
    folder = Path(ctx.params.get("out") or "results") / "runs"
    names = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    return _items(names, incomplete) or [CompletionItem(incomplete, type="dir")]


def _items(names: Iterable[str], incomplete: str, before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in names if name.startswith(incomplete)]
