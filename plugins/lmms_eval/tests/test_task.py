"""`lmms:NAME` is a task like any other, and what cannot be one is refused with the way out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from p2r_bench_lmms_eval.task import LmmsTask

from p2r_bench import DataSource, UserError
from p2r_bench.plugins import registry
from p2r_bench.testing import TaskContract


class TestColours(TaskContract):
    """Rules that the runner relies on, for a task of the user's own."""

    task = "lmms:colours"

    @pytest.fixture
    def source(self, theirs: Path) -> DataSource:
        return DataSource(params={"include_path": str(theirs)})


@pytest.fixture
def mine(theirs: Path) -> DataSource:
    return DataSource(params={"include_path": str(theirs)})


def test_the_rows_of_a_folder_are_read_in_place_of_the_hub(theirs: Path) -> None:
    samples = list(LmmsTask("vstar_bench").samples(DataSource(theirs / "vstar")))
    assert [sample.id for sample in samples] == ["0", "1", "2", "3"]
    assert {sample.task for sample in samples} == {"lmms:vstar_bench"}


def test_rotations_of_hr_bench_belong_together(mine: DataSource) -> None:
    samples = list(LmmsTask("hrbench_local").samples(mine))
    assert [sample.rotation for sample in samples] == [0, 1, 2, 3]
    assert len({sample.question_id for sample in samples}) == 1


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("vstar", "no task 'vstar'; like it are vstar_bench"),
        ("hrbench", "is a group of lmms-eval; name its tasks: lmms:hrbench4k,lmms:hrbench8k"),
        ("paired_colours", "document 0: has 2 images"),
        ("sent_colours", "only writes a file for a server"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_way_out(
    mine: DataSource, member: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        list(LmmsTask(member).samples(mine))


def test_unknown_parameters_are_refused(theirs: Path) -> None:
    with pytest.raises(UserError, match="no parameter 'seed'; it has: include_path"):
        list(LmmsTask("colours").samples(DataSource(params={"seed": 1})))


def test_the_plugin_adds_a_family_a_judge_an_engine_and_a_command() -> None:
    plugin = next(p for p in registry().plugins if p.name == "p2r-bench-lmms-eval")
    assert plugin.status == "loaded"
    assert dict(plugin.provides) == {
        "task": ("lmms:*",),
        "judge": ("lmms",),
        "engine": ("lmms-eval",),
        "command": ("lmms",),
    }


def test_listing_plugins_and_judging_other_tasks_does_not_import_lmms_eval() -> None:
    code = (
        "import sys\n"
        "from p2r_bench.plugins import registry\n"
        "from p2r_bench.testing import tiny_sample\n"
        "found = registry()\n"
        "assert 'lmms:*' in found.names('task') and found.entry('task', 'lmms:pope')\n"
        "assert not found.get('judge', 'lmms')().applies(tiny_sample())\n"
        "assert not {'lmms_eval', 'torch', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
