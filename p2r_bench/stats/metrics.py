"""Figures of a leaderboard, computed from scored samples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any

from p2r_bench.stats.chance import CellFacts
from p2r_bench.stats.intervals import interval
from p2r_bench.types import Cell, Metric

Row = dict[str, Any]

_COSTS = (
    *("n_calls", "prompt_tokens", "output_tokens", "visual_tokens"),
    *("total_seconds", "engine_seconds"),
)
_BOXES = {"unparsed": "unparsed_boxes", "invalid": "unparsed_boxes", "empty": "no_box"}
"""Parse status of a perceiver's reply to the count that it adds to."""

_COST_COLUMNS = (
    "calls_per_sample",
    "prompt_tokens_per_sample",
    "output_tokens_per_sample",
    "visual_tokens_per_sample",
    "seconds_per_sample",
    "engine_seconds_per_sample",
)


_NO_VALUE: Row = {
    **dict.fromkeys(("value", "value_low", "value_high", "ci_low", "ci_high", "ci_method")),
    **dict.fromkeys(("n", "n_clusters", "n_no_answer"), 0),
}


@dataclass(slots=True)
class _Judged:
    """Facts about one outcome that figures are computed from.

    `verdicts`: scorer to right, wrong, no answer ("none") or error. `scores`: scorer to its score from 0 to 1.
    """

    status: str
    form: str
    cluster: str
    question: tuple[str, int]
    costs: tuple[float | None, ...]
    verdicts: dict[str, str]
    scores: dict[str, float]
    cut_off: bool
    boxes: str | None


@dataclass(slots=True)
class _Tally:
    """Counts of one figure's units (samples or questions), by cluster and outcome.

    `credit` is a cluster's number of right units, or the sum of the scores of its scored units.
    """

    credit: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    scored: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    could_be_right: int = 0
    no_answer: int = 0
    not_applicable: int = 0
    unjudged: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def add(
        self, cluster: str, rows: Sequence[tuple[str, _Judged]], graded: Mapping[str, str] | None
    ) -> None:
        """Count a unit of these rows, each with its state. It is right when all its rows are.

        Args:
            graded: Scorer whose score is the credit, by answer form; None credits right answers.
        """
        kinds = {state for state, _ in rows}
        if "unjudged" in kinds:
            self.unjudged += 1
        elif "error" in kinds:
            self.errors += 1
            self.could_be_right += graded is not None or not kinds & {"wrong", "none"}
        elif "not_applicable" in kinds:
            self.not_applicable += 1
        else:
            self.scored[cluster] += 1
            if graded is None:
                self.credit[cluster] += kinds == {"right"}
            else:
                scores = [row.scores[graded[row.form]] for _, row in rows]
                self.credit[cluster] += sum(scores) / len(scores)
            self.no_answer += "none" in kinds
            self.notes["cut_off"] += any(state == "none" and row.cut_off for state, row in rows)
            for name in {row.boxes for _, row in rows if row.boxes}:
                self.notes[name] += 1


