"""A stored run in lmms-eval's results and samples formats."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.reader import RunReader
from p2r_bench.store.rows import prediction_from_row, sample_from_row
from p2r_bench.types import DataSource, Prediction, Sample
from p2r_bench_lmms_eval.loading import PREFIX, load_task, quiet
from p2r_bench_lmms_eval.tokens import token_counts


@dataclass(frozen=True)
class Stored:
    """One sample's outcome, and its verdict by the headline scorer of its answer form."""

    sample: Sample
    prediction: Prediction
    verdict: Mapping[str, Any] | None


def export_run(path: Path, out: Path, *, include_path: str = "", data_dir: str = "") -> list[Path]:
    """Write DATE_results.json and DATE_samples_TASK.jsonl below `out`/MODEL, with lmms-eval's own writer.

    Args:
        include_path, data_dir: Location of the task of an `lmms:` run, as in `load_task`.

    Raises:
        UserError: The run has errors or repeats, is of part of the documents, or cannot be read.
    """
    quiet()
    reader = RunReader(path)
    stored = _stored(reader)
    task = stored[0].sample.task
    if task.startswith(PREFIX):
        params = {"include_path": include_path} if include_path else {}
        source = DataSource(Path(data_dir) if data_dir else None, params=params)
        results = _by_lmms_eval(load_task(task.removeprefix(PREFIX), source), stored)
    else:
        results = _by_verdicts(task, stored)
    models = list(dict.fromkeys(reader.manifest.content["labels"]["models"].values()))
    return _write(results, "+".join(models), reader, out)


def _stored(reader: RunReader) -> list[Stored]:
    found = []
    for row, verdicts in reader.outcomes():
        where = f"{reader.path}: sample {row['sample_id']}"
        if row["status"] != "ok":
            raise UserError(
                f"{where} has status {row['status']}; the formats have no place for that"
            )
        if row["repeat"]:
            raise UserError(f"{where} has repeats, which are not exported")
        form = row["answer_form"]
        headline = _headline(reader, form)
        verdict = next((v for v in verdicts if v["scorer"] == headline), None)
        found.append(Stored(sample_from_row(row), prediction_from_row(row), verdict))
    if not found:
        raise UserError(f"{reader.path}: holds no samples")
    return found


def _headline(reader: RunReader, form: str) -> str | None:
    finished = reader.manifest.content["finished"]
    scorer = finished["scorer"] if finished else None
    return scorer.get(form) if isinstance(scorer, dict) else scorer


def _by_lmms_eval(task: Any, stored: list[Stored]) -> dict[str, Any]:
    """Return the results of lmms-eval's evaluator over the stored answers."""
    from lmms_eval.evaluator import simple_evaluate

    from p2r_bench_lmms_eval.replay import Replay

    ids = sorted(int(one.sample.id) for one in stored)
    if ids != list(range(len(ids))):
        raise UserError(
            "the run's documents are not the first ones of the task; complete the run first"
        )
    results: dict[str, Any] = simple_evaluate(
        model=Replay(task, {int(s.sample.id): s for s in stored}),
        model_args="",
        tasks=[task],
        task_manager=object(),  # the task is loaded; its index of all tasks takes seconds to build
        cli_args=Namespace(process_with_media=False),
        limit=len(ids),
    )
    return results


def _by_verdicts(task: str, stored: list[Stored]) -> dict[str, Any]:
    """Return results in lmms-eval's structure from p2r-bench's verdicts."""
    from lmms_eval.utils import hash_string

    scorers = {
        one.verdict["scorer"] for one in stored if one.verdict and one.verdict["status"] == "ok"
    }
    if any(one.verdict is None or one.verdict["status"] != "ok" for one in stored):
        raise UserError(f"{task}: samples without a verdict; `p2r-bench score RUN` makes them")
    scorer = "+".join(sorted(scorers))
    right = [bool(one.verdict["correct"]) for one in stored if one.verdict]
    share, n = sum(right) / len(right), len(right)
    spread = (share * (1 - share) / (n - 1)) ** 0.5 if n > 1 else "N/A"
    samples = []
    for number, one in enumerate(stored):
        assert one.verdict is not None
        samples.append(
            {
                "doc_id": number,
                "doc": {},
                "target": one.sample.answer,
                "arguments": [one.sample.question],
                "resps": [
                    [one.prediction.completions[-1].text if one.prediction.completions else ""]
                ],
                "filtered_resps": [one.prediction.answer or ""],
                "token_counts": [token_counts(one.prediction)],
                "doc_hash": hash_string(f"{one.sample.id} {one.sample.image.digest}"),
                "sample_id": one.sample.id,
                "accuracy": float(bool(one.verdict["correct"])),
            }
        )
    return {
        "results": {
            task: {
                "alias": task,
                f"accuracy,{scorer}": share,
                f"accuracy_stderr,{scorer}": spread,
                "samples": n,
            }
        },
        "group_subtasks": {task: []},
        "configs": {task: {"task": task, "output_type": "generate_until"}},
        "versions": {task: "p2r-bench"},
        "n-shot": {task: 0},
        "higher_is_better": {task: {"accuracy": True}},
        "n-samples": {task: {"original": n, "effective": n}},
        "samples": {task: samples},
    }


def _write(results: dict[str, Any], model: str, reader: RunReader, out: Path) -> list[Path]:
    from lmms_eval.loggers import EvaluationTracker
    from lmms_eval.utils import get_datetime_str

    samples = results.pop("samples")
    identity = reader.manifest.content["identity"]
    results["config"] = {
        "model": f"p2r-bench {identity['mode']}",
        "model_args": f"model={model},mode={identity['mode']},profile={reader.manifest.content['labels']['profile']}",
        "run_id": reader.run_id,
    }
    tracker = EvaluationTracker(output_path=str(out))
    tracker.general_config_tracker.log_experiment_args("p2r-bench", f"model={model}", "", "", False)
    tracker.save_results_aggregated(results, samples, get_datetime_str(timezone="UTC"))
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    folder = out / tracker.general_config_tracker.model_name_sanitized
    written = sorted(folder.glob(f"{getattr(tracker, 'date_id', '-')}_*"))
    if len(written) != 1 + len(samples):
        raise UserError(f"{folder}: lmms-eval could not write its files there")
    return written
