"""Values and protocols that cross a boundary between parts of p2r-bench.

All dataclasses are frozen and picklable. Fields may be added, never change meaning. Sizes are
(width, height) in pixels; boxes are x1, y1, x2, y2 in thousandths of the image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.adapter.profile import Profile
    from p2r_bench.errors import UserError

Role = Literal["perceive", "reason", "think", "answer"]
ROLES: tuple[Role, ...] = ("perceive", "reason", "think", "answer")
AnswerForm = Literal["choice", "number", "free", "word", "caption", "yes_no"]
Status = Literal["ok", "error", "not_applicable"]
ParseStatus = Literal["boxes", "empty", "invalid", "unparsed"]
NoAnswerReason = Literal["cut off", "no answer"]

Size = tuple[int, int]
Rect = tuple[int, int, int, int]


canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""Return a JSON value as text: sorted keys, no spaces."""


def digest_of(value: object) -> str:
    """Return the SHA-256, in hex, of a JSON value in canonical form."""
    return _digest(canonical_json(value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


R = TypeVar("R")


def changed(record: R, **changes: Any) -> R:
    """Return a changed copy, like `dataclasses.replace` but faster, of a frozen record without `__post_init__`.

    Cached properties are copied too; the caller must drop those that the changes invalidate.
    """
    made = object.__new__(type(record))
    vars(made).update(vars(record), **changes)
    return made


@dataclass(frozen=True)
class Box:
    """A region named by a perceiver or by the ground truth.

    Attributes:
        xyxy: x1, y1, x2, y2 in thousandths of the image, x1 < x2 and y1 < y2. Not clamped to 0–1000.
        label: Text that names the region, or None when the perceiver gave none.
    """

    xyxy: tuple[float, float, float, float]
    label: str | None = None


@dataclass(frozen=True)
class ImageRef:
    """Reference of an image's encoded bytes, with their digest and size.

    Exactly one of `data` and `path` is set. With `row`, `path` is a parquet or arrow shard and the
    bytes are in `column` (dotted for a struct field, "image.bytes") of that row.

    Attributes:
        encoding: "raw" bytes of an image file, or "base64" text of them.
        within: Folder in which a file named by the data must lie, links resolved. None: for a file named in a row the
            shard's folder; a `path` without a row is not checked.
        digest: SHA-256 of the image file's bytes, hex. None until probed.
        size: Stored size in pixels, before EXIF rotation. None until probed.
        orientation: EXIF orientation, 1 to 8.
    """

    data: bytes | None = field(default=None, repr=False)
    path: str | None = None
    row: int | None = None
    column: str | None = None
    encoding: Literal["raw", "base64"] = "raw"
    within: str | None = None
    digest: str | None = None
    size: Size | None = None
    orientation: int = 1


@dataclass(frozen=True)
class Sample:
    """One benchmark item.

    Attributes:
        id: Unique within the task and stable between machines and runs.
        task: Name of the task.
        subset: Part of the task reported on its own ("4K"), or None.
        category: The row's category in the dataset's words, or None.
        image: The source image.
        question: The bare question: no options, no instruction.
        options: Option letter to text, in order; empty when the answer is not a choice.
        answer: The right answer: a letter for "choice", otherwise text.
        answer_form: Form of the answer, which decides its prompt and scorer.
        boxes: Ground-truth regions, or None when the dataset publishes none.
        group: Cluster of the intervals; None means the image's digest.
        question_id: Id shared by rows that ask the same question with rotated options; None for a row without
            rotations.
        rotation: Number of the row's rotation of the options, or None.
        published_question: Question with its options, as the published P2R evaluation sends it; None
            means it is built from `question` and `options`.
        meta: Other facts of the row, as JSON values.
    """

    id: str
    task: str
    image: ImageRef
    question: str
    answer: str
    subset: str | None = None
    category: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    answer_form: AnswerForm = "choice"
    boxes: tuple[Box, ...] | None = None
    group: str | None = None
    question_id: str | None = None
    rotation: int | None = None
    published_question: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stroke:
    """One outline drawn on an image: pixel rectangle (left, top, right, bottom), colour, line width in pixels."""

    rect: Rect
    colour: str
    width: int


@dataclass(frozen=True)
class Recipe:
    """Steps that make an image for a model from a source image: orient, annotate, crop, resize.

    Attributes:
        source: Digest of the source image.
        exif: "apply" or "ignore" the EXIF orientation.
        alpha: "white" flattens transparency on white, "drop" discards the channel.
        strokes: Outlines drawn on the full-resolution image, in order.
        crop: Pixel rectangle cut out after drawing, or None for the whole image.
        resize: Sizes applied one after the other; the model receives the last.
        route: "exact" (Pillow bicubic) or the name of a faster route.
        transport: "lossless", or "jpeg:QUALITY" or "webp:QUALITY" for a round trip through such a file after the
            first resize.
        blank: True paints the finished image black, as a control does.
        visual_tokens: Visual tokens of the image by the family's rule; None when not known. Not part of the digest.
    """

    source: str
    exif: Literal["apply", "ignore"]
    alpha: Literal["white", "drop"]
    strokes: tuple[Stroke, ...]
    crop: Rect | None
    resize: tuple[Size, ...]
    route: str = "exact"
    transport: str = "lossless"
    visual_tokens: int | None = field(default=None, compare=False)
    blank: bool = False

    @property
    def size(self) -> Size:
        """Width and height in pixels of the image that the model receives."""
        return self.resize[-1]

    @property
    def lossy_file(self) -> bool:
        """Return whether the lossy file can be sent as it is: no resize follows the transport."""
        return self.transport != "lossless" and len(self.resize) == 1

    @cached_property
    def digest(self) -> str:
        """Identity of the pixels: equal digests mean equal images."""
        values: dict[str, Any] = {
            "alpha": self.alpha,
            "crop": self.crop,
            "exif": self.exif,
            "resize": self.resize,
            "route": self.route,
            "source": self.source,
            "strokes": [vars(stroke) for stroke in self.strokes],
            "transport": self.transport,
        }
        return digest_of({**values, "blank": True} if self.blank else values)


@dataclass(frozen=True)
class Message:
    """One chat message: text and image recipes, in order."""

    role: Literal["system", "user", "assistant"]
    content: tuple[str | Recipe, ...]


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters. Every field is sent to the engine explicitly.

    Filters and penalties follow vLLM: penalties first, then the temperature, `min_p`, `top_k` and `top_p`, each on the
    remaining probabilities of the one before.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: Draw from the likeliest tokens that hold this share of the probability; 1.0 is off.
        top_k: Draw from this many of the likeliest tokens; 0 is off.
        min_p: Smallest probability of a drawn token, as a share of the likeliest one's; 0.0 is off.
        repetition_penalty: Factor on tokens of the prompt and the output (CTRL, arXiv 1909.05858); 1.0 is off.
        presence_penalty: Subtracted from the logit of every token in the output; 0.0 is off.
        frequency_penalty: Subtracted once per occurrence of the token in the output; 0.0 is off.
        max_tokens: Most tokens of the output.
        seed: None lets the runner derive one from the run's seed, the sample and the call.
        stop: Strings that end the output; they are not part of it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One call to a model.

    Attributes:
        id: Name for logs; different requests of a run have different ids.
        role: Purpose of the call; decides the engine, the prompt and the sampling.
        priority: Lower values run earlier in engines with an ordered queue.
        schema: JSON schema the output must follow, or None.
        logprobs: Ask for the log-probabilities of the output's tokens. Changes no output, so it is not
            part of the digest; an engine that has none leaves `Completion.logprobs` at None.
    """

    sample_id: str
    role: str
    messages: tuple[Message, ...]
    sampling: Sampling
    priority: int = 0
    schema: Mapping[str, Any] | None = None
    logprobs: bool = False

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """The images of the request, in the order in which they are sent."""
        return tuple(part for m in self.messages for part in m.content if isinstance(part, Recipe))

    @cached_property
    def visual_tokens(self) -> int | None:
        """Visual tokens of all images by the family's rule; None when not known."""
        counts = [recipe.visual_tokens for recipe in self.recipes]
        return None if None in counts else sum(count or 0 for count in counts)

    @cached_property
    def content(self) -> str:
        """Text, images by recipe digest, sampling and schema, as canonical JSON."""
        messages = [
            (
                message.role,
                [
                    part if isinstance(part, str) else {"image": part.digest}
                    for part in message.content
                ],
            )
            for message in self.messages
        ]
        return canonical_json(
            {"messages": messages, "sampling": vars(self.sampling), "schema": self.schema}
        )

    @cached_property
    def digest(self) -> str:
        """Identity of the call: SHA-256, in hex, of `content`."""
        return hashlib.sha256(self.content.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def id(self) -> str:
        return f"{self.sample_id}:{self.role}:{self.digest[:12]}"

    def with_seed(self, seed: int) -> Request:
        """Return the same request with another seed."""
        seeded = changed(self, sampling=changed(self.sampling, seed=seed))
        for name in ("content", "digest"):
            vars(seeded).pop(name, None)
        return seeded


@dataclass(frozen=True)
class Completion:
    """Reply to one request.

    Attributes:
        text: The generated text without special tokens.
        finish_reason: "stop", "length", or the engine's own word.
        prompt_tokens, cached_tokens, output_tokens, visual_tokens: Counts; None if the engine reports none.
        engine_visual_tokens: The engine's own count; filled in by the runner, which puts the family's into `visual_tokens`.
        timings: Seconds by name, such as {"queue": 0.1, "engine": 0.8}.
        engine: Facts of the engine that answered (name, version, endpoint).
        request: The request; filled in by the runner.
        logprobs: Natural logarithm of the probability of each output token, if requested.
    """

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    visual_tokens: int | None = None
    engine_visual_tokens: int | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    request: Request | None = None
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Evidence:
    """Result of stage 1, for stage 2.

    Attributes:
        boxes: All valid boxes, in the perceiver's order.
        annotated: Recipe of the whole image with the boxes drawn, None when no crop is left.
        crops: Recipes of the crops, at most the profile's number, in box order.
        crop_boxes: Index into `boxes` of each crop.
        parse_status: "boxes" (at least one), "empty" (a well-formed empty list: the whole image is needed),
            "invalid" (JSON without one valid box) or "unparsed" (no JSON found).
        ignored: Reason for each entry that was left out.
    """

    boxes: tuple[Box, ...] = ()
    annotated: Recipe | None = None
    crops: tuple[Recipe, ...] = ()
    crop_boxes: tuple[int, ...] = ()
    parse_status: ParseStatus = "unparsed"
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class ErrorInfo:
    """Cause of a failure: a type name, a message, and the role of the call that failed."""

    type: str
    message: str
    role: str | None = None


@dataclass(frozen=True)
class Prediction:
    """A mode's outcome for a sample.

    `answer` None with status "ok": the model gave no answer, which counts as wrong. Status "error": the outcome is
    unknown and not scored. Status "not_applicable": the mode does not apply to this sample (`oracle` without
    ground-truth boxes).
    """

    sample_id: str
    status: Status = "ok"
    answer: str | None = None
    evidence: Evidence | None = None
    completions: tuple[Completion, ...] = ()
    error: ErrorInfo | None = None
    usage: Mapping[str, float] = field(default_factory=dict)

    @property
    def no_answer_reason(self) -> NoAnswerReason | None:
        """Reason why an outcome with status "ok" has no answer, or None.

        "cut off": the last reply ended at its token cap, while thinking for instance. "no answer": it was complete.
        """
        if self.status != "ok" or self.answer is not None:
            return None
        cut = bool(self.completions) and self.completions[-1].finish_reason == "length"
        return "cut off" if cut else "no answer"


@dataclass(frozen=True)
class Verdict:
    """Decision of one scorer about a prediction.

    Attributes:
        scorer, version, params_hash: Identity of the scoring protocol.
        extracted: Text matched against the right answer, or None for no answer.
        span: Start and end of `extracted` in `Prediction.answer`, if it is a part of it.
        correct: True or False with status "ok"; None with status "error".
        score: Credit from 0 to 1 (ANLS, IoU, F1) with status "ok"; None with status "error". Default: 1 for a correct
            prediction, else 0.
        metric: Name of the mean of the scorer's scores, such as "anls"; None for a scorer of right and wrong only.
            Equal in all verdicts of a scorer, and not "accuracy", which is the share of correct predictions.
        fallback: Scorer that decided when this one's rules found no answer, or None.
        seconds: Time the judge took; filled in by the runner.
    """

    sample_id: str
    scorer: str
    version: str
    params_hash: str
    extracted: str | None = None
    span: tuple[int, int] | None = None
    correct: bool | None = None
    status: Literal["ok", "error"] = "ok"
    error: ErrorInfo | None = None
    score: float | None = None
    metric: str | None = None
    fallback: str | None = None
    seconds: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        score = self.score
        if score is None:
            if self.status == "ok" and self.correct is not None:
                object.__setattr__(self, "score", float(self.correct))
        elif self.status != "ok":
            raise ValueError(
                f"verdict of {self.scorer!r}: status is 'error', so score must be None; it is {score!r}"
            )
        elif not 0 <= score <= 1:
            raise ValueError(f"verdict of {self.scorer!r}: score is {score!r}, not from 0 to 1")
        if self.metric == "accuracy":
            raise ValueError(
                f"verdict of {self.scorer!r}: accuracy is no name for a mean of scores"
            )


@dataclass(frozen=True)
class Metric:
    """An aggregate over verdicts.

    Attributes:
        name: "accuracy" is the share of right rows.
        per: "sample", or "question": a question is right when all rows with its `question_id` are.
    """

    name: str = "accuracy"
    per: Literal["sample", "question"] = "sample"


Cell = tuple[str | None, str | None]
"""(subset, category) of a reported figure; (None, None) is the task's overall figure."""


@dataclass(frozen=True)
class DataSource:
    """Location and parameters of a task's data.

    Attributes:
        data_dir: Folder named by the user, or None for the task's default folder.
        revision: Hub revision of the folder, or None.
        params: Task parameters (Synth-HR: seed, rows, resolution), all hashed into the data digest.
        allow_outside: Allow image paths that lead outside the data folder.
    """

    data_dir: Path | None = None
    revision: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    allow_outside: bool = False


DataKind = Literal["published", "partial", "synthetic", "unknown"]


@dataclass(frozen=True)
class DataFacts:
    """Facts about a task's data as a whole. Only figures on published data compare with published figures.

    Attributes:
        kind: "published": all rows of the published dataset, or of some of its subsets; "partial": fewer rows;
            "synthetic": generated; "unknown": anything else.
        note: Reason for the kind, or None.
        chance: Expected accuracy of guessing, 0–1: the mean over choice samples of 1 / number of options. None
            without choice samples.
        unavailable: Cells without a value and the reason for each, by metric name.
    """

    kind: DataKind = "unknown"
    note: str | None = None
    chance: float | None = None
    unavailable: Mapping[str, Mapping[Cell, str]] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """A named benchmark.

    A task may also be a `DescribedTask`, a `ScannedTask`, or both.
    """

    name: str
    metrics: tuple[Metric, ...]

    def samples(self, source: DataSource) -> Iterator[Sample]:
        """Yield the samples in the dataset's order, without image bytes if the format allows it.

        Raises:
            UserError: Missing data, or data of another format.
        """

    def data_digest(self, source: DataSource) -> str:
        """Return the identity of the data: hub revision, or names, sizes and footers of the shards."""

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        """Return the reported figures in which this sample counts."""


@runtime_checkable
class DescribedTask(Task, Protocol):
    """A task that knows the kind of its data. The data of other tasks is of kind "unknown"."""

    def data_facts(self, source: DataSource, samples: Sequence[Sample]) -> DataFacts:
        """Describe the data. `samples` are all rows of `samples(source)`."""


@runtime_checkable
class ScannedTask(Task, Protocol):
    """A task that continues after a bad row: all bad rows are listed, and `--on-bad-row skip` can leave them out."""

    def scan(self, source: DataSource) -> Iterator[Sample | UserError]:
        """Yield every row in the dataset's order: its sample, or its error.

        Raises:
            UserError: Missing data, or an unreadable file.
        """


Ask = Callable[[Request], Awaitable[Completion]]


@runtime_checkable
class Mode(Protocol):
    """Protocol that turns a sample into calls to a model.

    Optional members: `roles`, `max_images`, `prepare`; see `p2r_bench.optional`.
    """

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        """Send the requests and return the outcome. `ask` raises EngineError, which a mode never catches."""


@dataclass(frozen=True)
class WireImage:
    """An image encoded for an engine's server.

    Attributes:
        size: (width, height) in pixels.
        data: For the `openai` engine, a data URL with a whole image file.
    """

    size: Size
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class ImageEncoder:
    """Encoder of images for an engine that sends them to a server.

    With it the runner encodes images in its own threads, once for all requests that share them and within its memory
    budget, and `Engine.generate` receives `WireImage`s in place of pixels.

    Attributes:
        name: Encoders with equal names produce equal bytes.
        encode: Function of a recipe and an RGB image, called from several threads at once. The image is at its final
            size, as the model receives it; for a recipe with `lossy_file` it is the image before compression.
    """

    name: str
    encode: Callable[[Recipe, Image.Image], WireImage]


@dataclass(frozen=True)
class Capabilities:
    """Abilities of an engine. At start the runner refuses what the engine cannot honour.

    Attributes:
        sampling: Names of the Sampling fields that are honoured.
        schema: True when JSON schemas are enforced.
        concurrency: Number of requests in flight that keep the engine busy.
        context_tokens: Longest prompt plus output in tokens, or None when unknown.
        min_pixels, max_pixels, factor: Image sizes that the engine's own processor keeps; None if it keeps any size.
        facts: Recorded per session: name, versions, dtype, attention, device.
        canaries: Names of the start-up checks (`run.canaries.NAMES`) that apply to this engine.
        image_encoder: Set by an engine that sends images to a server; see `ImageEncoder`.
    """

    sampling: frozenset[str] = frozenset(Sampling.__dataclass_fields__)
    schema: bool = False
    concurrency: int = 8
    context_tokens: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    factor: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    canaries: tuple[str, ...] = ()
    image_encoder: ImageEncoder | None = field(default=None, compare=False)


@dataclass(frozen=True)
class EngineConfig:
    """Configuration of an engine. Roles with equal configurations share one engine.

    Attributes:
        model: Local folder, hub id, or the name a server knows.
        revision: Hub revision, or None.
        args: `--engine-arg` pairs; an engine refuses names it does not know.
        max_images: Most images in one request of this run.
        family: Name of the run's model family, for engines that cannot read the model's config; None when unknown.
    """

    model: str
    revision: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    max_images: int = 4
    family: str | None = None


@runtime_checkable
class Engine(Protocol):
    """Runs requests. Made as `Engine(config: EngineConfig)`; construction is cheap, `start` loads.

    An engine whose `identify()` returns a name instead of a digest of the weights sets `identifies_weights = False`;
    without a revision its runs are identified by a fingerprint of its replies (`run.fingerprint`). An engine for
    several servers also has `async def ask_each(request, images)`, which returns each server's completion by URL.
    """

    async def identify(self) -> str:
        """Return the identity of the weights: a digest of the files, or "name@revision" of a server.

        Works before `start` and without loading the model, so that a finished run is recognised quickly.

        Raises:
            UserError: A missing model, or an unreachable server.
        """

    async def start(self) -> None:
        """Load or connect. Raises UserError when the model, the device or an argument is unusable."""

    def capabilities(self) -> Capabilities:
        """Return the engine's abilities. Valid after `start`."""

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """Run one request. `images` are RGB at their final size, one per recipe, in order.

        An engine with an `ImageEncoder` receives images or the results of its encoder.

        Cancelling the task aborts the request.

        Raises:
            EngineError: The engine gave no usable reply.
        """

    async def close(self) -> None:
        """Free all resources; safe to call twice."""


@runtime_checkable
class Judge(Protocol):
    """Decides whether predictions are right, by a named and versioned scorer."""

    scorer: str
    version: str
    params_hash: str

    def applies(self, sample: Sample) -> bool:
        """Return whether this scorer can judge the sample."""

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        """Return a verdict on a prediction with status "ok". A failing service gives a verdict with status "error"."""


@runtime_checkable
class Trainer(Protocol):
    """A plugin that improves a model. Made as `Trainer(config: Mapping)`."""

    def plan(self) -> Sequence[Mapping[str, Any]]:
        """Return the steps of a run, in order, without taking any."""

    def run(self) -> None:
        """Run the remaining steps of the plan; safe to call again after an interruption."""

    def status(self) -> Mapping[str, Any]:
        """Return the progress."""
