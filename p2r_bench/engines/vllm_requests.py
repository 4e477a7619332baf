"""Requests as vLLM's prompts and sampling parameters, and its outputs as completions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2r_bench.engines.chat import chat_messages, check_images
from p2r_bench.engines.chat_template import check_length
from p2r_bench.engines.completions import checked, cut_at_stop, finish_word
from p2r_bench.engines.vllm_checkpoint import Checkpoint
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Request

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Format:
    """Conversion of requests and outputs for one checkpoint.

    Attributes:
        context: Longest prompt and output in tokens.
    """

    checkpoint: Checkpoint
    context: int

    def expected_tokens(self, request: Request) -> int:
        """Return the visual tokens of a request by the family's rule."""
        family = self.checkpoint.family
        return sum(family.visual_tokens(recipe.size) or 0 for recipe in request.recipes)

    def image_tokens(self, rendered: Mapping[str, Any]) -> int:
        """Return the visual tokens that vLLM's processor made of a prompt's images."""
        return list(rendered["prompt_token_ids"]).count(self.checkpoint.image_token)

    def check_rendered(self, request: Request, rendered: Mapping[str, Any]) -> int:
        """Return the visual tokens of a prompt, and check that no image was resized.

        Raises:
            EngineError: The count differs from the family's, whose processor keeps images of these sizes.
        """
        counted, expected = self.image_tokens(rendered), self.expected_tokens(request)
        if counted != expected and self.checkpoint.family.settles:
            raise EngineError(
                f"{request.id}: vLLM made {counted} visual tokens of the images, and at their own sizes they are "
                f"{expected}: it resized them",
                kind="images",
                retryable=False,
            )
        return counted

    def tokens(self, messages: list[dict[str, Any]]) -> list[int]:
        """Return the token ids of chat messages; an image is one token. Not thread-safe."""
        tokenizer = self.checkpoint.tokenizer
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=self.checkpoint.template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt(self, request: Request, images: Sequence[Image.Image]) -> dict[str, Any]:
        """Return vLLM's prompt: token ids with one placeholder per image, the images, and their identities.

        Raises:
            EngineError: Images or text do not fit the model or its context.
        """
        check_images(request, images, self.checkpoint.family.alignment)
        ids = self.tokens(chat_messages(request, lambda _: {"type": "image"}))
        found = ids.count(self.checkpoint.image_token)
        if found != len(images):
            word = self.checkpoint.tokenizer.convert_ids_to_tokens(self.checkpoint.image_token)
            raise EngineError(
                f"{request.id}: {found} image placeholders in the prompt for {len(images)} images; the question must "
                f"not contain {word}",
                kind="prompt",
                retryable=False,
            )
        check_length(request, len(ids) - found + self.expected_tokens(request), self.context)
        prompt: dict[str, Any] = {"prompt_token_ids": ids}
        if images:
            prompt["multi_modal_data"] = {"image": list(images)}
            prompt["multi_modal_uuids"] = {"image": [recipe.digest for recipe in request.recipes]}
        return prompt

    def sampling(self, request: Request) -> Any:
        """Return vLLM's SamplingParams, with every field that could change a token set."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        ours = request.sampling
        schema = request.schema
        return SamplingParams(
            n=1,
            temperature=ours.temperature,
            top_p=ours.top_p,
            top_k=ours.top_k,
            min_p=ours.min_p,
            repetition_penalty=ours.repetition_penalty,
            presence_penalty=ours.presence_penalty,
            frequency_penalty=ours.frequency_penalty,
            max_tokens=ours.max_tokens,
            min_tokens=0,
            seed=ours.seed,
            stop=list(ours.stop),
            stop_token_ids=list(self.checkpoint.end_ids),
            ignore_eos=False,
            logit_bias=dict.fromkeys(self.checkpoint.suppressed_ids, float("-inf")),
            structured_outputs=None
            if schema is None
            else StructuredOutputsParams(json=dict(schema)),
            # The tokens are decoded here, as in the transformers engine.
            detokenize=bool(ours.stop),
            logprobs=0 if request.logprobs else None,  # of the chosen token alone
            skip_special_tokens=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def completion(
        self, request: Request, output: Any, visual_tokens: int, begun: float
    ) -> Completion:
        """Return the completion of a final RequestOutput.

        Args:
            visual_tokens: vLLM's own count.
            begun: Monotonic time at which the request came.

        Raises:
            EngineError: The answer is empty or broken off.
        """
        (answer,) = output.outputs
        word = finish_word(answer.finish_reason, f"{request.id}: vLLM")
        tokens = list(answer.token_ids)
        text = self.checkpoint.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        stats, total = output.metrics, time.monotonic() - begun
        queue = max(0.0, stats.scheduled_ts - stats.queued_ts)
        engine = max(0.0, stats.last_token_ts - stats.scheduled_ts)
        logprobs = None
        if answer.logprobs:
            pairs = zip(answer.logprobs, tokens, strict=True)
            logprobs = tuple(float(at[token].logprob) for at, token in pairs)
        completion = Completion(
            text=cut_at_stop(text, request.sampling.stop),
            finish_reason=word,
            prompt_tokens=len(output.prompt_token_ids),
            cached_tokens=output.num_cached_tokens,
            output_tokens=len(tokens),
            visual_tokens=visual_tokens,
            timings={
                "prepare": max(0.0, total - queue - engine),
                "queue": queue,
                "engine": engine,
            },
            engine={"engine": "vllm"},
            logprobs=logprobs,
        )
        return checked(completion, f"{request.id}: vLLM")


def lost_image(output: Any) -> bool:
    """Return whether vLLM's engine process had evicted an image that this process expected in the cache.

    This may happen when the cache is full or a request is cancelled. vLLM then drops the image in this process too, and
    the request can be sent again.
    """
    (answer,) = output.outputs
    return answer.finish_reason == "error" and not answer.token_ids
