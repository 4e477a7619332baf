"""Requests in vLLM's terms, and its answers in ours."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2r_bench.engines.chat import check_images
from p2r_bench.engines.completions import checked, finish_word
from p2r_bench.engines.prompt_text import PromptText, check_length
from p2r_bench.engines.stop_strings import cut_at_stop
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Request

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Format:
    """How requests to one checkpoint are put, and its outputs read.

    Attributes:
        factor: Width and height of images are multiples of this; its square in pixels is one visual token.
        context: Longest prompt and output in tokens.
        end_ids, suppressed_ids: Tokens that end an answer; tokens that are never sampled.
    """

    text: PromptText
    factor: int
    context: int
    end_ids: tuple[int, ...]
    suppressed_ids: tuple[int, ...]

    def expected_tokens(self, request: Request) -> int:
        """Visual tokens of a request whose images are not resized."""
        return sum(w * h // self.factor**2 for w, h in (r.size for r in request.recipes))

    def image_tokens(self, rendered: Mapping[str, Any]) -> int:
        """Visual tokens in what vLLM's own processor has made of a prompt."""
        return sum(token == self.text.image_id for token in rendered["prompt_token_ids"])

    def check_rendered(self, request: Request, rendered: Mapping[str, Any]) -> None:
        """Images must have kept their sizes.

        Raises:
            EngineError: The number of visual tokens is another one.
        """
        counted, expected = self.image_tokens(rendered), self.expected_tokens(request)
        if counted != expected:
            raise EngineError(
                f"{request.id}: vLLM made {counted} visual tokens of the images, and at their own sizes they are "
                f"{expected}: it resized them",
                kind="images",
                retryable=False,
            )

    def prompt(self, request: Request, images: Sequence[Image.Image]) -> dict[str, Any]:
        """vLLM's prompt: token ids with one placeholder per image, the images, and their identities.

        Raises:
            EngineError: Images or text do not fit the model or its context.
        """
        check_images(request, images, self.factor)
        pieces = self.text.pieces(request)
        length = sum(map(len, pieces)) + self.expected_tokens(request)
        check_length(request, length, self.context)
        ids = list(pieces[0])
        for piece in pieces[1:]:
            ids += [self.text.image_id, *piece]
        prompt: dict[str, Any] = {"prompt_token_ids": ids}
        if images:
            prompt["multi_modal_data"] = {"image": list(images)}
            prompt["multi_modal_uuids"] = {"image": [recipe.digest for recipe in request.recipes]}
        return prompt

    def sampling(self, request: Request) -> Any:
        """vLLM's SamplingParams, with every field that could change a token set."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        ours = request.sampling
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
            stop_token_ids=list(self.end_ids),
            ignore_eos=False,
            logit_bias=dict.fromkeys(self.suppressed_ids, float("-inf")),
            structured_outputs=None
            if request.schema is None
            else StructuredOutputsParams(json=dict(request.schema)),
            # The text is read from the tokens here, as the transformers engine reads it.
            detokenize=bool(ours.stop),
            logprobs=0 if request.logprobs else None,  # of the chosen token alone
            skip_special_tokens=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def completion(self, request: Request, output: Any, begun: float) -> Completion:
        """What came back.

        Args:
            output: vLLM's final RequestOutput.
            begun: Monotonic time at which the request came.

        Raises:
            EngineError: It is no whole answer.
        """
        (answer,) = output.outputs
        word = finish_word(answer.finish_reason, f"{request.id}: vLLM")
        tokens = list(answer.token_ids)
        text = self.text.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        stats, total = output.metrics, time.monotonic() - begun
        queue = max(0.0, stats.scheduled_ts - stats.queued_ts)
        engine = max(0.0, stats.last_token_ts - stats.scheduled_ts)
        completion = Completion(
            text=cut_at_stop(text, request.sampling.stop),
            finish_reason=word,
            prompt_tokens=len(output.prompt_token_ids),
            cached_tokens=output.num_cached_tokens,
            output_tokens=len(tokens),
            visual_tokens=self.expected_tokens(request),
            timings={
                "prepare": max(0.0, total - queue - engine),
                "queue": queue,
                "engine": engine,
            },
            engine={"engine": "vllm"},
            logprobs=tuple(
                float(at[token].logprob) for at, token in zip(answer.logprobs, tokens, strict=True)
            )
            if answer.logprobs
            else None,
        )
        return checked(completion, f"{request.id}: vLLM")


def lost_image(output: Any) -> bool:
    """Whether a request ended because vLLM's engine process no longer had an image that this process thought it had.

    vLLM keeps processed images in the engine process and remembers here which ones; the two may drift apart when
    the cache is full or a request is cancelled. It forgets the image here then, and the request is to be sent again.
    """
    (answer,) = output.outputs
    return answer.finish_reason == "error" and not answer.token_ids
