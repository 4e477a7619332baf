"""verl's dataset: the requests of evaluation as rows. `data.custom_cls` names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from verl.utils.dataset.rl_dataset import RLHFDataset

from p2r_bench.adapter import TwoStage
from p2r_bench.engines import chat_messages
from p2r_bench.types import Request
from p2r_bench_pra_grpo.backends.verl.images import image_part, images_of
from p2r_bench_pra_grpo.backends.verl.rows import Row, read_rows, sample_to_json
from p2r_bench_pra_grpo.backends.verl.stage_file import stage_file_of


class StageDataset(RLHFDataset):
    """Rows of `rows.write_rows`, rendered by the adapter under the stage's profile.

    A row holds no pixels: verl copies it for every rollout of its group. Images are rendered in the worker
    that generates, by `process_multi_modal_info`. No row is ever dropped: a row that does not fit is refused when
    the stage is prepared.
    """

    def __init__(
        self,
        data_files: str | Sequence[str],
        tokenizer: Any,
        config: Any,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        Dataset.__init__(self)
        self.data_files = [data_files] if isinstance(data_files, str) else list(data_files)
        self.config = config
        self.tokenizer = tokenizer
        self.processor = processor
        self.max_samples = max_samples
        self.stage = stage_file_of(config)
        self.two = TwoStage(self.stage.load_profile())
        self._read()

    def _read(self) -> None:
        rows = [row for file in self.data_files for row in read_rows(file)]
        self.rows = rows[: self.max_samples] if self.max_samples > 0 else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row = self.rows[item]
        return {
            "raw_prompt": prompt_messages(row, self.request(item)),
            "data_source": row.sample.task,
            "reward_model": {"style": "rule", "ground_truth": row.sample.answer},
            "extra_info": {
                "index": item,
                "sample": sample_to_json(row.sample),
                "boxes": row.boxes,
                "profile": self.stage.profile,
            },
            "index": item,
            "tools_kwargs": {},
            "interaction_kwargs": {},
            "dummy_tensor": torch.zeros(1, dtype=torch.uint8),  # verl's batches need a tensor
        }

    def request(self, item: int) -> Request:
        """Return the request of a row: evaluation's, with the sampling of rollouts."""
        grpo = self.stage.config.grpo_for(self.stage.role)
        sampling = {"temperature": grpo.temperature, "top_p": grpo.top_p}
        if grpo.max_response_tokens:
            sampling["max_tokens"] = grpo.max_response_tokens
        return self.rows[item].request(self.two, self.stage.role, **sampling)

    @classmethod
    async def process_multi_modal_info(
        cls, messages: list[dict[str, Any]], image_patch_size: int, config: Any
    ) -> Any:
        """Return (images, videos, audios) of a row's messages; verl's agent loop calls it in its own process."""
        return await images_of(messages) or None, None, None

    def resume_dataset_state(self) -> None:
        """Read the rows again; verl calls it when a stage is resumed."""
        self._read()


def prompt_messages(row: Row, request: Request) -> list[dict[str, Any]]:
    """Return chat messages of a request with image parts that workers can render."""
    recipes = request.recipes
    return chat_messages(request, lambda index: image_part(recipes[index], row.sample.image))
