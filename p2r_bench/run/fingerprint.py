"""Fingerprint of a served model: its greedy replies to fixed questions.

A URL does not identify weights: it may serve others tomorrow. An engine that cannot give a digest of the
weights (`identifies_weights = False`) answers a few questions, one after the other, before a run is opened and whenever
it is resumed or reported.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw

from p2r_bench.errors import EngineError, UserError
from p2r_bench.optional import HasAskEach
from p2r_bench.types import Completion, Engine, Message, Recipe, Request, Sampling, digest_of

TOKENS = 12
"""Tokens of each reply: enough to distinguish models, few enough that rounding seldom changes a word."""
MEAN_TOLERANCE = 0.05
"""Largest mean difference of log-probabilities, in nats, over all tokens of replies by the same weights."""
TOKEN_TOLERANCE = 0.25
"""Largest difference of one token's log-probability, in nats."""
_SIZE = (352, 288)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fingerprint:
    """Replies of one served model.

    Attributes:
        texts: One for each question of `questions()`.
        logprobs: Log-probabilities of the tokens of each reply; empty where the server gives none.
        root: The server's own name of the model (`root` under /v1/models), or None.
        created: The server's `created` of the model. Not compared: vLLM gives the time of the request.
    """

    texts: tuple[str, ...]
    logprobs: tuple[tuple[float, ...], ...] = ()
    root: str | None = None
    created: int | None = field(default=None, compare=False)

    @property
    def digest(self) -> str:
        """Return twelve hex digits that name this fingerprint. `difference` compares fingerprints."""
        rounded = [[round(p, 1) + 0.0 for p in reply] for reply in self.logprobs]
        return digest_of([self.texts, rounded, self.root])[:12]

    def record(self) -> dict[str, Any]:
        """Return the fingerprint as the manifest holds it."""
        return {
            "digest": self.digest,
            "texts": list(self.texts),
            "logprobs": [[round(p, 4) for p in reply] for reply in self.logprobs],
            "root": self.root,
            "created": self.created,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint of a record made by `record`."""
        return cls(
            tuple(record["texts"]),
            tuple(tuple(reply) for reply in record["logprobs"]),
            record.get("root"),
            record.get("created"),
        )


def difference(before: Fingerprint, now: Fingerprint) -> str | None:
    """Return the first difference that shows that the models are not the same, with both values; None without one.

    Texts and roots must be equal. Log-probabilities, where both have them, may differ by `MEAN_TOLERANCE` on average
    and by `TOKEN_TOLERANCE` for one token: the effect of batches and kernels stays below both.
    """
    if before.root is not None and now.root is not None and before.root != now.root:
        return f"it serves {now.root!r}, before it was {before.root!r}"
    if len(before.texts) != len(now.texts):
        return "another version of p2r-bench asked other questions"
    for number, (old, new) in enumerate(zip(before.texts, now.texts, strict=True), 1):
        if old != new:
            return f"it answers question {number} with {new!r}, before it was {old!r}"
    pairs = [
        (old, new)
        for one, other in zip(before.logprobs, now.logprobs, strict=False)
        for old, new in zip(one, other, strict=False)
    ]
    apart = [abs(old - new) for old, new in pairs if math.isfinite(old) and math.isfinite(new)]
    if apart and (sum(apart) / len(apart) > MEAN_TOLERANCE or max(apart) > TOKEN_TOLERANCE):
        mean, most = sum(apart) / len(apart), max(apart)
        return (
            f"its replies read the same, but the log-probabilities of their tokens differ by {mean:.3f} on average "
            f"and {most:.3f} at most (the same weights stay below {MEAN_TOLERANCE} and {TOKEN_TOLERANCE})"
        )
    return None


def questions() -> list[tuple[Request, list[Image.Image]]]:
    """Return the fixed questions, with their images."""
    recipe = Recipe("fingerprint/1", "apply", "white", (), None, (_SIZE,))
    contents: list[tuple[str | Recipe, ...]] = [
        ("Continue: The lighthouse keeper opened the door and saw",),
        ("Name three colours and an animal for each of them.",),
        (recipe, "Describe this picture in one sentence."),
    ]
    return [
        (
            Request(
                sample_id="fingerprint",
                role="answer",
                messages=(Message("user", content),),
                sampling=Sampling(max_tokens=TOKENS, seed=0),
                logprobs=True,
            ),
            [_picture()] if recipe in content else [],
        )
        for content in contents
    ]


def _picture() -> Image.Image:
    image = Image.new("RGB", _SIZE, (206, 221, 238))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 208, 351, 287), fill=(88, 132, 70))
    draw.rectangle((64, 96, 159, 223), fill=(178, 74, 58))
    draw.polygon(((48, 96), (112, 40), (176, 96)), fill=(84, 60, 52))
    draw.ellipse((256, 24, 319, 87), fill=(240, 200, 60))
    return image


async def take(engine: Engine, model: str) -> Fingerprint:
    """Ask a started engine the questions, one after the other.

    Raises:
        UserError: The engine answers none of the questions, or its servers serve different models.
    """
    replies: dict[str, list[Completion | EngineError]] = {}
    for request, images in questions():
        for url, reply in (await _ask_each(engine, request, images)).items():
            replies.setdefault(url, []).append(reply)
    facts = engine.capabilities().facts
    prints = {url: _fingerprint(given, facts, model) for url, given in replies.items()}
    (first, one), *others = prints.items()
    if not any(one.texts) and not one.logprobs:
        log.warning(
            "%s: the server's short replies are all empty, so its fingerprint cannot tell models apart; "
            "--revision NAME vouches for the weights",
            model,
        )
    for url, other in others:
        if apart := difference(one, other):
            raise UserError(
                f"The servers of {model} differ: compared with {first}, {url} is another model: {apart}. Several "
                "servers must serve the same weights."
            )
    return one


async def _ask_each(
    engine: Engine, request: Request, images: Sequence[Image.Image]
) -> Mapping[str, Completion | EngineError]:
    """Return the reply of every server behind an engine, by URL; the URL is "" for an engine without one."""
    try:
        if isinstance(engine, HasAskEach):
            return dict(await engine.ask_each(request, images))
        return {"": await engine.generate(request, images)}
    except EngineError as error:
        return {"": Completion("") if error.kind == "empty" else error}


def _fingerprint(
    replies: Sequence[Completion | EngineError], facts: Mapping[str, Any], model: str
) -> Fingerprint:
    failures = [reply for reply in replies if isinstance(reply, EngineError)]
    if failures:
        raise UserError(
            f"{model}: no fingerprint of the served model can be taken, because a short question fails: {failures[0]}. "
            "--revision NAME vouches for the weights instead."
        )
    given = [reply for reply in replies if isinstance(reply, Completion)]
    logprobs = [reply.logprobs for reply in given if reply.logprobs is not None]
    root, created = facts.get("served"), facts.get("created")
    return Fingerprint(
        tuple(reply.text for reply in given),
        tuple(logprobs) if len(logprobs) == len(given) else (),
        root if isinstance(root, str) else None,
        created if isinstance(created, int) else None,
    )
