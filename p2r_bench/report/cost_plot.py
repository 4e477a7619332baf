"""Plot of accuracy against cost: a row of axes per task and subset, a column per cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.costs import Point

LABELS = {
    "visual_tokens": "visual tokens per sample",
    "tokens": "tokens per sample (prompt and output)",
    "seconds": "seconds per sample",
}
_WIDTH, _HEIGHT = 5.0, 3.6


def draw(points: Sequence[Point], costs: Sequence[str], path: Path) -> None:
    """Draw points with their 95 % intervals into a file, whose ending names the format (png, svg, pdf).

    Points of a model and mode are joined by a line, cheapest first, and labelled by their profile where it differs.

    Raises:
        UserError: matplotlib is not installed, no point has one of the costs, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            f"plots need matplotlib ({error}): pip install 'p2r-bench[plot]', or use --json"
        ) from error
    for cost in costs:
        if not any(cost in point.costs for point in points):
            raise UserError(f"no run has {LABELS[cost]}: its engine does not report them")
    panels = list(dict.fromkeys((point.task, point.subset) for point in points))
    figure = Figure((_WIDTH * len(costs), _HEIGHT * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), len(costs), squeeze=False)
    for line, panel in zip(axes, panels, strict=True):
        inside = [point for point in points if (point.task, point.subset) == panel]
        for ax, cost in zip(line, costs, strict=True):
            _draw_axes(ax, inside, cost)
            ax.set_title(" ".join(filter(None, panel)))
    axes[0][0].legend(fontsize="small")
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


def _draw_axes(ax: Any, points: Sequence[Point], cost: str) -> None:
    profiles = {point.profile for point in points}
    for series in dict.fromkeys(point.series for point in points):
        shown = sorted(
            (p for p in points if p.series == series and cost in p.costs),
            key=lambda p: p.costs[cost],
        )
        if not shown:
            continue
        values = [100 * p.value for p in shown]
        errors = (
            [max(0.0, v - 100 * p.low) for v, p in zip(values, shown, strict=True)],
            [max(0.0, 100 * p.high - v) for v, p in zip(values, shown, strict=True)],
        )
        ax.errorbar(
            [p.costs[cost] for p in shown], values, errors, marker="o", capsize=3, label=series
        )
        for p, value in zip(shown, values, strict=True):
            if len(profiles) > 1:
                at = (p.costs[cost], value)
                ax.annotate(p.profile, at, (4, 4), textcoords="offset points", fontsize="xx-small")
    levels = {point.chance for point in points if point.chance is not None}
    if len(levels) == 1:
        ax.axhline(100 * levels.pop(), linestyle=":", color="grey", label="chance")
    ax.set_xlabel(LABELS[cost])
    ax.set_ylabel("accuracy in percent [95 %]")
    ax.set_xlim(left=0)
