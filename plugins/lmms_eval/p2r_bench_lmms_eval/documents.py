"""Documents of an lmms-eval task as samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.tasks.fields import Row
from p2r_bench.types import ImageRef, Sample
from p2r_bench_lmms_eval.columns import ImageColumn, image_columns, stored
from p2r_bench_lmms_eval.known import Known, known_benchmark
from p2r_bench_lmms_eval.loading import PREFIX, split_of
from p2r_bench_lmms_eval.standins import Standins
from p2r_bench_lmms_eval.wording import Wording, worded

_PROMPTS = ("pre_prompt", "post_prompt")


class Documents:
    """Documents of one task.

    V*, HR-Bench and MME-RealWorld are read with p2r-bench's own row readers, so that requests equal those of
    p2r-bench's tasks to the byte. In other tasks, `wording` separates question, options and instruction.

    Attributes:
        task: lmms-eval's task object.
        member: The task's name in lmms-eval.
    """

    def __init__(self, task: Any, member: str | None = None) -> None:
        self.member = member or str(task.config.task)
        self.task = task
        self._dataset = task.dataset[split_of(task)]
        self._known = known_benchmark(task, self._dataset.column_names)
        images = (self._known.image,) if self._known else image_columns(self._dataset)
        self._columns = {name: ImageColumn(self._dataset, name) for name in images}
        rest = [name for name in self._dataset.column_names if name not in images]
        self._text_only = self._dataset.select_columns(rest)

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def known(self) -> Known | None:
        """The benchmark of p2r-bench with the same data, or None."""
        return self._known

    def sample(self, doc_id: int) -> Sample:
        """Return the sample of a document; its id is the document's number.

        Raises:
            UserError: The document has no image or several, or is a conversation.
        """
        values = self._text_only[doc_id]
        if self._known is not None:
            row = Row(Path(self.name), doc_id, values)
            image = self._columns[self._known.image].ref(doc_id)
            sample = self._known.sample(row, image, f"{split_of(self.task)} {self.member}")
        else:
            sample = self._other(doc_id, values)
        return replace(sample, id=str(doc_id), task=self.name)

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.member}"

    def digest(self) -> str:
        """Return the identity of the documents: their fields, and the sizes of their images in bytes."""
        digest = hashlib.sha256(self.name.encode())
        for values in self._text_only:
            digest.update(json.dumps(values, sort_keys=True, default=str).encode())
        for column in self._columns.values():
            digest.update(json.dumps(column.sizes()).encode())
        return digest.hexdigest()

    def _other(self, doc_id: int, values: Mapping[str, Any]) -> Sample:
        standins = Standins(self._dataset, tuple(self._columns))
        doc = {**values, **standins.values}
        try:
            text, images = self._parts(doc, doc_id)
        except UserError:
            raise
        except Exception:  # noqa: BLE001 - the task's function wants more of an image than a stand-in has
            doc = self._dataset[doc_id]
            text, images = self._parts(doc, doc_id)
        with _bare(self.task):
            bare, _ = self._parts(doc, doc_id)
        found = worded(text, bare, self.task.doc_to_target(doc))
        return self._composed(found, self._image(doc_id, images[0], standins), values)

    def _composed(self, found: Wording, image: ImageRef, values: Mapping[str, Any]) -> Sample:
        category = values.get("category")
        return Sample(
            id="",
            task="",
            image=image,
            question=found.question,
            options=found.options,
            answer=found.answer,
            answer_form=found.form,
            category=category if isinstance(category, str) and category else None,
            meta={"instruction": found.instruction} if found.instruction else {},
        )

    def _parts(self, doc: Mapping[str, Any], doc_id: int) -> tuple[str, list[Any]]:
        """Return text and images of the messages that lmms-eval would send."""
        where = f"{self.name}, document {doc_id}"
        texts: list[str] = []
        images: list[Any] = []
        for message in self.task.doc_to_messages(doc):
            if message["role"] == "assistant":
                raise UserError(
                    f"{where}: holds turns of an assistant; only questions are run here"
                )
            content = message["content"]
            for part in (
                [{"type": "text", "text": content}] if isinstance(content, str) else content
            ):
                if part["type"] == "text":
                    texts.append(part["text"])
                elif part["type"] == "image":
                    images.append(part["url"])
                else:
                    raise UserError(
                        f"{where}: the question contains {part['type']}; only text and one image are supported"
                    )
        if len(images) != 1:
            raise UserError(f"{where}: has {len(images)} images; samples have exactly one")
        return "\n".join(texts), images

    def _image(self, doc_id: int, shown: Any, standins: Standins) -> ImageRef:
        column = standins.column_of(shown)
        if column is not None:
            return self._columns[column].ref(doc_id)
        if standins.values:
            _, (shown,) = self._parts(self._dataset[doc_id], doc_id)
        if isinstance(shown, str):
            return ImageRef(path=shown)
        if not isinstance(shown, Image.Image):
            raise UserError(f"{self.name}, document {doc_id}: {type(shown).__name__} is no image")
        buffer = BytesIO()
        shown.convert("RGB").save(buffer, "PNG", compress_level=1)
        return ImageRef(path=str(stored(buffer.getvalue())))


@contextmanager
def _bare(task: Any) -> Iterator[None]:
    """Return a context in which the task omits the instructions that its file puts before and after the question."""
    before = task.lmms_eval_specific_kwargs
    if isinstance(before, dict):
        blank = {name: "" for name in _PROMPTS if name in before}
        task.lmms_eval_specific_kwargs = {**before, **blank}
    try:
        yield
    finally:
        task.lmms_eval_specific_kwargs = before
