"""Columns of a run's parquet files, with their meaning. `docs/schema.md` lists them all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from textwrap import indent
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
"""Incremented when a column changes its meaning or is removed, and not for a new column."""

VERSION_KEY = b"p2r_bench.schema"


@dataclass(frozen=True)
class Column:
    """One column, or one field of a column that is a list of structs.

    Attributes:
        type: The pyarrow type; for a list of structs it is made of `fields`.
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


_TYPES = {
    "text": pa.string(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "texts": pa.list_(pa.string()),
    "int32s": pa.list_(pa.int32()),
}

_SHARED = {
    "key": """
sample_id  text    The sample's id: unique in the task, the same on every machine.
repeat     int32   0 for the first pass over the sample, up to repeats − 1.
index      int64   Position of the sample in the dataset, from 0; rows are in this order.
""",
    "tokens": """
prompt_tokens  int64   Prompt tokens, images included; null when the engine does not report them.
cached_tokens  int64~  Prompt tokens found in the prefix cache.
output_tokens  int64   Generated tokens.
visual_tokens  int64   Prompt tokens that stand for images.
""",
    "error": """
error_type     text    Type of the error, such as timeout; null without an error.
error_message  text    What went wrong.
error_role     text    Role of the call that failed.
""",
    "box": """
x1     float   Left edge in thousandths of the width; may lie outside 0–1000.
y1     float   Top edge in thousandths of the height.
x2     float   Right edge in thousandths of the width.
y2     float   Bottom edge in thousandths of the height.
label  text    What the region shows; null when not named.
""",
}
"""Lines that several tables have."""


def columns(text: str) -> tuple[Column, ...]:
    """Return the columns of a text table with a line `NAME TYPE DESCRIPTION` for each.

    A type is one of `_TYPES`, or `rows` for a list of structs, whose fields are the lines below it, indented by two.
    `~` behind a type marks a volatile column. `@NAME` stands for lines of `_SHARED`.
    """
    text = re.sub(r"(?m)^( *)@(\w+)$", lambda at: indent(_SHARED[at[2]].strip(), at[1]), text)
    lines = [line for line in text.splitlines() if line]
    found: list[Column] = []
    while lines:
        name, kind, description = lines.pop(0).split(None, 2)
        inner = list(takewhile(lambda line: line.startswith("  "), lines))
        del lines[: len(inner)]
        fields = columns("\n".join(line[2:] for line in inner))
        struct = pa.struct([(field.name, field.type) for field in fields])
        type_ = pa.list_(struct) if fields else _TYPES[kind.rstrip("~")]
        found.append(Column(name, type_, description, kind.endswith("~"), fields))
    return tuple(found)


SAMPLES = Table(
    "samples",
    "one sample and repeat",
    ("sample_id", "repeat"),
    columns("""
@key
task                    text    Name of the task.
subset                  text    Part of the task reported on its own, such as 4K.
category                text    Category as the dataset names it.
cells                   rows    The reported figures that the sample counts in.
  subset                text    Subset of the figure; null for all.
  category              text    Category of the figure; null for all.
group                   text    Cluster of the intervals: the image, unless the task names another.
question_id             text    Shared by rows that ask the same question with rotated options.
rotation                int32   Which rotation of the options the row is.
image_digest            text    SHA-256 of the image file's bytes.
image_width             int32   Stored width in pixels, before EXIF rotation.
image_height            int32   Stored height in pixels, before EXIF rotation.
image_orientation       int32   EXIF orientation, 1 to 8.
image_path              text~   File or shard that the image was read from; null for one held in memory.
image_row               int64   Row in the shard.
image_column            text    Column of the shard, dotted for a struct field.
image_encoding          text    raw, or base64 text.
question                text    The bare question, without options and instruction.
published_question      text    The question as the published evaluation sends it.
options                 text    JSON object, option letter to text, in order; null without options.
answer                  text    The right answer.
answer_form             text    choice, number, free, word, caption or yes_no.
gt_boxes                rows    Ground-truth boxes; null when the dataset publishes none.
  @box
meta                    text    JSON of further fields of the dataset's row.
status                  text    ok, error (nothing is known or scored) or not_applicable.
extracted_answer        text    The model's answer; null with status ok is no answer: wrong.
no_answer_reason        text    cut off (the last reply ended at its token cap) or no answer; null with an answer or another status.
@error
boxes                   rows    The perceiver's valid boxes, all; null when the mode reports no evidence.
  @box
parse_status            text    boxes, empty, invalid or unparsed: result of parsing the perceiver's text.
ignored                 texts   Why entries of the perceiver's list were left out.
annotated               text    Recipe digest of the image with the boxes drawn; null without crops.
crops                   texts   Recipe digests of the crops, in box order.
crop_boxes              int32s  For each crop, its box's position in `boxes`.
stages                  rows    The calls that finished, in order.
  role                  text    What the call was for: perceive, reason, think, answer, or a mode's own word.
  text                  text    The generated text, whole.
  finish_reason         text    stop, length, or the engine's own word.
  request_digest        text    SHA-256 of `request`: identity of the call.
  request               text    JSON of what was sent: messages (text, and images by recipe digest), sampling and schema.
  priority              int32   Priority in the engine's queue; lower runs earlier.
  @tokens
  engine_visual_tokens  int64   Visual tokens as the engine counts them; other than `visual_tokens` where it resized an image.
  queue_seconds         float~  Time in queues: for room for the images, in the engine's queue.
  image_seconds         float~  Time to make the images of the request.
  engine_seconds        float~  Time in the engine, without its queue where it tells that.
  timings               text~   JSON of all timings in seconds, by name.
  engine                text~   JSON of the facts of the engine that answered.
  images                rows    The images sent, in order.
    digest              text    Digest of the recipe, to be looked up in `recipes`.
    width               int32   Width in pixels as sent.
    height              int32   Height in pixels as sent.
    visual_tokens       int32   Visual tokens of this image.
    crop                int32s  Left, top, right, bottom in pixels of the oriented source image; null for a whole image.
recipes                 rows    Every distinct image recipe of the row: makes the image again from the source.
  digest                text    Identity of the pixels: SHA-256 of the recipe.
  recipe                text    JSON of the recipe: orient, strokes, crop, resize, transport.
n_calls                 int32   Calls that finished.
@tokens
queue_seconds           float~  Sum over the calls.
image_seconds           float~  Sum over the calls.
engine_seconds          float~  Sum over the calls.
judge_seconds           float~  Sum over the judges.
total_seconds           float~  From the sample's start to its outcome.
usage                   text~   JSON of the usage that the mode reports.
session                 int32~  Position in the manifest's sessions.
created                 text~   When the outcome was recorded; ISO 8601, UTC.
"""),
)

VERDICTS = Table(
    "verdicts",
    "one sample, repeat and scorer",
    ("sample_id", "repeat", "scorer"),
    columns("""
@key
scorer         text    Name of the scorer.
version        text    Version of the scorer's rules.
params_hash    text    Hash of its parameters.
extracted      text    Text that was compared with the right answer; null for no answer.
span_start     int32   Start of `extracted` in the model's answer, where it is a part of it.
span_end       int32   End of `extracted` in the model's answer.
correct        bool    True when the answer is right; null with status error.
score          float   Credit from 0 to 1; 1 or 0 as `correct` unless the scorer grades.
metric         text    Metric that is the mean of `score`, such as anls; null where the scorer does not grade.
fallback       text    Scorer that decided because this one's rules found no answer.
status         text    ok, or error: the judge failed, the prediction stands.
@error
seconds        float~  Time the judge took.
created        text~   When the verdict was recorded; ISO 8601, UTC.
"""),
)

_METRIC_COLUMNS = columns("""
model                      text    The model; for several, their names joined by + in the order of the roles.
model_digest               text    Digest of the weights, name@revision, or name@served# and a fingerprint; joined likewise.
perceive_model             text    Model of the perceive role, where the roles' models differ.
reason_model               text    Model of the reason role, where the roles' models differ.
mode                       text    Name of the mode.
mode_version               text    Distribution and version that the mode comes from.
mode_params                text    JSON of the mode's parameters; null without parameters.
task                       text    Name of the task.
subset                     text    Subset of the task; null for all.
category                   text    Category; null for overall.
scorer                     text    Scorer whose verdicts are counted.
scorer_version             text    Its version; several are joined by a comma, and such a row is incomplete.
scorer_params_hash         text    Hash of its parameters, likewise.
headline                   bool    True for the run's headline scorer.
metric                     text    accuracy, another of the task's metrics, or the mean of a grading scorer's scores.
per                        text    sample; or question: right when every rotation of the question is.
value                      float   Right / scored, 0–1, or the mean score; no answer counts as wrong, errors are not scored.
value_low                  float   The value if everything with an error, and all that is missing, were wrong.
value_high                 float   The value if all of that were right.
ci_low                     float   Lower end of the 95 % interval.
ci_high                    float   Upper end of the 95 % interval.
ci_method                  text    wilson, wilson-jackknife or wilson-clusters; see metrics.md. Earlier versions: cluster-bootstrap.
n                          int64   Scored samples (questions), repeats included.
n_clusters                 int64   Distinct groups (images) among them.
n_errors                   int64   Samples with an error of the model or of this scorer.
n_no_answer                int64   Scored samples in which the scorer found no answer.
n_cut_off                  int64   Of those, samples whose last reply ended at the token limit.
n_unparsed_boxes           int64   Scored samples whose perceiver's reply held no usable box list: unparsed or invalid.
n_no_box                   int64   Scored samples whose perceiver named no box: an empty list.
n_not_applicable           int64   Samples for which the mode does not exist.
n_missing                  int64   Samples of the task that have not been run; null when not known.
n_skipped_rows             int64   Rows of the task, of any cell, that were left out because they are bad.
complete                   bool    Every sample of the task is done and judged and no row was skipped; only such rows are ranked.
reason                     text    Why there is no value; null where there is one.
chance                     float   Value expected of guessing, 0–1, from the options of all choice questions of the cell.
n_chance                   int64   Choice questions (rows) that `chance` is taken over.
mixed                      bool    True when sessions had different engines, versions or hardware.
repeats                    int32   Number of runs of each sample.
seed                       int64   The run's seed.
calls_per_sample           float   Mean calls of a sample with status ok.
prompt_tokens_per_sample   float   Mean prompt tokens, where the engine reports them.
output_tokens_per_sample   float   Mean generated tokens, where the engine reports them.
visual_tokens_per_sample   float   Mean visual tokens.
seconds_per_sample         float~  Mean time from a sample's start to its outcome.
engine_seconds_per_sample  float~  Mean time of a sample in the engine, over all its calls.
profile                    text    Name of the profile.
profile_hash               text    Hash of the profile.
data_digest                text    Identity of the data.
data_kind                  text    published, partial, synthetic or unknown; see datasets.md.
data_note                  text    Why the data is of that kind, where it is not obvious.
engine                     text    The engines' names, joined by +.
run_id                     text    The run; null for reported rows.
source                     text    measured, or reported: taken from a publication, never compared exactly.
created                    text~   When the row was created; ISO 8601, UTC.
""")

_METRIC_KEY = ("run_id", "scorer", "metric", "subset", "category")

METRICS = Table("metrics", "one figure of the run", _METRIC_KEY, _METRIC_COLUMNS)
LEADERBOARD = Table(
    "leaderboard",
    "one figure of one run or publication",
    (*_METRIC_KEY, "model", "mode", "task"),
    _METRIC_COLUMNS,
)

TABLES = (SAMPLES, VERDICTS, METRICS, LEADERBOARD)
