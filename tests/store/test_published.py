"""Published figures are there as printed."""

from __future__ import annotations

from p2r_bench.store.published import published_rows


def test_figures_are_as_printed() -> None:
    rows = {(r.model, r.task, r.subset, r.category): r.value for r in published_rows()}
    assert len(rows) == len(published_rows()) == 200
    assert rows["P2R-4B", "V-Star", None, None] == 0.932
    assert rows["P2R-8B", "HR-Bench", "4K", None] == 0.815
    assert rows["P2R-8B", "HR-Bench", "8K", "cross"] == 0.708
    assert rows["P2R-2B", "MME-RealWorld-lite", None, "Reasoning/AD"] == 0.355
    assert rows["o3", "V-Star", None, None] == 0.957


def test_figures_are_shares_and_say_that_they_are_reported() -> None:
    for row in published_rows():
        assert 0 < row.value < 1
        assert row.source == "reported"
        assert row.category != "overall"
