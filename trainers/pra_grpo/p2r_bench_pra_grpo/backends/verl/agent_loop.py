"""verl's single-turn loop for one rollout, with the seed, the forbidden tokens and the image sizes of evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from verl.experimental.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from p2r_bench.store.rows import recipe_from_json
from p2r_bench_pra_grpo.backends.verl.stage_file import stage_file_of

NEVER = -100.0
"""Logit bias of a forbidden token: the lowest that the API accepts."""


class StageAgentLoop(SingleTurnAgentLoop):
    """Loop of a single turn. A prompt whose images a processor would resize raises an error."""

    tokenizer: Any
    processor: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stage = stage_file_of(self.data_config)
        never_sampled = stage.load_profile().model_family.never_sampled
        self._seed = stage.seed
        self._image_token: int = self.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self._bias = dict.fromkeys(forbidden_tokens(self.tokenizer, never_sampled), NEVER)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Generate one rollout of a row.

        Raises:
            ValueError: The prompt does not have the visual tokens that its recipes promise.
        """
        if sampling_params["temperature"] > 0:
            seed = rollout_seed(
                self._seed,
                int(kwargs.get("global_steps", -1)),
                int(kwargs["index"]),
                int(kwargs.get("session_id", 0)),
            )
            sampling_params = {**sampling_params, "seed": seed}
        params = {**sampling_params, "logit_bias": self._bias}
        output: AgentLoopOutput = await super().run(params, **kwargs)
        return output

    async def ct_build_initial_tokens(
        self, messages: list[dict[str, Any]], *args: Any, **kwargs: Any
    ) -> list[int]:
        """Return the prompt's token ids, with as many visual tokens as the request has."""
        ids: list[int] = await super().ct_build_initial_tokens(messages, *args, **kwargs)
        factor = (
            self.processor.image_processor.patch_size * self.processor.image_processor.merge_size
        )
        sizes = [
            recipe_from_json(part["image"]["recipe"]).size
            for message in messages
            if not isinstance(message["content"], str)
            for part in message["content"]
            if part["type"] == "image"
        ]
        promised = sum(width * height // factor**2 for width, height in sizes)
        if (found := ids.count(self._image_token)) != promised:
            raise ValueError(
                f"{found} visual tokens where the recipes promise {promised}: the model's image processor "
                "resizes what the profile has sized; its pixel limits (preprocessor_config.json) must hold "
                "the profile's budget, and no question may contain <|image_pad|>"
            )
        return ids


def rollout_seed(stage_seed: int, step: int, row: int, rollout: int) -> int:
    """Return the 31-bit seed of a rollout. It is the same when a stage is resumed, and differs within a group."""
    text = f"{stage_seed}:{step}:{row}:{rollout}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def forbidden_tokens(tokenizer: Any, names: Iterable[str]) -> list[int]:
    """Return the ids of those special tokens that the tokenizer has.

    Args:
        names: `Family.never_sampled`.
    """
    added = tokenizer.get_added_vocab()
    return sorted(added[token] for token in names if token in added)
