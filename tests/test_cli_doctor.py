"""`p2r-bench doctor`: what is there, what is missing, and the command that gets it."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest
from click.testing import CliRunner

from p2r_bench.cli import doctor, main


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that the doctor finds instead of the real ones; None for a package that is not there."""
    versions: dict[str, str | None] = {}
    real = metadata.version

    def version(name: str) -> str:
        found = versions[name] if name in versions else real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)
    return versions


def report(*args: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(CliRunner().invoke(main, ["doctor", "--json", *args]).stdout)
    return told


def engine(name: str) -> dict[str, Any]:
    (found,) = [e for e in report()["engines"] if e["name"] == name]
    return dict(found)


def test_complete_installation_is_ready(installed: dict[str, str | None]) -> None:
    installed.update({"torch": "2.13.0", "transformers": "5.23.0", "safetensors": "0.8.0"})
    assert engine("transformers") == {
        "name": "transformers",
        "from": f"p2r-bench {metadata.version('p2r-bench')}",
        "missing": [],
        "install": None,
    }
    assert engine("openai")["missing"] == []
    assert all(package["ok"] for package in report()["core"])


def test_missing_package_of_an_engine_comes_with_the_pip_command(
    installed: dict[str, str | None],
) -> None:
    installed.update({"torch": None, "transformers": "5.23.0", "safetensors": "0.8.0"})
    told = engine("transformers")
    assert told["missing"][0].startswith("torch>=")
    assert told["install"] == "pip install 'p2r-bench[transformers]'"
    assert told["install"] in CliRunner().invoke(main, ["doctor"]).output


def test_package_that_is_too_old_counts_as_missing(installed: dict[str, str | None]) -> None:
    installed["transformers"] = "4.40.0"
    assert any(need.startswith("transformers>=") for need in engine("transformers")["missing"])


def test_incomplete_core_ends_with_status_1(installed: dict[str, str | None]) -> None:
    installed["pyarrow"] = None
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1 and "missing or too old" in result.output


def test_bundled_models_are_listed() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert "p2r-tiny" in json.loads(result.stdout)["bundled_models"]
    assert result.exit_code == 0


def test_gpu_tool_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: "/no/such/tool")
    (gpu,) = doctor._gpus()
    assert gpu.startswith("unknown: ") and "/no/such/tool" in gpu


def test_installed_flash_attention_is_told(installed: dict[str, str | None]) -> None:
    installed["flash-attn"] = "2.8.1"
    assert report()["flash_attn"] == "2.8.1"
    installed["flash-attn"] = None
    assert "falls back to sdpa" in CliRunner().invoke(main, ["doctor"]).output
