"""`transformers serve` of a Qwen3-VL folder where torchvision cannot be installed.

Usage: python -m tests.engines.serve_transformers FOLDER PORT

The family's processor insists on a video processor, which needs torchvision. Everything else is the
library's own server.
"""

from __future__ import annotations

import sys
from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.cli.serve import Serve
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor


class ImageProcessorOnly(Qwen3VLProcessor):
    """The family's processor without its video part."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template)


def image_processor_only(folder: str, **_: Any) -> ImageProcessorOnly:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    images = AutoImageProcessor.from_pretrained(folder)
    return ImageProcessorOnly(images, tokenizer, tokenizer.chat_template)


if __name__ == "__main__":
    AutoProcessor.from_pretrained = staticmethod(image_processor_only)  # type: ignore[method-assign]
    Serve(force_model=sys.argv[1], port=int(sys.argv[2]), device="cpu", dtype="float32")
