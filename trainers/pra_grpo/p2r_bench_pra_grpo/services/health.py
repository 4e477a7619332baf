"""Health check of a model: one small request with an image."""

from __future__ import annotations

from PIL import Image

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Engine, ImageRef, Request, Sample

SIDE = 320
TOKENS = 8


def health_request(profile: Profile) -> Request:
    """Return a perceive request about a grey picture, with the profile's own prompt and pixel budget."""
    ref = ImageRef(data=b"", digest="health", size=(SIDE, SIDE))
    sample = Sample("health", "health", ref, "Is the picture grey?", "yes", answer_form="yes_no")
    return TwoStage(profile).perceive_request(sample, max_tokens=TOKENS, seed=0)


async def check_health(engine: Engine, profile: Profile) -> Completion:
    """Return the answer to the health request.

    Raises:
        EngineError: The request fails, or its answer has neither text nor tokens.
    """
    request = health_request(profile)
    images = [Image.new("RGB", recipe.size, "grey") for recipe in request.recipes]
    completion = await engine.generate(request, images)
    if not completion.text and not completion.output_tokens:
        raise EngineError("the model generates nothing", kind="empty")
    return completion
