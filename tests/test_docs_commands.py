"""Every command line in the documents is one that p2r-bench takes."""

from __future__ import annotations

import contextlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from p2r_bench import cli, plugins
from p2r_bench.adapter import builtin_profiles
from p2r_bench.cli import main, train
from p2r_bench.errors import UserError
from p2r_bench.plugins import GROUP, Source, registry
from p2r_bench.run.sweep import read_sweep, specs_of
from p2r_bench.types import EngineConfig
from tests.documents import PAGES, ROOT, all_blocks, blocks, name, prose

GENERATED = "docs/cli.md"
"""Written from the commands themselves; `test_cli_reference` holds it up to date."""
SHELLS = ("", "bash", "sh", "console", "shell")
END = re.compile(r"^(?:\d?>.*|[|&;].*)$")
FOREIGN = {
    *("--mm-processor-kwargs", "--limit-mm-per-prompt", "--generation-config"),  # vLLM
    *("--batch_size", "--include_path", "--output_path"),  # lmms-eval
    *("--local-dir", "--help"),
}
"""Options of other programs, and the one that every command has."""


def typed(page: Path) -> Iterator[str]:
    """Lines of a page's shell blocks, continued lines joined."""
    for block in blocks(page, *SHELLS):
        yield from block.text.replace("\\\n", " ").splitlines()


def mentioned(page: Path) -> Iterator[str]:
    """Commands in a page's text, which may leave their arguments out."""
    for span in re.findall(r"`(?:\$ )?(p2r-bench [^`]+)`", prose(page)):
        if not re.search(r"[|…]|\bCOMMAND\b", span):
            yield " ".join(span.split())


def arguments(line: str) -> list[str] | None:
    """Return the arguments of p2r-bench in a command line; None if the line does not call it."""
    if not re.match(r"(?:\$ |nohup |\w+=\S* )*p2r-bench ", line.strip()):
        return None
    words = shlex.split(line.strip().removeprefix("$ "), comments=True)
    rest = words[words.index("p2r-bench") + 1 :]
    end = next((i for i, word in enumerate(rest) if END.match(word)), len(rest))
    return [word for word in rest[:end] if word != "…"]


def parameters(lines: Callable[[Path], Iterator[str]]) -> list[Any]:
    """Page and arguments of every line that calls p2r-bench."""
    return [
        pytest.param(page, found, id=f"{name(page)}: {' '.join(found)[:70]}")
        for page in PAGES
        if name(page) != GENERATED
        for line in lines(page)
        if (found := arguments(line))
    ]


TYPED = parameters(typed)


def added_by(page: Path) -> set[str]:
    """Names that the plugins on a page register."""
    text = page.read_text("utf-8")
    return {*re.findall(r'register\("([^"]+)"', text), *re.findall(r"plugin new (\S+)", text)}


def first_party() -> Iterator[Source]:
    """The plugins of this repository."""
    for file in sorted(
        (*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("trainers/*/pyproject.toml"))
    ):
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        for module in project["entry-points"][GROUP].values():
            yield Source(project["name"], project["version"], partial(import_module, module))


