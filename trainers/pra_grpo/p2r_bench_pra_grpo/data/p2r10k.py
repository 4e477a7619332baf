"""P2R-10k's format: parquet rows with prompt, images, answer form and ground truth.

Columns, as the published trainer reads them: `prompt` (chat messages, the user's text with `<image>` marks, or that
text alone), `images` (a list whose first entry is the image: a path, or a struct with `path` or `bytes`),
`extra_info.answer_form` ("mca", "na" or "free_form"; or a column `answer_form`), `reward_model.ground_truth` (or a
column `ground_truth` or `answer`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.judges.number import read_number
from p2r_bench.tasks.fields import Row
from p2r_bench.tasks.shards import find_shards, open_shard
from p2r_bench.types import AnswerForm, ImageRef, Sample
from p2r_bench_pra_grpo.data.options import split_options

TASK = "P2R-10k"

FORMS: Mapping[str, AnswerForm] = {"mca": "choice", "na": "number", "free_form": "free"}
"""Published name of an answer form to the core's; the core's own names are accepted as well."""

_IMAGE_MARK = re.compile(r"<image>\s*")
_SHOWN_FINDINGS = 20


def load_p2r10k(
    path: Path, images: Path | None = None, unpacked: Path | None = None
) -> list[Sample]:
    """Return all rows of a file, or of the shards of a folder, unprobed.

    Args:
        images: Root of relative image paths; None for the folder of the parquet file.
        unpacked: Folder for images that are stored in the rows; each is written once.

    Raises:
        UserError: Rows cannot be used; the message names file, row and field of the first 20 findings.
    """
    samples: list[Sample] = []
    findings: list[UserError] = []
    for entry in scan(path, images, unpacked):
        if isinstance(entry, Sample):
            samples.append(entry)
        else:
            findings.append(entry)
    if findings:
        shown = "\n".join(f"  {finding}" for finding in findings[:_SHOWN_FINDINGS])
        more = len(findings) - _SHOWN_FINDINGS
        rest = f"\n  and {more} more" if more > 0 else ""
        raise UserError(
            f"{path}: {len(findings)} rows cannot be used; correct or remove them:\n{shown}{rest}"
        )
    if not samples:
        raise UserError(f"{path}: no rows")
    return samples


def scan(
    path: Path, images: Path | None = None, unpacked: Path | None = None
) -> Iterator[Sample | UserError]:
    """Yield a sample or an error for every row.

    Raises:
        UserError: The file or folder itself cannot be read, or lacks a column.
    """
    for file in files_of(path):
        shard = open_shard(file)
        columns = _columns(file, shard.schema.names)
        root = (images or file.parent).resolve()
        prefix = file.stem if path.is_file() else file.relative_to(path).with_suffix("").as_posix()
        for number, values in enumerate(shard.rows(columns)):
            row = Row(file, number, values)
            try:
                yield _sample(row, f"{prefix}/{number}", root, unpacked)
            except UserError as error:
                yield error


def files_of(path: Path) -> list[Path]:
    """Return the file, or the shards of the folder.

    Raises:
        UserError: The folder has no shards.
    """
    files = [path] if path.is_file() else find_shards(path) if path.is_dir() else []
    if not files:
        raise UserError(f"{path}: no parquet file there; P2R-10k's rows are expected")
    return files


def _columns(file: Path, names: list[str]) -> list[str]:
    for needed in ("prompt", "images"):
        if needed not in names:
            raise UserError(f"{file}: no column {needed!r}; it has {', '.join(names)}")
    for choices in (("extra_info", "answer_form"), ("reward_model", "ground_truth", "answer")):
        if not any(name in names for name in choices):
            raise UserError(
                f"{file}: none of the columns {', '.join(choices)}; it has {', '.join(names)}"
            )
    known = (
        "prompt",
        "images",
        "extra_info",
        "answer_form",
        "reward_model",
        "ground_truth",
        "answer",
    )
    return [name for name in (*known, "data_source") if name in names]


def _sample(row: Row, name: str, root: Path, unpacked: Path | None) -> Sample:
    form = _form(row)
    text = _question(row)
    question, options = text, dict[str, str]()
    if form == "choice":
        found = split_options(text)
        if found is None:
            raise row.error(
                "prompt", "a question of the form mca without options A, B, … in its text"
            )
        question, options = found
    return Sample(
        id=name,
        task=TASK,
        category=row.optional("data_source"),
        image=_image(row, root, unpacked),
        question=question,
        options=options,
        answer=_answer(row, form, options),
        answer_form=form,
        published_question=text,
    )


def _form(row: Row) -> AnswerForm:
    info = row.values.get("extra_info")
    value = info.get("answer_form") if isinstance(info, Mapping) else None
    field = "extra_info.answer_form"
    if value is None:
        value, field = row.values.get("answer_form"), "answer_form"
    known: dict[str, AnswerForm] = {**FORMS, **{form: form for form in get_args(AnswerForm)}}
    if isinstance(value, str) and value in known:
        return known[value]
    raise row.error(field, f"{value!r} is none of {', '.join(known)}")


def _question(row: Row) -> str:
    text = _user_text(row.values.get("prompt"))
    if text is None:
        raise row.error("prompt", "no message of the user with text in it")
    question = _IMAGE_MARK.sub("", text).strip()
    if not question:
        raise row.error("prompt", "the user's message holds no question")
    if text.count("<image>") > 1:
        raise row.error(
            "prompt", f"{text.count('<image>')} images; questions about one image are trained"
        )
    return question


def _user_text(prompt: object) -> str | None:
    if isinstance(prompt, str):
        return prompt
    for message in prompt if isinstance(prompt, list) else ():
        if not isinstance(message, Mapping) or message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            return content
        parts = content if isinstance(content, list) else ()
        texts = [
            p["text"] for p in parts if isinstance(p, Mapping) and isinstance(p.get("text"), str)
        ]
        return "\n".join(texts) or None
    return None


def _answer(row: Row, form: AnswerForm, options: Mapping[str, str]) -> str:
    field, value = _ground_truth(row)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = repr(value)
    given = Row(row.file, row.number, {field: value})
    if form == "choice":
        texts = [letter for letter, text in options.items() if value == text]
        return texts[0] if len(texts) == 1 else given.letter(field, options)
    answer = given.text(field)
    if form == "number" and read_number(answer) is None:
        raise row.error(field, f"{answer!r} cannot be read as one number; write it in digits")
    if form == "yes_no" and answer.casefold() not in ("yes", "no"):
        raise row.error(field, f"{answer!r} where yes or no should be")
    return answer


def _ground_truth(row: Row) -> tuple[str, Any]:
    model = row.values.get("reward_model")
    if isinstance(model, Mapping) and model.get("ground_truth") is not None:
        return "reward_model.ground_truth", model["ground_truth"]
    for field in ("ground_truth", "answer"):
        if row.values.get(field) is not None:
            return field, row.values[field]
    raise row.error("reward_model.ground_truth", "missing")


def _image(row: Row, root: Path, unpacked: Path | None) -> ImageRef:
    value = row.values.get("images")
    if not isinstance(value, list) or not value:
        raise row.error("images", "no image")
    if len(value) > 1:
        raise row.error("images", f"{len(value)} images; questions about one image are trained")
    image = value[0]
    if isinstance(image, Mapping):
        if isinstance(data := image.get("bytes"), bytes):
            return _unpacked(row, data, unpacked)
        image = image.get("path") or image.get("image")
    if not isinstance(image, str) or not image:
        raise row.error("images", f"{str(image)[:60]!r} where a path or an image's bytes should be")
    path = root / image.removeprefix("file://")
    if not path.is_file():
        raise row.error(
            "images",
            f"{path} is not there; relative paths start at {root}, set data.images to another folder",
        )
    return ImageRef(path=str(path))


def _unpacked(row: Row, data: bytes, folder: Path | None) -> ImageRef:
    """Write the image to a file, because a row of a list column cannot be read by itself later."""
    if folder is None:
        return ImageRef(data=data)
    path = folder / f"{hashlib.sha256(data).hexdigest()}.image"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_bytes(data)
    return ImageRef(path=str(path.resolve()))
