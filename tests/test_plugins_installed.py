"""Plugins as pip leaves them: found by entry point, isolated, refused on a clash, all through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

MAJORITY = """
from p2r_bench import hookimpl

@hookimpl
def register_modes(register):
    register("majority", "majority.mode:Majority")
"""
BROKEN = "import a_package_that_is_not_there"


@dataclass
class Site:
    """A folder of installed distributions, and the command line that sees them."""

    folder: Path

    def install(self, distribution: str, version: str, code: str) -> None:
        """Write a one-module plugin as `pip install` does."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code, "utf-8")
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", "utf-8"
        )
        (info / "entry_points.txt").write_text(f"[p2r_bench]\nplugin = {module}\n", "utf-8")

    def run(
        self, *args: str, allow: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **variables}
        environment.pop("P2R_BENCH_LOAD_PLUGINS")
        if allow is not None:
            environment["P2R_BENCH_LOAD_PLUGINS"] = allow
        command = [sys.executable, "-m", "p2r_bench", *args]
        return subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def plugins(self, allow: str | None = None) -> dict[str, dict[str, object]]:
        result = self.run("plugins", "--json", allow=allow)
        assert result.returncode == 0, result.stderr
        return {plugin["name"]: plugin for plugin in json.loads(result.stdout)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_installed_plugin_is_listed_with_version_hooks_and_status(site: Site) -> None:
    site.install("p2r-majority", "0.3", MAJORITY)
    plugin = site.plugins()["p2r-majority"]
    assert plugin == {
        "name": "p2r-majority",
        "version": "0.3",
        "hooks": ["register_modes"],
        "status": "loaded",
        "detail": None,
        "provides": {"modes": ["majority"]},
    }
    shown = site.run("plugins").stdout
    assert "p2r-majority 0.3" in shown and "majority" in shown


def test_broken_plugin_is_named_in_one_line_and_the_rest_works(site: Site) -> None:
    site.install("p2r-broken", "1.2", BROKEN)
    site.install("p2r-majority", "0.3", MAJORITY)
    plugins = site.plugins()
    assert plugins["p2r-broken"]["status"] == "failed"
    assert plugins["p2r-majority"]["status"] == "loaded"
    result = site.run("profile", "list")
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("plugin p2r-broken 1.2: ModuleNotFoundError: No module named")


HOOK = "from p2r_bench import hookimpl\n@hookimpl\ndef "


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (f"{HOOK}register_modes(register): raise ValueError('no')", "ValueError: no"),
        (f"{HOOK}register_modes(registry): ...", "register_modes(registry) does not fit the hook"),
        (
            f"{HOOK}register_reports(register): ...",
            "implements the unknown hook 'register_reports'",
        ),
        (
            f"requires_hooks = 99\n{HOOK}register_reports(register): ...",
            "needs version 99 of the hooks",
        ),
        (f"{HOOK}register_modes(register): register('a b', 'x:Y')", "'a b' cannot be a name"),
        ("x = 1", "implements no hook"),
        ("def (", "SyntaxError: invalid syntax"),
    ],
)
def test_each_way_to_fail_gets_one_line_with_the_distribution(
    site: Site, code: str, line: str
) -> None:
    site.install("p2r-failing", "1.2", code)
    site.install("p2r-majority", "0.3", MAJORITY)
    result = site.run("plugins", "--json")
    plugins = {plugin["name"]: plugin for plugin in json.loads(result.stdout)}
    assert result.returncode == 0
    assert plugins["p2r-failing"]["status"] == "failed" and plugins["p2r-failing"]["provides"] == {}
    assert plugins["p2r-majority"]["status"] == "loaded"
    assert plugins["p2r-bench"]["status"] == "loaded"
    (told,) = result.stderr.splitlines()
    assert told.startswith("plugin p2r-failing 1.2: ") and line in told


@pytest.mark.parametrize(
    "args", [("--strict-plugins", "profile", "list"), ("profile", "list", "--strict-plugins")]
)
def test_strict_plugins_makes_a_broken_one_fatal(site: Site, args: tuple[str, ...]) -> None:
    site.install("p2r-broken", "1.2", BROKEN)
    result = site.run(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert (
        result.stderr.startswith("Error: plugin p2r-broken 1.2: ")
        and "Traceback" not in result.stderr
    )


def test_strict_plugins_can_be_set_by_environment(site: Site) -> None:
    site.install("p2r-broken", "1.2", BROKEN)
    assert site.run("profile", "list", P2R_BENCH_STRICT_PLUGINS="1").returncode == 2


def test_clash_ends_a_command_that_uses_plugins_and_names_both(site: Site) -> None:
    site.install("p2r-majority", "0.3", MAJORITY)
    site.install("p2r-other", "2.0", MAJORITY)
    for command in (("plugins",), ("train", "x", "--config", "p2r_other.py")):
        result = site.run(*command)
        assert result.returncode == 2
        assert (
            "'majority' is registered by both p2r-majority 0.3 and p2r-other 2.0" in result.stderr
        )
        assert "P2R_BENCH_LOAD_PLUGINS" in result.stderr and "Traceback" not in result.stderr
    assert site.run("plugins", allow="p2r-other").returncode == 0
    assert site.run("--help").returncode == 0


def test_allow_list_leaves_others_unimported(site: Site) -> None:
    site.install("p2r-majority", "0.3", MAJORITY)
    site.install("p2r-noisy", "1", "raise SystemExit('imported')")
    plugins = site.plugins(allow="p2r_majority")
    assert (plugins["p2r-majority"]["status"], plugins["p2r-noisy"]["status"]) == ("loaded", "off")
    assert {p["status"] for p in site.plugins(allow="").values()} == {"loaded", "off"}


def test_command_of_a_plugin_is_listed_and_imported_on_use_only(site: Site) -> None:
    code = """
from p2r_bench import hookimpl

@hookimpl
def register_commands(cli):
    cli.lazy("heatmap", "p2r_heatmap_cli:command", "Draw where the perceiver looks.")
"""
    site.install("p2r-heatmap", "1", code)
    listed = site.run("--help")
    assert "Draw where the perceiver looks." in listed.stdout and listed.stderr == ""
    used = site.run("heatmap")
    assert (
        used.returncode == 2 and "p2r_heatmap_cli" in used.stderr and "Traceback" not in used.stderr
    )
    module = "import click\n\n@click.command()\ndef command():\n    click.echo('drawn')\n"
    (site.folder / "p2r_heatmap_cli.py").write_text(module, "utf-8")
    assert site.run("heatmap").stdout == "drawn\n"
