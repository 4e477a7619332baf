"""Lengths of a stage's prompts and rollouts, in tokens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.errors import P2RError, UserError
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.stage import CALL_ROLE, StageRole

if TYPE_CHECKING:
    from p2r_bench_pra_grpo.backends.verl.rows import Row

TEXT_TOKENS = 512
"""Tokens for the text of a prompt beside its images, as in the published limits (2560, 8704)."""


def prompt_tokens(config: Config, role: StageRole, profile: Profile) -> int:
    """Return the longest prompt: the configured one, or the profile's visual tokens and room for the text."""
    return config.grpo_for(role).max_prompt_tokens or (
        (profile.visual_tokens(CALL_ROLE[role]) or 0) + TEXT_TOKENS
    )


def response_tokens(config: Config, role: StageRole, profile: Profile) -> int:
    """Return the cap of a rollout: the configured one, or the profile's for the call's role."""
    return (
        config.grpo_for(role).max_response_tokens
        or profile.sampling.for_role(CALL_ROLE[role]).max_tokens
    )


def check_rows(
    rows: Iterable[Row], role: StageRole, profile: Profile, limit: int, model: Path
) -> int:
    """Return the tokens of the longest prompt.

    Args:
        model: Folder with tokenizer and chat template.

    Raises:
        UserError: A prompt is longer than `limit`, or cannot be made. verl would fail in the middle of a step.
    """
    from transformers import AutoConfig, AutoTokenizer

    from p2r_bench.engines import PromptText, chat_template

    tokenizer = AutoTokenizer.from_pretrained(model)
    image_id = AutoConfig.from_pretrained(model).image_token_id
    text = PromptText(tokenizer, chat_template(model, tokenizer), image_id)
    two = TwoStage(profile)
    longest = 0
    for row in rows:
        try:
            request = row.request(two, role)
            tokens = sum(map(len, text.pieces(request))) + (request.visual_tokens or 0)
        except P2RError as error:
            raise UserError(f"sample {row.sample.id}: no prompt can be made: {error}") from error
        if tokens > limit:
            raise UserError(
                f"sample {row.sample.id}: its prompt has {tokens} tokens ({request.visual_tokens} of them "
                f"visual), and the limit of the {role}'s prompts is {limit}: raise "
                f"grpo.{role}.max_prompt_tokens, or train under a profile with a smaller image.max_pixels"
            )
        longest = max(longest, tokens)
    return longest
