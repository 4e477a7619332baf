"""`p2r-bench show RUN SAMPLE`: all stages of one sample, in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.completion import runs
from p2r_bench.cli.shared_options import out_option
from p2r_bench.cli.table import table
from p2r_bench.errors import UserError, counted
from p2r_bench.terminal import echo, printable

if TYPE_CHECKING:
    from p2r_bench.store.reader import RunReader

Row = Mapping[str, Any]


@click.command("show")
@click.argument("run", shell_complete=runs)
@click.argument("sample", required=False)
@click.option("--errors", is_flag=True, help="List the run's errors by cause, with the samples.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="With --errors: samples listed of each cause.",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the sample into this PNG file: every image as sent, and every text.",
)
@click.option("--repeat", default=0, show_default=True, help="Number of the repeat, from 0.")
@click.option("--prompts", is_flag=True, help="Also show the prompts.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the sample's and the verdicts' rows as JSON."
)
@out_option
def command(
    run: str,
    sample: str | None,
    errors: bool,
    limit: int,
    picture: Path | None,
    repeat: int,
    prompts: bool,
    as_json: bool,
    out: Path,
) -> None:
    """Show one sample of a run: question, calls with their images and texts, boxes, answer, verdicts.

    RUN is a run's folder, its id, the beginning of it, its last eight hex digits, or latest; SAMPLE is a
    sample's id or the beginning of it. With --errors instead of SAMPLE: the errors of the run.
    """
    from p2r_bench.store.reader import find_run

    found = find_run(run, out)
    if errors == (sample is not None):
        raise UserError("name a SAMPLE of the run, or give --errors, but not both")
    if sample is None:
        _show_errors(found, limit, as_json)
        return
    row, verdicts = found.find(sample, repeat)
    if picture is not None:
        from p2r_bench.report.picture import draw

        draw(row, verdicts, picture)
    if as_json:
        echo(json.dumps({"run_id": found.run_id, "sample": row, "verdicts": verdicts}, indent=2))
        return
    if picture is not None:
        echo(f"{picture}: sample {row['sample_id']}, {counted(len(row['stages']), 'call')}")
        return
    blocks = [
        _question(row, found.run_id),
        *(_stage(number, stage, prompts) for number, stage in enumerate(row["stages"], start=1)),
        _evidence(row),
        _answer(row),
        _verdicts(verdicts),
        _totals(row),
    ]
    echo(printable("\n\n".join("\n".join(lines) for block in blocks if (lines := list(block)))))


def _show_errors(run: RunReader, limit: int, as_json: bool) -> None:
    from p2r_bench.store.failures import causes

    found = causes(run)
    if as_json:
        echo(json.dumps({"run_id": run.run_id, "causes": [c.as_json() for c in found]}, indent=2))
        return
    if not found:
        echo(f"{run.run_id}: no errors in {len(run.keys())} recorded samples")
        return
    for cause in found:
        echo(f"{len(cause.samples)} × {cause.title}: {cause.message}")
        names = [f"{name} (repeat {n})" if n else name for name, n in cause.samples[:limit]]
        more = len(cause.samples) - limit
        echo("  " + ", ".join(names) + (f", and {more} more (--limit)" if more > 0 else ""))


def _question(row: Row, run_id: str) -> Iterator[str]:
    place = " · ".join(filter(None, (row["task"], row["subset"], row["category"])))
    yield f"{row['sample_id']} · {place} · {row['status']}"
    yield f"run       {run_id}, repeat {row['repeat']}"
    digest = (row["image_digest"] or "not read")[:16]
    yield f"image     {_size(row['image_width'], row['image_height'])}, {digest}{_location(row)}"
    yield f"question  {_indented(row['question'], 10)}"
    for letter, text in json.loads(row["options"] or "{}").items():
        yield f"          {letter}. {_indented(text, 13)}"
    yield f"right     {row['answer']} ({row['answer_form']})"
    if row["gt_boxes"] is not None:
        yield "ground-truth boxes, in thousandths"
        yield from _boxes(row["gt_boxes"], ())


def _stage(number: int, stage: Row, prompts: bool) -> Iterator[str]:
    yield f"── {number}. {stage['role']} · {stage['finish_reason']} · {_tokens(stage)}{_seconds(stage)}"
    for place, image in enumerate(stage["images"], start=1):
        crop = image["crop"]
        part = "whole image" if crop is None else f"crop {tuple(crop)} of it"
        size = _size(image["width"], image["height"])
        count = image["visual_tokens"]
        tokens = "unknown" if count is None else str(count)
        yield f"image {place}: {part}, sent as {size}, {tokens} visual tokens"
    if prompts and stage["request"] is not None:
        for role, parts in json.loads(stage["request"])["messages"]:
            for part in parts:
                yield f"{role}: " + (_indented(part, 4) if isinstance(part, str) else "[image]")
        yield "→"
    yield stage["text"]


def _evidence(row: Row) -> Iterator[str]:
    if row["parse_status"] is not None:
        yield f"── evidence: {row['parse_status']}"
        yield from _boxes(row["boxes"], row["crop_boxes"])
        for reason in row["ignored"]:
            yield f"  ignored {reason}"


def _boxes(boxes: Sequence[Row], crops: Sequence[int]) -> Iterator[str]:
    for place, box in enumerate(boxes):
        corners = ", ".join(f"{box[name]:g}" for name in ("x1", "y1", "x2", "y2"))
        crop = f"  → crop {crops.index(place) + 1}" if place in crops else ""
        yield f"  {place + 1}. [{corners}]  {box['label'] or ''}{crop}".rstrip()


def _answer(row: Row) -> Iterator[str]:
    if row["status"] == "error":
        role = f" in {row['error_role']}" if row["error_role"] else ""
        yield f"── error{role}: {row['error_type']}: {row['error_message']}"
    elif row["status"] == "not_applicable":
        yield "── not applicable: the mode does not apply to this sample"
    else:
        answer = row["extracted_answer"]
        yield "── answer: " + ("none" if answer is None else _indented(answer, 11))


def _verdicts(verdicts: Sequence[Row]) -> Iterator[str]:
    if verdicts:
        rows = [
            (
                v["scorer"],
                v["version"],
                _verdict(v),
                _line(v["extracted"]),
                _line(v["error_message"]),
            )
            for v in verdicts
        ]
        yield table(("scorer", "version", "verdict", "extracted", "error"), rows)


def _line(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())


def _verdict(verdict: Row) -> str:
    if verdict["status"] != "ok":
        return "error"
    return "right" if verdict["correct"] else "wrong"


def _totals(row: Row) -> Iterator[str]:
    total = row["total_seconds"]
    whole = "" if total is None else f", {total:.2f} s in all"
    yield f"{counted(row['n_calls'], 'call')} · {_tokens(row)}{_seconds(row)}{whole}"


def _tokens(row: Row) -> str:
    counts = {
        "in": row["prompt_tokens"],
        "visual": row["visual_tokens"],
        "cached": row["cached_tokens"],
        "out": row["output_tokens"],
    }
    known = [f"{n} {name}" for name, n in counts.items() if n is not None]
    return f"tokens: {', '.join(known)}" if known else "token counts unavailable"


def _seconds(row: Row) -> str:
    times = {name: row[f"{name}_seconds"] for name in ("queue", "image", "engine")}
    known = [f"{name} {t:.2f} s" for name, t in times.items() if t is not None]
    return " · " + ", ".join(known) if known else ""


def _size(width: int | None, height: int | None) -> str:
    return "size unknown" if width is None else f"{width}×{height}"


def _location(row: Row) -> str:
    if row["image_path"] is None:
        return ""
    place = "" if row["image_row"] is None else f", row {row['image_row']}, {row['image_column']}"
    return f", {row['image_path']}{place}"


def _indented(text: str, columns: int) -> str:
    return text.replace("\n", "\n" + " " * columns)
