"""`reproduce`: published rows beside stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2r_bench.adapter import load_profile
from p2r_bench.store.manifest import Manifest
from p2r_bench.store.published import PUBLICATIONS, _outcome
from p2r_bench.testing import write_bench
from tests.trust.runs import invoke, json_of, run_with


@pytest.mark.parametrize("name", PUBLICATIONS)
def test_every_publication_has_figures_and_commands_that_parse(name: str, tmp_path: Path) -> None:
    found = json_of("reproduce", name, "--out", tmp_path)
    assert {(c["task"], c["subset"]) for c in found["checks"]} == {
        ("V-Star", None),
        ("HR-Bench", "4K"),
        ("HR-Bench", "8K"),
        ("MME-RealWorld-lite", None),
    }
    assert {c["outcome"] for c in found["checks"]} == {"no run"}
    assert any(PUBLICATIONS[name].hub in line for line in found["commands"])
    assert found["profile_hash"] == load_profile("original-eval").hash


def test_the_published_row_profile_and_sampling_are_shown(tmp_path: Path) -> None:
    text = invoke("reproduce", "p2r-4b", "--out", tmp_path).output
    assert "hongxingli/P2R-4B in mode p2r" in text
    assert "repetition penalty 1.05, at most 1024 tokens" in text
    assert "V-Star" in text and "93.2" in text


def test_an_unknown_row_is_refused_with_the_list(tmp_path: Path) -> None:
    done = invoke("reproduce", "p2r-9b", "--out", tmp_path)
    assert done.exit_code == 2 and "p2r-8b" in done.output
    assert "hongxingli/P2R-2B" in invoke("reproduce").output


def row(**changes: Any) -> dict[str, Any]:
    return {
        "value": 0.9,
        "ci_low": 0.88,
        "ci_high": 0.93,
        "complete": True,
        "data_kind": "published",
        "source": "measured",
        **changes,
    }


@pytest.mark.parametrize(
    ("published", "changes", "outcome"),
    [
        (0.93, {}, "inside"),
        (0.9304, {}, "inside"),
        (0.931, {}, "outside"),
        (0.879, {}, "outside"),
        (0.9, {"complete": False}, "incomplete"),
        (0.9, {"data_kind": "partial"}, "partial data"),
        (0.9, {"value": None}, "nothing scored"),
    ],
)
def test_outcomes(published: float, changes: dict[str, Any], outcome: str) -> None:
    assert _outcome({"value": published}, row(**changes)) == outcome


def test_a_run_of_the_model_is_found_and_its_profile_explained(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=2)
    run = run_with(data, tmp_path, lambda n: n < 6)
    manifest = Manifest.read(run.path)
    manifest.content["labels"]["models"] = dict.fromkeys(
        ("perceive", "reason"), "hongxingli/P2R-4B"
    )
    manifest.write()
    found = json_of("reproduce", "p2r-4b", "--out", tmp_path)
    (check,) = [c for c in found["checks"] if c["run_id"]]
    assert (check["run_id"], check["measured"], check["subset"]) == (run.run_id, 0.75, "4K")
    assert check["outcome"] not in ("inside", "outside"), (
        "eight drawn rows are not the published data"
    )
    changed = {name: (before, now) for name, before, now in check["profile_changes"]}
    assert changed["sampling.reason.repetition_penalty"] == (1.05, 1.0)
    assert not [name for name in changed if name.startswith("pack.")]
    text = invoke("reproduce", "p2r-4b", "--out", tmp_path).output
    assert "sampling.reason.repetition_penalty: 1.05; 1.0" in text
