"""Picture of a round: the metrics of its stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from p2r_bench.atomic import replacing
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.metrics import StepFile
from p2r_bench_pra_grpo.rounds.steps import stages

PANELS = (
    ("reward", ("reward_mean", "reward_answer")),
    ("KL, entropy", ("kl", "entropy")),
    ("response tokens", ("response_tokens_mean",)),
    ("shares", ("clip_share", "failed_share")),
    ("boxes, IoU", ("box_count_mean", "iou_mean")),
)
"""Title of a panel to the columns drawn in it."""


def plot_round(config: Config, number: int, done: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the metrics of a round's stages, a row of panels each, into `round-N/metrics.png`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mine = [stage for stage in stages(config) if stage.round == number]
    figure = Figure(figsize=(3.2 * len(PANELS), 2.6 * len(mine)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(mine), len(PANELS), squeeze=False)
    for row, stage in zip(axes, mine, strict=True):
        metrics = StepFile(stage.metrics).rows
        steps = [m["step"] for m in metrics]
        for axis, (title, names) in zip(row, PANELS, strict=True):
            axis.set_title(f"{stage.role}: {title}", fontsize=9)
            axis.tick_params(labelsize=7)
            axis.grid(alpha=0.3)
            drawn = [
                _draw(axis, place, name, steps, [m[name] for m in metrics])
                for place, name in enumerate(names)
            ]
            if any(drawn):
                axis.legend(fontsize=7)
            else:
                axis.set_visible(False)
    figure.suptitle(_title(number, done), fontsize=10)
    path = config.out / f"round-{number}" / "metrics.png"
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=110, metadata={"Software": None})
    return {"plot": str(Path(f"round-{number}") / path.name)}


def _draw(
    axis: Any, place: int, name: str, steps: Sequence[int], values: Sequence[float | None]
) -> bool:
    """Draw a column faintly, and its running mean over a fifteenth of the steps; return False without a value."""
    if all(value is None for value in values):
        return False
    column = pd.Series([math.nan if value is None else value for value in values])
    mean = column.rolling(max(1, len(steps) // 15), center=True, min_periods=1).mean()
    style = {"color": f"C{place}", "marker": "." if len(steps) < 30 else ""}
    axis.plot(steps, column, alpha=0.3, **style)
    axis.plot(steps, mean, linestyle=("-", "--")[place], label=name.replace("_", " "), **style)
    return True


def _title(number: int, done: Mapping[str, Any]) -> str:
    before, after = done.get(f"round-{number - 1}/evaluate"), done.get(f"round-{number}/evaluate")
    if not before or not after:
        return f"round {number}"
    mode = after["runs"][0]["mode"]
    return f"round {number}: {mode} {100 * before['value']:.1f} % → {100 * after['value']:.1f} %"
