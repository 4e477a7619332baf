"""Engines, and their shared code: requests as chat messages and token ids, checks of images, stop strings."""

from p2r_bench.engines.chat import chat_messages, check_images
from p2r_bench.engines.chat_template import PromptText, chat_template, check_length
from p2r_bench.engines.completions import cut_at_stop

__all__ = [
    "PromptText",
    "chat_messages",
    "chat_template",
    "check_images",
    "check_length",
    "cut_at_stop",
]
