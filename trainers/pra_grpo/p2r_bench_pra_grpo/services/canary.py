"""One small request with an image, to see that a model answers."""

from __future__ import annotations

from PIL import Image

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Engine, ImageRef, Request, Sample

SIDE = 320
TOKENS = 8


def canary_request(profile: Profile) -> Request:
    """A perceive request about a grey picture, with the profile's own prompt and pixel budget."""
    ref = ImageRef(data=b"", digest="canary", size=(SIDE, SIDE))
    sample = Sample("canary", "canary", ref, "Is the picture grey?", "yes", answer_form="yes_no")
    return TwoStage(profile).perceive_request(sample, max_tokens=TOKENS, seed=0)


async def sing(engine: Engine, profile: Profile) -> Completion:
    """The answer to the canary's request.

    Raises:
        EngineError: There is none, or it has no text and no tokens.
    """
    request = canary_request(profile)
    images = [Image.new("RGB", recipe.size, "grey") for recipe in request.recipes]
    completion = await engine.generate(request, images)
    if not completion.text and not completion.output_tokens:
        raise EngineError("the model generates nothing", kind="empty")
    return completion
