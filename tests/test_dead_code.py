"""The search for dead code knows what is registered by name."""

from __future__ import annotations

from pathlib import Path

from tools.dead_code import unused


def test_an_unused_function_is_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def used(): ...\ndef forgotten(): ...\nused()\n")
    (line,) = unused([tmp_path])
    assert "unused function 'forgotten'" in line


def test_a_class_that_is_registered_by_name_is_used(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("class Majority: ...\n")
    (tmp_path / "plugin.py").write_text('print(f"{__package__}.module:Majority")\n')
    assert unused([tmp_path]) == []
