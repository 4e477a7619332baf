"""Columns of a run's parquet files, with their meaning. `docs/schema.md` lists them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
"""Incremented when a column changes its meaning or is removed, and not for a new column."""

VERSION_KEY = b"p2r_bench.schema"

_TEXT, _BOOL, _FLOAT = pa.string(), pa.bool_(), pa.float64()
_SMALL, _LARGE = pa.int32(), pa.int64()


@dataclass(frozen=True)
class Column:
    """One column, or one field of a column that is a list of structs.

    Attributes:
        type: The pyarrow type; for a list of structs it is made from `fields`.
        volatile: True when it may differ between equal runs (timings, times of day, cache hits).
    """

    name: str
    type: Any
    description: str
    volatile: bool = False
    fields: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Table:
    """A parquet file: the meaning of a row, its key, and its columns."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> Any:
        """The `pyarrow.Schema`, with the schema version in its metadata."""
        return pa.schema(
            [(c.name, c.type) for c in self.columns],
            metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def documented(self) -> Iterator[tuple[str, Column]]:
        """Yield every column and nested field with its dotted name."""
        yield from _documented(self.columns, "")


def _documented(columns: tuple[Column, ...], prefix: str) -> Iterator[tuple[str, Column]]:
    for column in columns:
        yield prefix + column.name, column
        yield from _documented(column.fields, f"{prefix}{column.name}.")


def _list(name: str, description: str, *fields: Column, volatile: bool = False) -> Column:
    kind = pa.list_(pa.struct([(f.name, f.type) for f in fields]))
    return Column(name, kind, description, volatile, fields)


def _boxes(name: str, description: str) -> Column:
    return _list(
        name,
        description,
        Column("x1", _FLOAT, "Left edge in thousandths of the width; may lie outside 0–1000."),
        Column("y1", _FLOAT, "Top edge in thousandths of the height."),
        Column("x2", _FLOAT, "Right edge in thousandths of the width."),
        Column("y2", _FLOAT, "Bottom edge in thousandths of the height."),
        Column("label", _TEXT, "What the region shows; null when not named."),
    )


def _seconds(name: str, description: str) -> Column:
    return Column(name, _FLOAT, description, volatile=True)


_TOKENS = (
    Column(
        "prompt_tokens",
        _LARGE,
        "Prompt tokens, images included; null when the engine does not report them.",
    ),
    Column("cached_tokens", _LARGE, "Prompt tokens found in the prefix cache.", volatile=True),
    Column("output_tokens", _LARGE, "Generated tokens."),
    Column("visual_tokens", _LARGE, "Prompt tokens that stand for images."),
)

_KEY = (
    Column("sample_id", _TEXT, "The sample's id: unique in the task, the same on every machine."),
    Column("repeat", _SMALL, "0 for the first pass over the sample, up to repeats − 1."),
    Column(
        "index", _LARGE, "Position of the sample in the dataset, from 0; rows are in this order."
    ),
)

_ERROR = (
    Column("error_type", _TEXT, "Type of the error, such as timeout; null without an error."),
    Column("error_message", _TEXT, "What went wrong."),
    Column("error_role", _TEXT, "Role of the call that failed."),
)

_STAGE = (
    Column(
        "role",
        _TEXT,
        "What the call was for: perceive, reason, think, answer, or a mode's own word.",
    ),
    Column("text", _TEXT, "The generated text, whole."),
    Column("finish_reason", _TEXT, "stop, length, or the engine's own word."),
    Column("request_digest", _TEXT, "SHA-256 of `request`: identity of the call."),
    Column(
        "request",
        _TEXT,
        "JSON of what was sent: messages (text, and images by recipe digest), sampling and schema.",
    ),
    Column("priority", _SMALL, "Priority in the engine's queue; lower runs earlier."),
    *_TOKENS,
    Column(
        "engine_visual_tokens",
        _LARGE,
        "Visual tokens as the engine counts them; other than `visual_tokens` where it resized an image.",
    ),
    _seconds(
        "queue_seconds",
        "Time in queues: for room for the images, in the engine's queue.",
    ),
    _seconds("image_seconds", "Time to make the images of the request."),
    _seconds("engine_seconds", "Time in the engine, without its queue where it tells that."),
    Column("timings", _TEXT, "JSON of all timings in seconds, by name.", volatile=True),
    Column("engine", _TEXT, "JSON of the facts of the engine that answered.", volatile=True),
    _list(
        "images",
        "The images sent, in order.",
        Column("digest", _TEXT, "Digest of the recipe, to be looked up in `recipes`."),
        Column("width", _SMALL, "Width in pixels as sent."),
        Column("height", _SMALL, "Height in pixels as sent."),
        Column("visual_tokens", _SMALL, "Visual tokens of this image."),
        Column(
            "crop",
            pa.list_(_SMALL),
            "Left, top, right, bottom in pixels of the oriented source image; null for a whole image.",
        ),
    ),
)

SAMPLES = Table(
    "samples",
    "one sample and repeat",
    ("sample_id", "repeat"),
    (
        *_KEY,
        Column("task", _TEXT, "Name of the task."),
        Column("subset", _TEXT, "Part of the task reported on its own, such as 4K."),
        Column("category", _TEXT, "Category as the dataset names it."),
        _list(
            "cells",
            "The reported figures that the sample counts in.",
            Column("subset", _TEXT, "Subset of the figure; null for all."),
            Column("category", _TEXT, "Category of the figure; null for all."),
        ),
        Column(
            "group", _TEXT, "Cluster of the bootstrap: the image, unless the task says otherwise."
        ),
        Column(
            "question_id", _TEXT, "Shared by rows that ask the same question with rotated options."
        ),
        Column("rotation", _SMALL, "Which rotation of the options the row is."),
        Column("image_digest", _TEXT, "SHA-256 of the image file's bytes."),
        Column("image_width", _SMALL, "Stored width in pixels, before EXIF rotation."),
        Column("image_height", _SMALL, "Stored height in pixels, before EXIF rotation."),
        Column("image_orientation", _SMALL, "EXIF orientation, 1 to 8."),
        Column(
            "image_path",
            _TEXT,
            "File or shard that the image was read from; null for one held in memory.",
            volatile=True,
        ),
        Column("image_row", _LARGE, "Row in the shard."),
        Column("image_column", _TEXT, "Column of the shard, dotted for a struct field."),
        Column("image_encoding", _TEXT, "raw, or base64 text."),
        Column("question", _TEXT, "The bare question, without options and instruction."),
        Column("published_question", _TEXT, "The question as the published evaluation sends it."),
        Column(
            "options", _TEXT, "JSON object, option letter to text, in order; null without options."
        ),
        Column("answer", _TEXT, "The right answer."),
        Column("answer_form", _TEXT, "choice, number, free, word, caption or yes_no."),
        _boxes("gt_boxes", "Ground-truth boxes; null when the dataset publishes none."),
        Column("meta", _TEXT, "JSON of further fields of the dataset's row."),
        Column("status", _TEXT, "ok, error (nothing is known or scored) or not_applicable."),
        Column(
            "extracted_answer",
            _TEXT,
            "The model's answer; null with status ok is no answer: wrong.",
        ),
        Column(
            "no_answer_reason",
            _TEXT,
            "cut off (the last reply ended at its token cap) or no answer; null with an answer or another status.",
        ),
        *_ERROR,
        _boxes(
            "boxes", "The perceiver's valid boxes, all; null when the mode reports no evidence."
        ),
        Column(
            "parse_status",
            _TEXT,
            "boxes, empty, invalid or unparsed: result of parsing the perceiver's text.",
        ),
        Column("ignored", pa.list_(_TEXT), "Why entries of the perceiver's list were left out."),
        Column(
            "annotated",
            _TEXT,
            "Recipe digest of the image with the boxes drawn; null without crops.",
        ),
        Column("crops", pa.list_(_TEXT), "Recipe digests of the crops, in box order."),
        Column("crop_boxes", pa.list_(_SMALL), "For each crop, its box's position in `boxes`."),
        _list("stages", "The calls that finished, in order.", *_STAGE),
        _list(
            "recipes",
            "Every distinct image recipe of the row: makes the image again from the source.",
            Column("digest", _TEXT, "Identity of the pixels: SHA-256 of the recipe."),
            Column(
                "recipe", _TEXT, "JSON of the recipe: orient, strokes, crop, resize, transport."
            ),
        ),
        Column("n_calls", _SMALL, "Calls that finished."),
        *_TOKENS,
        _seconds("queue_seconds", "Sum over the calls."),
        _seconds("image_seconds", "Sum over the calls."),
        _seconds("engine_seconds", "Sum over the calls."),
        _seconds("judge_seconds", "Sum over the judges."),
        _seconds("total_seconds", "From the sample's start to its outcome."),
        Column("usage", _TEXT, "JSON of the usage that the mode reports.", volatile=True),
        Column("session", _SMALL, "Position in the manifest's sessions.", volatile=True),
        Column("created", _TEXT, "When the outcome was recorded; ISO 8601, UTC.", volatile=True),
    ),
)

VERDICTS = Table(
    "verdicts",
    "one sample, repeat and scorer",
    ("sample_id", "repeat", "scorer"),
    (
        *_KEY,
        Column("scorer", _TEXT, "Name of the scorer."),
        Column("version", _TEXT, "Version of the scorer's rules."),
        Column("params_hash", _TEXT, "Hash of its parameters."),
        Column(
            "extracted", _TEXT, "Text that was compared with the right answer; null for no answer."
        ),
        Column(
            "span_start",
            _SMALL,
            "Start of `extracted` in the model's answer, where it is a part of it.",
        ),
        Column("span_end", _SMALL, "End of `extracted` in the model's answer."),
        Column("correct", _BOOL, "True when the answer is right; null with status error."),
        Column(
            "score", _FLOAT, "Credit from 0 to 1; 1 or 0 as `correct` unless the scorer grades."
        ),
        Column(
            "metric",
            _TEXT,
            "Metric that is the mean of `score`, such as anls; null where the scorer does not grade.",
        ),
        Column("fallback", _TEXT, "Scorer that decided because this one's rules found no answer."),
        Column("status", _TEXT, "ok, or error: the judge failed, the prediction stands."),
        *_ERROR,
        _seconds("seconds", "Time the judge took."),
        Column("created", _TEXT, "When the verdict was recorded; ISO 8601, UTC.", volatile=True),
    ),
)

_METRIC_COLUMNS = (
    Column(
        "model", _TEXT, "The model; for several, their names joined by + in the order of the roles."
    ),
    Column(
        "model_digest",
        _TEXT,
        "Digest of the weights, name@revision, or name@served# and a fingerprint; joined likewise.",
    ),
    Column("perceive_model", _TEXT, "Model of the perceive role, where the roles' models differ."),
    Column("reason_model", _TEXT, "Model of the reason role, where the roles' models differ."),
    Column("mode", _TEXT, "Name of the mode."),
    Column("mode_version", _TEXT, "Distribution and version that the mode comes from."),
    Column("mode_params", _TEXT, "JSON of the mode's parameters; null without parameters."),
    Column("task", _TEXT, "Name of the task."),
    Column("subset", _TEXT, "Subset of the task; null for all."),
    Column("category", _TEXT, "Category; null for overall."),
    Column("scorer", _TEXT, "Scorer whose verdicts are counted."),
    Column(
        "scorer_version",
        _TEXT,
        "Its version; several are joined by a comma, and such a row is incomplete.",
    ),
    Column("scorer_params_hash", _TEXT, "Hash of its parameters, likewise."),
    Column("headline", _BOOL, "True for the run's headline scorer."),
    Column(
        "metric",
        _TEXT,
        "accuracy, another of the task's metrics, or the mean of a grading scorer's scores.",
    ),
    Column("per", _TEXT, "sample; or question: right when every rotation of the question is."),
    Column(
        "value",
        _FLOAT,
        "Right / scored, 0–1, or the mean score; no answer counts as wrong, errors are not scored.",
    ),
    Column(
        "value_low",
        _FLOAT,
        "The value if everything with an error, and all that is missing, were wrong.",
    ),
    Column("value_high", _FLOAT, "The value if all of that were right."),
    Column("ci_low", _FLOAT, "Lower end of the 95 % interval."),
    Column("ci_high", _FLOAT, "Upper end of the 95 % interval."),
    Column("ci_method", _TEXT, "wilson, cluster-bootstrap or wilson-clusters."),
    Column("n", _LARGE, "Scored samples (questions), repeats included."),
    Column("n_clusters", _LARGE, "Distinct groups (images) among them."),
    Column("n_errors", _LARGE, "Samples with an error of the model or of this scorer."),
    Column("n_no_answer", _LARGE, "Scored samples in which the scorer found no answer."),
    Column("n_cut_off", _LARGE, "Of those, samples whose last reply ended at the token limit."),
    Column(
        "n_unparsed_boxes",
        _LARGE,
        "Scored samples whose perceiver's reply held no usable box list: unparsed or invalid.",
    ),
    Column("n_no_box", _LARGE, "Scored samples whose perceiver named no box: an empty list."),
    Column("n_not_applicable", _LARGE, "Samples for which the mode does not exist."),
    Column("n_missing", _LARGE, "Samples of the task that have not been run; null when not known."),
    Column(
        "n_skipped_rows",
        _LARGE,
        "Rows of the task, of any cell, that were left out because they are bad.",
    ),
    Column(
        "complete",
        _BOOL,
        "Every sample of the task is done and judged and no row was skipped; only such rows are ranked.",
    ),
    Column("reason", _TEXT, "Why there is no value; null where there is one."),
    Column(
        "chance",
        _FLOAT,
        "Value expected of guessing, 0–1, from the options of all choice questions of the cell.",
    ),
    Column("n_chance", _LARGE, "Choice questions (rows) that `chance` is taken over."),
    Column("mixed", _BOOL, "True when sessions had different engines, versions or hardware."),
    Column("repeats", _SMALL, "Number of runs of each sample."),
    Column("seed", _LARGE, "The run's seed."),
    Column("calls_per_sample", _FLOAT, "Mean calls of a sample with status ok."),
    Column(
        "prompt_tokens_per_sample", _FLOAT, "Mean prompt tokens, where the engine reports them."
    ),
    Column(
        "output_tokens_per_sample", _FLOAT, "Mean generated tokens, where the engine reports them."
    ),
    Column("visual_tokens_per_sample", _FLOAT, "Mean visual tokens."),
    _seconds("seconds_per_sample", "Mean time from a sample's start to its outcome."),
    _seconds(
        "engine_seconds_per_sample",
        "Mean time of a sample in the engine, over all its calls.",
    ),
    Column("profile", _TEXT, "Name of the profile."),
    Column("profile_hash", _TEXT, "Hash of the profile."),
    Column("data_digest", _TEXT, "Identity of the data."),
    Column("data_kind", _TEXT, "published, partial, synthetic or unknown; see datasets.md."),
    Column("data_note", _TEXT, "Why the data is of that kind, where it is not obvious."),
    Column("engine", _TEXT, "The engines' names, joined by +."),
    Column("run_id", _TEXT, "The run; null for reported rows."),
    Column(
        "source", _TEXT, "measured, or reported: taken from a publication, never compared exactly."
    ),
    Column("created", _TEXT, "When the row was created; ISO 8601, UTC.", volatile=True),
)

_METRIC_KEY = ("run_id", "scorer", "metric", "subset", "category")

METRICS = Table("metrics", "one figure of the run", _METRIC_KEY, _METRIC_COLUMNS)
LEADERBOARD = Table(
    "leaderboard",
    "one figure of one run or publication",
    (*_METRIC_KEY, "model", "mode", "task"),
    _METRIC_COLUMNS,
)

TABLES = (SAMPLES, VERDICTS, METRICS, LEADERBOARD)
