"""The engines of a command, each started when first needed and shared between runs and roles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench.errors import UserError
from p2r_bench.optional import HasIdentifiesWeights, HasMaxImages, declared_roles
from p2r_bench.plugins import registry
from p2r_bench.run.canaries import Policy, check
from p2r_bench.run.spec import EngineChoice
from p2r_bench.types import ROLES, Capabilities, Engine, EngineConfig, Mode, Sampling

TEXT_ALLOWANCE = 512
"""Tokens kept for the text of a prompt when context lengths are checked before a run."""

SINGLE_IMAGE_ROLES = ("perceive", "think", "answer")
"""Roles whose requests hold the whole image and nothing else."""


class EngineSet:
    """Engines by choice; each is created once and shared by all roles and runs."""

    def __init__(self, max_images: int = 4) -> None:
        self.max_images = max_images
        self._engines: dict[tuple[tuple[object, ...], str | None], Engine] = {}
        self._started: list[Engine] = []
        self._checked: dict[tuple[object, ...], Mapping[str, Any]] = {}

    def get(self, choice: EngineChoice, family: str | None = None) -> Engine:
        """Return the engine of a choice, not yet started.

        Args:
            family: Name of the run's model family. An engine of a served model is bound to one; others read it from
                the checkpoint.
        """
        kind = registry().get("engine", choice.engine)
        by_name = isinstance(kind, HasIdentifiesWeights) and not kind.identifies_weights
        bound = family if by_name else None
        key = (choice.key, bound)
        if key not in self._engines:
            config = EngineConfig(
                choice.model, choice.revision, choice.args, self.max_images, family
            )
            self._engines[key] = kind(config)
        return self._engines[key]

    async def start(self, engines: Iterable[Engine]) -> None:
        """Start the engines that are not running yet."""
        for engine in engines:
            if not any(engine is other for other in self._started):
                await engine.start()
                self._started.append(engine)

    async def check(
        self, used: Mapping[str, Engine], profile: Profile, max_images: int, policy: Policy
    ) -> dict[str, Any]:
        """Return the canaries' outcomes of each engine by its roles; each combination is checked once.

        Raises:
            UserError: See `canaries.check`.
        """
        roles: dict[int, list[str]] = {}
        for role, engine in used.items():
            roles.setdefault(id(engine), []).append(role)
        outcomes = {}
        for role, engine in used.items():
            own = roles[id(engine)]
            key = (id(engine), *own, profile.hash, max_images, policy)
            if role == own[0]:
                if key not in self._checked:
                    self._checked[key] = await check(engine, profile, own, max_images, policy)
                if self._checked[key]:
                    outcomes["+".join(own)] = self._checked[key]
        return outcomes

    async def close(self, keep: Iterable[EngineChoice] = ()) -> None:
        """Close all engines except those of the choices in `keep`, also after a failed start."""
        needed = {choice.key for choice in keep}
        closing = [self._engines.pop(key) for key in [*self._engines] if key[0] not in needed]
        self._started = [e for e in self._started if not any(e is other for other in closing)]
        gone = {id(engine) for engine in closing}
        self._checked = {
            key: outcomes for key, outcomes in self._checked.items() if key[0] not in gone
        }
        await asyncio.gather(*(engine.close() for engine in closing))


def roles_of(mode: Mode) -> tuple[str, ...]:
    """Return the roles that a mode declares; all roles when it declares none."""
    return declared_roles(mode) or ROLES


def max_images_of(mode: Mode, profile: Profile) -> int:
    """Return the most images in one request of a mode: the mode's `max_images(profile)`, else the profile's number."""
    return mode.max_images(profile) if isinstance(mode, HasMaxImages) else profile.max_images


def check_capabilities(
    engines: Mapping[str, Engine],
    profile: Profile,
    choices: Mapping[str, EngineChoice],
    max_images: int,
) -> None:
    """Check before the first request that the engines can honour the profile.

    Args:
        max_images: Most images one request of the mode holds.

    Raises:
        UserError: An engine cannot honour a field; the message names engine and field, and says what to change.
    """
    for role, engine in engines.items():
        where = f"engine {choices[role].engine!r} for role {role!r} of profile {profile.name!r}"
        images = 1 if role in SINGLE_IMAGE_ROLES else max_images
        _check_role(engine.capabilities(), role, profile, images, where)


def _check_role(can: Capabilities, role: str, profile: Profile, images: int, where: str) -> None:
    sampling, neutral = profile.sampling.for_role(role), replace(Sampling(), max_tokens=0)
    for name in Sampling.__dataclass_fields__:
        if name not in can.sampling and getattr(sampling, name) != getattr(neutral, name):
            raise UserError(
                f"{where}: sampling.{role}.{name} = {getattr(sampling, name)!r} cannot be honoured by this engine. "
                f"A profile that extends this one may set {name} = {getattr(neutral, name)!r}; its numbers then differ"
            )
    if profile.structured_boxes and role == "perceive" and not can.schema:
        raise UserError(
            f"{where}: structured_boxes needs an engine that enforces JSON schemas, such as vllm; a profile that "
            "extends this one may set structured_boxes = false"
        )
    image = profile.image
    floor = image.second_min_pixels or image.min_pixels
    family = profile.model_family
    # A family that does not settle leaves sizes to the server, so the processor's own sizes decide nothing.
    sized = family.settles
    if sized and can.factor is not None and family.alignment % can.factor:
        raise UserError(
            f"{where}: the family {family.name} makes sides multiples of {family.alignment}, which are no "
            f"multiples of {can.factor}, for which the engine checks sizes: --family names another family; for a "
            "server, --engine-arg pixels=unchecked goes on without the check, which is recorded"
        )
    if sized and can.min_pixels is not None and floor < can.min_pixels:
        raise UserError(
            f"{where}: the model's processor enlarges images below {can.min_pixels} pixels, and "
            f"image.min_pixels is {floor}: the model would not see the profile's pixels. Lower the processor's limit "
            f"(vLLM: --mm-processor-kwargs), or use a profile that extends this one with image.min_pixels = {can.min_pixels}"
        )
    if sized and can.max_pixels is not None and image.max_pixels > can.max_pixels:
        raise UserError(
            f"{where}: the model's processor shrinks images above {can.max_pixels} pixels, and "
            f"image.max_pixels is {image.max_pixels}: the model would not see the profile's pixels. Raise the "
            "processor's limit (vLLM: --mm-processor-kwargs), or use a profile that extends this one with "
            f"image.max_pixels = {can.max_pixels}"
        )
    each = family.most_visual_tokens(profile.budget)
    if each is None:
        return
    visual = images * each
    needed = visual + TEXT_ALLOWANCE + sampling.max_tokens
    if can.context_tokens is not None and needed > can.context_tokens:
        raise UserError(
            f"{where}: needs {needed} tokens of context ({visual} for {images} images, "
            f"{TEXT_ALLOWANCE} for text, {sampling.max_tokens} for the output), the engine has "
            f"{can.context_tokens}: serve a longer context (engine vllm: --engine-arg max_model_len={needed}, "
            f"a vLLM server: --max-model-len {needed}), or use a profile with a "
            f"smaller image.max_pixels, crop.count or sampling.{role}.max_tokens"
        )
