"""The scorer `lmms`: lmms-eval's own scoring of an answer."""

from __future__ import annotations

import asyncio
from importlib import metadata
from pathlib import Path

from p2r_bench.types import DataSource, Prediction, Sample, Verdict, digest_of
from p2r_bench_lmms_eval.loading import PREFIX, loaded_task
from p2r_bench_lmms_eval.scoring import handed, is_right, process


class Lmms:
    """lmms-eval scoring: a document is right when it has full marks in its task's first metric.

    The task's `process_results` receives the extracted answer, or `Z` for none. A scorer that raises, or whose judge
    service fails, gives no verdict.

    Args:
        include_path, data_dir: Location of the task when a stored run is judged again; in the run itself the
            task is loaded.
    """

    scorer = "lmms"
    params_hash = digest_of({})

    def __init__(self, include_path: str = "", data_dir: str = "") -> None:
        self.version = f"1, lmms-eval {metadata.version('lmms-eval')}"
        params = {"include_path": include_path} if include_path else {}
        self._source = DataSource(Path(data_dir) if data_dir else None, params=params)

    def applies(self, sample: Sample) -> bool:
        return sample.task.startswith(PREFIX)

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        task = loaded_task(sample.task.removeprefix(PREFIX), self._source)
        text = handed(task, sample, prediction.answer)
        doc = task.eval_docs_no_media[int(sample.id)]
        result = await asyncio.to_thread(process, task, doc, text)
        return Verdict(
            sample.id,
            self.scorer,
            self.version,
            self.params_hash,
            extracted=None if prediction.answer is None else text,
            correct=is_right(task, result),
        )
