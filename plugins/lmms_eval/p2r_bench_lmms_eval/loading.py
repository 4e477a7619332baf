"""Tasks of lmms-eval, loaded by name; from the hub, its cache, or a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.tasks.shards import find_shards
from p2r_bench.types import DataSource

PREFIX = "lmms:"
PARAMETERS = ("include_path",)
_loaded: dict[str, Any] = {}


def load_task(member: str, source: DataSource) -> Any:
    """Return lmms-eval's task object, with its dataset.

    Args:
        member: The task's name in lmms-eval, such as "vstar_bench".
        source: `data_dir` is read in place of the hub; the parameter `include_path` names a folder with
            task files of the user's own, as lmms-eval's `--include_path` does.

    Raises:
        UserError: No such task, a group of tasks, another output type than generate_until, or no data.
    """
    manager = task_manager(_include_path(member, source))
    if member in manager.all_groups or member in manager.all_tags:
        parts = _members(manager, member)
        raise UserError(
            f"{PREFIX}{member} is a group of lmms-eval; name its tasks: "
            + ",".join(f"{PREFIX}{part}" for part in parts)
        )
    if member not in manager.all_tasks:
        close = [name for name in manager.all_subtasks if member.lower() in name.lower()][:5]
        hint = f"; like it are {', '.join(close)}" if close else ""
        raise UserError(
            f"{PREFIX}{member}: lmms-eval has no task {member!r}{hint}; task files of your own are found with "
            "--task-arg include_path=DIR"
        )
    config = manager._get_config(member)
    if config.get("output_type", "generate_until") != "generate_until":
        raise UserError(
            f"{PREFIX}{member}: its output type is {config['output_type']}; only generate_until is run here"
        )
    changes = {} if source.data_dir is None else _from_folder(member, config, source.data_dir)
    try:
        found = manager.load_task_or_group([{"task": member, **changes}], task_type="chat")
    except Exception as error:
        cause = _root(error)
        raise UserError(
            f"{PREFIX}{member}: lmms-eval cannot load {config.get('dataset_path')}: "
            f"{type(cause).__name__}: {cause}; --data-dir DIR reads a local copy of its files"
        ) from error
    task = found[member]
    quiet(task)
    _loaded[member] = task
    return task


def loaded_task(member: str, source: DataSource) -> Any:
    """Return the task that was loaded last in this process, else load it."""
    return _loaded[member] if member in _loaded else load_task(member, source)


@cache
def task_manager(include_path: str | None) -> Any:
    """Return lmms-eval's index of tasks, cached because it takes seconds to build."""
    quiet()
    from lmms_eval.tasks import TaskManager

    return TaskManager("WARNING", include_path=include_path, model_name="p2r")


def quiet(task: Any = None) -> None:
    """Keep log lines and progress bars of lmms-eval, and of a task's functions, off our output.

    Some scorers write several lines for each document. The log names a function by its file.
    """
    from datasets import disable_progress_bars
    from loguru import logger

    disable_progress_bars()
    logger.disable("lmms_eval")
    if task is not None:
        for function in (task.config.process_results, *task.aggregation().values()):
            if (name := getattr(function, "__module__", None)) is not None:
                logger.disable(name)


def split_of(task: Any) -> str:
    """Return the name of the split that is evaluated."""
    return str(task.config.test_split or task.config.validation_split)


def _include_path(member: str, source: DataSource) -> str | None:
    for name in source.params:
        if name not in PARAMETERS:
            raise UserError(
                f"{PREFIX}{member} has no parameter {name!r}; it has: {', '.join(PARAMETERS)}"
            )
    path = source.params.get("include_path")
    if path is not None and not Path(str(path)).is_dir():
        raise UserError(f"--task-arg include_path={path}: no such folder")
    return None if path is None else str(path)


def _members(manager: Any, name: str) -> Sequence[str]:
    listed = manager.task_index[name]["task"]
    if listed == -1:
        listed = manager._get_config(name).get("task", [])
    return [part if isinstance(part, str) else str(part.get("task")) for part in listed]


def _from_folder(member: str, config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the config entries that read the split's shards in a folder, as `hf download` leaves it."""
    if not folder.is_dir():
        raise UserError(f"--data-dir {folder}: no such folder")
    shards = find_shards(folder)
    if not shards:
        raise UserError(f"{PREFIX}{member}: no parquet or arrow files in {folder}")
    split = str(config.get("test_split") or config.get("validation_split"))
    named = [path for path in shards if split in path.relative_to(folder).as_posix()]
    chosen = [str(path) for path in named or shards]
    kinds = {Path(path).suffix for path in chosen}
    if len(kinds) > 1:
        raise UserError(f"{folder}: holds parquet and arrow files of {split}; keep one kind")
    return {
        "dataset_path": kinds.pop()[1:],
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: chosen}},
    }


def _root(error: BaseException) -> BaseException:
    """Return the last error of a retried call."""
    attempt = getattr(error, "last_attempt", None)
    return (attempt.exception() if attempt is not None else None) or error