def metric_rows(
    outcomes: Iterable[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
    *,
    scorer: str | Mapping[str, str],
    metrics: Sequence[Metric] = (Metric(),),
    expected: Mapping[Cell, int] | None = None,
    repeats: int = 1,
    facts: Mapping[str, Any] | None = None,
    known: Mapping[tuple[str, Cell], CellFacts] | None = None,
    skipped: int = 0,
) -> list[Row]:
    """Return rows with the leaderboard's columns, one per scorer, metric and cell.

    The value is right / scored. A metric named by a grading scorer (`Verdict.metric`) has rows of its own, whose
    value is the mean of the scores. No answer counts as wrong. An error, of the model or of this scorer, is not
    scored: `value_low` and `value_high` are the value if all errors and missing samples were wrong, and if
    they were right. A question is right when all its rows are. It has an error, or does not apply, when one
    of its rows has or does not.

    Args:
        outcomes: Sample rows and their verdict rows, in the dataset's order, any number per sample.
        scorer: The headline scorer, or one for each answer form. Its rows come first and exist even
            without a verdict; where forms have different ones, the row's scorer joins them by "+".
            Another scorer's rows count the answer forms that it judged in this run.
        expected: Number of samples of the whole task in each cell. None when not known: then
            nothing is complete.
        repeats: Intended runs of each sample.
        facts: Columns that are the same in all rows.
        known: Chance level, and the reason for a missing value, by metric name and cell.
        skipped: Number of bad rows left out of the task; with any, no figure is complete.
    """
    cells: dict[Cell, list[_Judged]] = defaultdict(list)
    protocols: dict[str, set[tuple[str, str]]] = defaultdict(set)
    scope: dict[str, set[str]] = defaultdict(set)
    grades: dict[str, str] = {}
    forms: dict[str, None] = {}
    for sample, verdicts in outcomes:
        judged = _judged(sample, verdicts)
        forms[judged.form] = None
        for cell in sample["cells"]:
            cells[cell["subset"], cell["category"]].append(judged)
        for verdict in verdicts:
            protocols[verdict["scorer"]].add((verdict["version"], verdict["params_hash"]))
            scope[verdict["scorer"]].add(judged.form)
            if verdict.get("metric"):
                grades[verdict["scorer"]] = verdict["metric"]
    for cell in expected or ():
        cells.setdefault(cell, [])
    rows = []
    for view, metric in _figures(_views(scorer, forms, scope), metrics, grades):
        # The overall figure first, then subsets, then categories, each as met in the data.
        for cell in sorted(cells, key=lambda cell: (cell[1] is not None, cell[0] is not None)):
            absent = None
            if expected is not None:
                absent = max(0, expected.get(cell, 0) * repeats - len(cells[cell]))
            about = (known or {}).get((metric.name, cell), CellFacts())
            figure = _figure(view, metric, cells[cell], absent, about.question_rows)
            if about.reason is not None:
                figure |= _NO_VALUE
            if view.headline or figure["n"] or figure["n_errors"]:
                complete = figure["complete"] and not skipped
                rows.append(
                    {
                        **(facts or {}),
                        "subset": cell[0],
                        "category": cell[1],
                        **figure,
                        "n_skipped_rows": skipped,
                        "reason": about.reason,
                        "chance": about.chance,
                        "n_chance": about.n_chance,
                        **_protocol(view, protocols, complete=complete),
                    }
                )
    return rows


@dataclass(frozen=True)
class _View:
    """Scorer of each answer form that a figure counts; other forms are left out.

    `graded`: the value is the mean of the scores.
    """

    name: str
    by_form: Mapping[str, str]
    headline: bool = False
    graded: bool = False


def _figures(
    views: Iterable[_View], metrics: Sequence[Metric], grades: Mapping[str, str]
) -> Iterator[tuple[_View, Metric]]:
    """Yield every figure once: the task's metrics of each view, then the metrics of its grading scorers."""
    done: set[tuple[str, str]] = set()
    for view in views:
        yield from ((view, metric) for metric in metrics)
        named: dict[str, dict[str, str]] = defaultdict(dict)
        for form, scorer in view.by_form.items():
            if scorer in grades:
                named[grades[scorer]][form] = scorer
        for name, by_form in named.items():
            scorers = "+".join(dict.fromkeys(by_form.values()))
            if (scorers, name) not in done:
                done.add((scorers, name))
                yield _View(scorers, by_form, view.headline, graded=True), Metric(name)


def _views(
    scorer: str | Mapping[str, str], forms: Iterable[str], scope: Mapping[str, set[str]]
) -> list[_View]:
    chosen = {form: scorer if isinstance(scorer, str) else scorer.get(form, "") for form in forms}
    name = "+".join(dict.fromkeys(filter(None, chosen.values())))
    if not name:
        name = scorer if isinstance(scorer, str) else "+".join(dict.fromkeys(scorer.values()))
    others = [
        _View(other, dict.fromkeys(scope[other], other)) for other in sorted(scope) if other != name
    ]
    return [_View(name, chosen, headline=True), *others]


def _protocol(view: _View, found: Mapping[str, set[tuple[str, str]]], *, complete: bool) -> Row:
    """Return the columns of the scorer and its rules. Verdicts by two versions of a scorer are incomplete."""
    used = sorted(filter(None, set(view.by_form.values())))
    protocols = [protocol for name in used for protocol in sorted(found.get(name, ()))]
    return {
        "scorer": view.name,
        "scorer_version": ",".join(version for version, _ in protocols) or None,
        "scorer_params_hash": ",".join(params for _, params in protocols) or None,
        "headline": view.headline,
        "complete": complete and all(len(found.get(name, ())) <= 1 for name in used),
    }


def _judged(sample: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> _Judged:
    group = sample["group"]
    question = sample["question_id"]
    stages = sample["stages"]
    return _Judged(
        status=sample["status"],
        form=sample["answer_form"],
        cluster=sample["sample_id"] if group is None else group,
        question=(sample["sample_id"] if question is None else question, sample["repeat"]),
        costs=tuple(sample[name] for name in _COSTS),
        verdicts={v["scorer"]: _state(v) for v in verdicts},
        scores={v["scorer"]: _score(v) for v in verdicts},
        cut_off=bool(stages) and stages[-1]["finish_reason"] == "length",
        boxes=_BOXES.get(sample["parse_status"]),
    )


def _state(verdict: Mapping[str, Any]) -> str:
    if verdict["status"] != "ok":
        return "error"
    if verdict["correct"]:
        return "right"
    return "none" if verdict["extracted"] is None else "wrong"


def _score(verdict: Mapping[str, Any]) -> float:
    """Return the score; in an older file without that column, 1 for right."""
    score = verdict.get("score")
    return float(bool(verdict["correct"])) if score is None else float(score)


def _figure(
    view: _View, metric: Metric, members: Sequence[_Judged], absent: int | None, question_rows: int
) -> Row:
    """Return one figure.

    Args:
        absent: Number of missing outcomes of the cell; None when not known.
        question_rows: Largest number of rows of a question.
    """
    members = [member for member in members if member.form in view.by_form]
    tally = _Tally()
    for cluster, rows in _units(members, view, metric, 0 if absent == 0 else question_rows):
        tally.add(cluster, rows, view.by_form if view.graded else None)
    credit, scored = fsum(tally.credit.values()), sum(tally.scored.values())
    row: Row = {
        "metric": metric.name,
        "per": metric.per,
        "value": credit / scored if scored else None,
        **_bounds(tally, credit, scored, absent, metric),
        "ci_low": None,
        "ci_high": None,
        "ci_method": None,
        "n": scored,
        "n_clusters": len(tally.scored),
        "n_errors": tally.errors,
        "n_no_answer": tally.no_answer,
        "n_cut_off": tally.notes["cut_off"],
        "n_unparsed_boxes": tally.notes["unparsed_boxes"],
        "n_no_box": tally.notes["no_box"],
        "n_not_applicable": tally.not_applicable,
        "n_missing": absent,
        "complete": absent == 0 and not tally.errors and not tally.unjudged,
        **_costs(members),
    }
    if scored:
        clusters = list(tally.scored)
        row["ci_low"], row["ci_high"], row["ci_method"] = interval(
            [tally.credit[c] for c in clusters], [tally.scored[c] for c in clusters]
        )
    return row


def _bounds(tally: _Tally, credit: float, scored: int, absent: int | None, metric: Metric) -> Row:
    if metric.per == "question" and absent:  # the number of questions in absent rows is not known
        return {"value_low": None, "value_high": None}
    absent = absent or 0
    possible = scored + tally.errors + absent
    if not possible:
        return {"value_low": None, "value_high": None}
    return {
        "value_low": credit / possible,
        "value_high": (credit + tally.could_be_right + absent) / possible,
    }


def _units(
    members: Sequence[_Judged], view: _View, metric: Metric, question_rows: int
) -> Iterable[tuple[str, Sequence[tuple[str, _Judged]]]]:
    """Return cluster and rows, each with its state, of every sample or question.

    Where rows are absent (`question_rows` is not 0), a question with fewer rows than that, or than the fullest
    one, cannot be called right yet and counts as not judged.
    """
    rows = [
        (
            member.verdicts.get(view.by_form[member.form], "unjudged")
            if member.status == "ok"
            else member.status,
            member,
        )
        for member in members
    ]
    if metric.per == "sample":
        return [(member.cluster, ((state, member),)) for state, member in rows]
    questions: dict[tuple[str, int], list[tuple[str, _Judged]]] = {}
    for state, member in rows:
        questions.setdefault(member.question, []).append((state, member))
    fullest = max((question_rows, *map(len, questions.values())))
    for found in questions.values():
        if question_rows and len(found) < fullest:
            found.append(("unjudged", found[0][1]))
    return [(found[0][1].cluster, found) for found in questions.values()]


def _costs(members: Sequence[_Judged]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    answered = [member.costs for member in members if member.status == "ok"]
    for position, column in enumerate(_COST_COLUMNS):
        known = [c for costs in answered if (c := costs[position]) is not None]
        means[column] = sum(known) / len(known) if known else None
    return means