@pytest.fixture(autouse=True)
def with_first_party_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the plugins of this repository were installed."""
    for folder in (*ROOT.glob("plugins/*"), *ROOT.glob("trainers/*")):
        monkeypatch.syspath_prepend(folder)
    found = plugins.load(first_party())
    assert found.failures == []
    for module in (plugins, cli, train):
        monkeypatch.setattr(module, "discover", lambda: found)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[click.Context]:
    """Contexts of commands that were parsed instead of run; files need not exist."""
    contexts: list[click.Context] = []
    really = click.Command.invoke

    def invoke(self: click.Command, ctx: click.Context) -> Any:
        if isinstance(self, click.Group):
            return really(self, ctx)
        contexts.append(ctx)
        return None

    monkeypatch.setattr(click.Command, "invoke", invoke)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    return contexts


def parse(line: list[str]) -> None:
    """Parse a command line as the shell would hand it over."""
    main.main(args=list(line), prog_name="p2r-bench", standalone_mode=False)


def check_run(options: dict[str, Any], known: set[str]) -> None:
    """Check that names in options of `run` are registered, and that engines take their arguments."""
    if not options.get("tasks") or options.get("config"):
        return
    modes = [mode for mode in options["modes"].split(",") if mode not in known]
    tasks = [task for task in options["tasks"].split(",") if task not in known]
    options = {**options, "modes": ",".join(modes) or "p2r", "tasks": ",".join(tasks) or "Synth-HR"}
    for spec in specs_of({k: v for k, v in options.items() if k in known_options()}):
        for choice in (spec.choice, *spec.roles.values()):
            if choice.engine not in known:
                config = EngineConfig(choice.model, choice.revision, choice.args)
                registry().get("engine", choice.engine)(config)
    assert options["scorer"] in {None, *registry().names("judge"), *known}
    profile = options.get("profile")
    assert profile is None or profile in builtin_profiles() or profile.endswith(".toml")


def known_options() -> set[str]:
    """Names of the options that `run` hands on to a run."""
    run = registry().get("command", "run").load()
    return {p.name for p in run.params} - {"config", "dry_run", "quiet", "as_json"}


@pytest.mark.parametrize(("page", "line"), TYPED)
def test_command_lines_parse(page: Path, line: list[str], parsed: list[click.Context]) -> None:
    parse(line)
    assert parsed or "--help" in line or "--version" in line
    for context in parsed:
        if context.info_name == "run":
            check_run(dict(context.params), added_by(page))


@pytest.mark.parametrize(("page", "line"), parameters(mentioned))
def test_commands_in_the_text_exist(
    page: Path, line: list[str], parsed: list[click.Context]
) -> None:
    with contextlib.suppress(click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        parse(line)


def test_there_are_command_lines_to_parse() -> None:
    assert {"run", "data", "leaderboard", "show", "score", "profile", "prompts"} <= {
        parameter.values[1][0] for parameter in TYPED
    }


def test_a_wrong_option_would_be_noticed(parsed: list[click.Context]) -> None:
    with pytest.raises(click.NoSuchOption):
        parse(["run", "--task", "V-Star"])
    with pytest.raises(UserError):
        parse(["run", "--tasks", "VStar"])
        check_run(dict(parsed[-1].params), set())


def options_of(command: click.Command, context: click.Context) -> set[str]:
    """Every option of a command and of the commands below it."""
    found = {
        name
        for p in command.params
        if isinstance(p, click.Option)
        for name in (*p.opts, *p.secondary_opts)
    }
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            below = command.get_command(context, child)
            assert below is not None
            found |= options_of(below, context)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_named_in_the_text_exist(page: Path) -> None:
    known = options_of(main, click.Context(main)) | FOREIGN
    named = re.findall(r"`(--[a-z][\w-]*)[^`]*`", prose(page))
    assert set(named) <= known


def test_what_the_readme_calls_missing_is_missing() -> None:
    (line,) = re.findall(r"^- Not here yet: (.+)$", (ROOT / "README.md").read_text("utf-8"), re.M)
    found = registry()
    there = {n for kind in ("engine", "trainer", "command") for n in found.names(kind)}
    there |= {path.name.replace("_", "-") for path in ROOT.glob("trainers/*")}
    missing = set(re.findall(r"`([\w-]+)`", line))
    assert missing and not missing & there


def test_sweep_files_are_read(tmp_path: Path) -> None:
    sweeps = [block for block in all_blocks("toml") if block.text.startswith("# sweep")]
    assert sweeps
    for block in sweeps:
        path = tmp_path / "sweep.toml"
        path.write_text(block.text, "utf-8")
        specs = [spec for options in read_sweep(path, {}) for spec in specs_of(options)]
        assert {spec.task for spec in specs} <= set(registry().names("task"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nothing_is_installed_from_an_index_that_has_it_not(page: Path) -> None:
    """Plugins and the trainer come from the checkout; extras of an installed p2r-bench need no index for it."""
    lines = re.findall(r"pip install [^\n`]*", page.read_text("utf-8"))
    assert not [line for line in lines if re.search(r"(?<![/\w])p2r-bench-", line)]
