"""The reward of a rollout: the mode's own `solve`, with the rollout replayed, and a judge of the core."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from p2r_bench.adapter import Profile
from p2r_bench.errors import EngineError, UserError
from p2r_bench.judges.headline import headline_scorer
from p2r_bench.judges.select import applicable
from p2r_bench.plugins import registry
from p2r_bench.types import Ask, Box, Completion, Judge, Mode, Prediction, Sample, Verdict
from p2r_bench_pra_grpo.config import BoxTerm, RewardTerms
from p2r_bench_pra_grpo.replay import Replay
from p2r_bench_pra_grpo.stage import NoReward, Reward, ServiceDown, StageRole

TERMS: Mapping[StageRole, tuple[str, ...]] = {
    "perceiver": ("answer", "overlap", "label"),
    "reasoner": ("answer",),
    "baseline": ("answer",),
}
"""Names of the terms of every reward of a stage, in order."""

_EXAMPLE_LABEL = re.compile(r'"label"\s*:\s*"([^"]*)"|<ref>([^<]*)</ref>')


class Rewarder:
    """Rewards of rollouts under one profile.

    Args:
        judges: Judges of the core; the headline scorer of the answer form decides.
        terms: Weights of the terms.
        scorer: Headline scorer for choice questions.
    """

    def __init__(
        self,
        profile: Profile,
        judges: Sequence[Judge],
        terms: RewardTerms | None = None,
        scorer: str = "strict",
    ) -> None:
        self.profile = profile
        self.terms = terms or RewardTerms()
        self._judges = list(judges)
        self._scorer = scorer
        self._modes: Mapping[str, Mode] = {
            name: registry().get("mode", name)() for name in ("p2r", "thinking")
        }
        self._placeholders = placeholders(profile) | {
            label.strip().casefold() for label in self.terms.label.placeholders
        }

    async def perceiver(self, sample: Sample, rollout: Completion, ask: Ask) -> Reward:
        """Return the reward of boxes: the frozen reasoner, asked through `ask`, answers from them.

        Raises:
            EngineError, NoReward: The reasoner or the judge failed; the rollout has no reward.
            ServiceDown: The reasoner or the verifier does not answer any more.
        """
        return await self._reward("perceiver", "p2r", sample, {"perceive": rollout}, ask)

    async def reasoner(self, sample: Sample, boxes: Completion, rollout: Completion) -> Reward:
        """Return the reward of an answer from the frozen perceiver's text `boxes`.

        Raises:
            NoReward: The judge failed.
            ServiceDown: The verifier does not answer any more.
        """
        replayed = {"perceive": boxes, "reason": rollout}
        return await self._reward("reasoner", "p2r", sample, replayed, None)

    async def baseline(self, sample: Sample, rollout: Completion) -> Reward:
        """Return the reward of an answer from a single call on the whole image.

        Raises:
            NoReward: The judge failed.
            ServiceDown: The verifier does not answer any more.
        """
        return await self._reward("baseline", "thinking", sample, {"think": rollout}, None)

    async def _reward(
        self,
        role: StageRole,
        mode: str,
        sample: Sample,
        replayed: Mapping[str, Completion],
        ask: Ask | None,
    ) -> Reward:
        replay = Replay(replayed, ask)
        prediction = await self._modes[mode].solve(sample, replay.ask, self.profile)
        verdict = await self._verdict(sample, prediction)
        terms = {"answer": float(bool(verdict.correct))}
        value = self.terms.answer * terms["answer"]
        if role == "perceiver":
            boxes = prediction.evidence.boxes if prediction.evidence else ()
            terms["overlap"] = float(overlapping(boxes, self.terms.overlap.iou))
            terms["label"] = float(unlabelled(boxes, self._placeholders))
            value = _held_against(
                value, terms, {"overlap": self.terms.overlap, "label": self.terms.label}
            )
        return Reward(value, terms, prediction, verdict)

    async def _verdict(self, sample: Sample, prediction: Prediction) -> Verdict:
        if prediction.status != "ok":
            error = prediction.error
            raise EngineError(
                error.message if error else f"sample {sample.id}: no outcome ({prediction.status})",
                kind=error.type if error else prediction.status,
            )
        fitting = applicable(self._judges, sample)
        chosen = headline_scorer(sample, self._scorer, fitting)
        judge = next((j for j in fitting if j.scorer == chosen), None)
        if judge is None:
            raise UserError(
                f"sample {sample.id}: no judge {chosen!r} for its answer form {sample.answer_form!r} is set up"
            )
        try:
            verdict = await judge.judge(sample, prediction)
        except (UserError, ServiceDown):
            raise
        except (
            Exception
        ) as error:  # a plugin's own: it is a rollout without a reward, as its verdict "error" is
            raise NoReward(
                f"judge {judge.scorer!r}: {error or type(error).__name__}",
                kind=type(error).__name__,
            ) from error
        if verdict.status != "ok" or verdict.correct is None:
            cause = verdict.error
            raise NoReward(
                f"judge {judge.scorer!r}: {cause.message if cause else 'no verdict'}",
                kind=cause.type if cause else "judge",
            )
        return verdict


def _held_against(value: float, terms: Mapping[str, float], rules: Mapping[str, BoxTerm]) -> float:
    for name, term in rules.items():
        if not terms[name]:
            continue
        if term.rule == "veto":
            return 0.0
        if term.rule == "penalty":
            value -= term.weight * terms[name]
    return value


def overlapping(boxes: Sequence[Box], limit: float) -> bool:
    """Return True if two boxes have an intersection over union of more than `limit`."""
    return any(iou(a, b) > limit for a, b in combinations(boxes, 2))


def unlabelled(boxes: Iterable[Box], forbidden: frozenset[str] | set[str]) -> bool:
    """Return True if a box has no label, a blank one, or a forbidden one (compared stripped, without case)."""
    return any(
        not (label := (box.label or "").strip().casefold()) or label in forbidden for box in boxes
    )


def placeholders(profile: Profile) -> frozenset[str]:
    """Return the labels of the examples in the perceiver's prompt, stripped and casefolded."""
    shown = profile.pack.perceive + profile.model_family.boxes.example
    found = _EXAMPLE_LABEL.findall(shown)
    return frozenset((quoted or tagged).strip().casefold() for quoted, tagged in found)


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    ax1, ay1, ax2, ay2 = a.xyxy
    bx1, by1, bx2, by2 = b.xyxy
    width, height = min(ax2, bx2) - max(ax1, bx1), min(ay2, by2) - max(ay1, by1)
    if width <= 0 or height <= 0:
        return 0.0
    # Scaled first: corners of boxes are any finite floats, and products of large ones overflow.
    scale = max(abs(c) for c in (*a.xyxy, *b.xyxy))
    width, height = width / scale, height / scale
    inner = width * height
    union = _area(a, scale) + _area(b, scale) - inner
    share = inner / union if union > 0 else 0.0
    return share if math.isfinite(share) else 0.0


def _area(box: Box, scale: float) -> float:
    x1, y1, x2, y2 = box.xyxy
    return (x2 / scale - x1 / scale) * (y2 / scale - y1 / scale)
