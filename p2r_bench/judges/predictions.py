"""Verdicts on a file of raw model outputs from another harness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, get_args

from p2r_bench.adapter import Profile, extract_answer
from p2r_bench.errors import UserError
from p2r_bench.judges.headline import headline_scorer
from p2r_bench.judges.select import Params, close_judges, fallback_of, make_judges
from p2r_bench.judges.verdicts import verdict_of
from p2r_bench.types import AnswerForm, ImageRef, Prediction, Role, Sample, Verdict

_ANSWERING: dict[str, Role] = {"default": "answer", "thinking": "think"}


@dataclass(frozen=True)
class PredictedRow:
    """One row of a predictions file.

    Attributes:
        index: Position among the file's rows, from 0.
        id: The row's own `id`, or None.
        sample: Sample made of the row's fields; its id is the row's index.
        mode: Name of the mode behind the text.
        text: The raw output of the mode's last call.
    """

    index: int
    id: str | int | None
    sample: Sample
    mode: str
    text: str

    @property
    def role(self) -> Role:
        """Role of the last call: `answer` in default, `think` in thinking, else `reason`."""
        return _ANSWERING.get(self.mode, "reason")


@dataclass(frozen=True)
class JudgedRow:
    """A row, the answer extracted from its text (or None), and a scorer's verdict on it.

    `second`: the verdict of the scorer with a fallback, if there is one.
    """

    row: PredictedRow
    answer: str | None
    verdict: Verdict
    second: Verdict | None = None

    def record(self) -> dict[str, Any]:
        """Return the row for `score --json`; `span` is a place in `answer_text`."""
        record: dict[str, Any] = {
            "index": self.row.index,
            "id": self.row.id,
            "answer_text": self.answer,
            **_decision(self.verdict),
        }
        if self.second is not None:
            record["second_opinion"] = _decision(self.second)
        return record


def _decision(verdict: Verdict) -> dict[str, Any]:
    return {
        "extracted": verdict.extracted,
        "span": list(verdict.span) if verdict.span else None,
        "correct": verdict.correct,
        "score": verdict.score,
        "scorer": verdict.scorer,
        "version": verdict.version,
        "fallback": verdict.fallback,
        "status": verdict.status,
        "error": f"{verdict.error.type}: {verdict.error.message}" if verdict.error else None,
    }


def judge_rows(
    rows: Sequence[PredictedRow], profile: Profile, *, scorer: str, params: Params
) -> list[JudgedRow]:
    """Return verdicts on all rows, in order: by `scorer` if it applies, else by the answer form's own.

    Args:
        profile: Profile whose answer policy extracts the answers from the texts.
        params: Keyword arguments of judges, by scorer.

    Raises:
        UserError: See `select.make_judges`.
    """
    judges = make_judges(params, [row.sample for row in rows], scorer)
    by_name = {judge.scorer: judge for judge in judges}

    async def judge(row: PredictedRow) -> JudgedRow:
        answer = extract_answer(row.text, row.role, profile)
        name = headline_scorer(row.sample, scorer, judges)
        prediction = Prediction(row.sample.id, answer=answer)
        verdict = await verdict_of(by_name[name], row.sample, prediction)
        asked = fallback_of(name, judges)
        second = await verdict_of(asked, row.sample, prediction) if asked else None
        return JudgedRow(row, answer, verdict, second)

    async def work() -> list[JudgedRow]:
        try:
            return await asyncio.gather(*map(judge, rows))
        finally:
            await close_judges(judges)

    return asyncio.run(work())


def read_predictions(path: Path) -> list[PredictedRow]:
    """Read the rows of a JSON-lines file; empty lines are skipped.

    A row has `task`, `mode`, `text` (raw output of the mode's last call), `answer`, and `options` (letter
    to text, or texts that get the letters A, B, …). Without options it needs an `answer_form`, and for
    the verifier a `question`. An `id` is copied to the output; other fields are ignored.

    Raises:
        UserError: An unreadable file or a malformed row; the message names file, line and field.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as a predictions file: {reason}") from error
    rows: list[PredictedRow] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                rows.append(_row(line, len(rows)))
            except _Malformed as error:
                raise UserError(f"{path}, line {number}: {error}") from None
    if not rows:
        raise UserError(f"{path}: has no rows; write one JSON object a line")
    return rows


class _Malformed(Exception):
    """Raised with the fault of a row."""


def _row(line: str, index: int) -> PredictedRow:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Malformed(f"not a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise _Malformed("not a JSON object")
    own_id = row.get("id")
    if own_id is not None and not isinstance(own_id, str | int):
        raise _Malformed(f"id: must be text or a whole number, not {own_id!r}")
    options = _options(row.get("options"))
    sample = Sample(
        id=str(index),
        task=_text(row, "task"),
        image=ImageRef(),
        question=_text(row, "question") if row.get("question") is not None else "",
        options=options,
        answer=_answer(row, options),
        answer_form=_form(row, options),
    )
    return PredictedRow(index, own_id, sample, _text(row, "mode"), _text(row, "text"))


def _text(row: Mapping[str, Any], field: str) -> str:
    if field not in row:
        raise _Malformed(f"{field}: missing; a row has task, mode, text, options and answer")
    value = row[field]
    if value is None and field == "text":
        raise _Malformed("text: null; a failed request has nothing to score, so leave its row out")
    if not isinstance(value, str):
        raise _Malformed(f"{field}: must be text, not {value!r}")
    return value


def _options(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, list):
        if len(value) > len(ascii_uppercase):
            raise _Malformed(f"options: {len(value)} of them, and 26 letters")
        value = dict(zip(ascii_uppercase, value, strict=False))
    if not isinstance(value, dict):
        raise _Malformed(f"options: must map letters to texts or list texts, not {value!r}")
    for letter, text in value.items():
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise _Malformed(f"options: {letter}: must be text, not {text!r}")
    return {letter: str(text) for letter, text in value.items()}


def _form(row: Mapping[str, Any], options: Mapping[str, str]) -> AnswerForm:
    form = row.get("answer_form", "choice" if options else None)
    known: tuple[AnswerForm, ...] = get_args(AnswerForm)
    if form is None:
        raise _Malformed(
            f"options: missing; without options name the answer_form, one of {', '.join(known)}"
        )
    for one in known:
        if form == one:
            return one
    raise _Malformed(f"answer_form: {form!r} is not one of {', '.join(known)}")


def _answer(row: Mapping[str, Any], options: Mapping[str, str]) -> str:
    value = row.get("answer")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    answer = _text({**row, "answer": value} if "answer" in row else row, "answer")
    if _form(row, options) == "choice" and answer not in options:
        known = ", ".join(options) or "none"
        raise _Malformed(f"answer: {answer!r} is not the letter of an option; they are {known}")
    return answer
