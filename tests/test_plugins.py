"""A broken plugin is named and left out, a clash is an error, and the rest keeps working."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from p2r_bench import __version__, hookimpl
from p2r_bench.errors import UserError
from p2r_bench.hookspecs import HOOKS_VERSION
from p2r_bench.plugins import Plugin, Registry, Source, load
from p2r_bench.testing.registering import plugin_of


def modes(**targets: str) -> ModuleType:
    """A plugin that registers these modes."""

    @hookimpl
    def register_modes(register: Callable[[str, str], None]) -> None:
        for name, target in targets.items():
            register(name, target)

    return plugin_of(register_modes=register_modes)


def source(plugin: object, name: str = "third-party", version: str = "2.1") -> Source:
    return Source(name, version, lambda: plugin)


def failure(plugin: object) -> str:
    """The line reported for a plugin that must fail, and is left out altogether."""
    registry = load([source(plugin), source(modes(fine="json:JSONDecoder"), "other", "1")])
    assert registry.names("mode") == (*load([]).names("mode"), "fine")
    assert [p.status for p in registry.plugins] == ["loaded", "failed", "loaded"]
    (line,) = registry.failures
    assert line.startswith("plugin third-party 2.1: ") and "\n" not in line
    return line


def test_builtins_come_through_the_hooks() -> None:
    registry = load([])
    assert [(p.name, p.version, p.status) for p in registry.plugins] == [
        ("p2r-bench", __version__, "loaded")
    ]
    assert registry.names("task")[:2] == ("V-Star", "HR-Bench")
    assert registry.entry("mode", "p2r").provider == f"p2r-bench {__version__}"


def test_every_builtin_target_can_be_imported() -> None:
    registry = load([])
    for kind in ("mode", "task", "judge", "engine", "family"):
        for name in registry.names(kind):
            assert isinstance(registry.get(kind, name), type), (kind, name)
    for name in registry.names("command"):
        assert registry.get("command", name).load().name == name


def test_target_is_imported_on_first_use_only() -> None:
    registry = load([source(modes(late="no_such_package.mode:Late"))])
    assert "late" in registry.names("mode")
    with pytest.raises(UserError, match=r"mode 'late' of third-party 2\.1 .*no_such_package"):
        registry.get("mode", "late")


def test_missing_class_names_the_distribution() -> None:
    registry = load([source(modes(late="json:NoSuchClass"))])
    with pytest.raises(UserError, match=r"third-party 2\.1 .*NoSuchClass"):
        registry.get("mode", "late")


def test_unknown_name_gets_the_closest_ones() -> None:
    with pytest.raises(UserError, match="no task is called 'hr-bench': did you mean HR-Bench"):
        load([]).get("task", "hr-bench")


def test_unknown_name_tells_which_plugins_are_missing() -> None:
    registry = load([source(plugin_of())])
    with pytest.raises(UserError, match=r"not loaded: plugin third-party 2\.1"):
        registry.get("mode", "majority")


def test_plugin_that_raises_on_import_is_skipped() -> None:
    def explode() -> object:
        raise RuntimeError("broken\nin two lines")

    registry = load([Source("third-party", "2.1", explode)])
    assert registry.failures == ["plugin third-party 2.1: RuntimeError: broken in two lines"]


def test_plugin_that_exits_on_import_is_skipped() -> None:
    def leave() -> object:
        raise SystemExit(3)

    assert load([Source("third-party", "2.1", leave)]).failures == [
        "plugin third-party 2.1: SystemExit: 3"
    ]


def test_plugin_that_raises_in_a_later_hook_registers_nothing() -> None:
    plugin = modes(half="json:JSONDecoder")

    @hookimpl
    def register_tasks(register: Any) -> None:
        raise ValueError("no data")

    plugin.register_tasks = register_tasks
    assert failure(plugin).endswith("ValueError: no data")


def test_wrong_hook_signature_is_told_with_the_right_one() -> None:
    @hookimpl
    def register_modes(registry: Any) -> None: ...

    plugin = plugin_of(register_modes=register_modes)
    assert (
        "register_modes(registry) does not fit the hook, which is register_modes(register)"
        in failure(plugin)
    )


def test_unknown_hook_is_told_with_the_known_ones() -> None:
    @hookimpl
    def register_reports(register: Any) -> None: ...

    assert "unknown hook 'register_reports'" in failure(
        plugin_of(register_reports=register_reports)
    )


def test_unmarked_functions_are_told() -> None:
    def register_modes(register: Any) -> None: ...

    assert "@p2r_bench.hookimpl" in failure(plugin_of(register_modes=register_modes))


def test_plugin_for_newer_hooks_gets_one_clear_line() -> None:
    @hookimpl
    def register_reports(register: Any) -> None: ...

    plugin = plugin_of(register_reports=register_reports, requires_hooks=HOOKS_VERSION + 1)
    line = failure(plugin)
    assert f"needs version {HOOKS_VERSION + 1} of the hooks" in line and line.endswith(
        "upgrade p2r-bench"
    )


def test_plugin_for_these_hooks_loads() -> None:
    plugin = modes(mine="json:JSONDecoder")
    plugin.requires_hooks = HOOKS_VERSION
    assert load([source(plugin)]).failures == []


@pytest.mark.parametrize("name", ["", "two,names", "-dash", "a b"])
def test_name_that_cannot_be_typed_is_refused(name: str) -> None:
    assert "cannot be a name" in failure(modes(**{name: "json:JSONDecoder"}))


@pytest.mark.parametrize("target", ["json", "json.JSONDecoder", ":x", "a b:c", ""])
def test_target_that_is_no_import_string_is_refused(target: str) -> None:
    assert "package.module:Class" in failure(modes(mine=target))


def test_same_name_twice_in_one_plugin_is_refused() -> None:
    @hookimpl
    def register_modes(register: Any) -> None:
        register("mine", "json:JSONDecoder")
        register("mine", "json:JSONEncoder")

    assert "registered twice" in failure(plugin_of(register_modes=register_modes))


def test_clash_names_both_distributions_and_versions() -> None:
    registry = load([
        source(modes(same="json:JSONDecoder"), "first", "1.0"),
        source(modes(same="json:JSONEncoder", more="json:JSONEncoder"), "second", "2.0"),
    ])  # fmt: skip
    with pytest.raises(
        UserError, match=r"mode 'same' is registered by both first 1\.0 and second 2\.0"
    ):
        registry.check()
    assert "more" not in registry.names("mode")


def test_clash_with_a_builtin_leaves_the_builtin() -> None:
    registry = load([source(modes(p2r="json:JSONDecoder"))])
    expected = (
        rf"mode 'p2r' is registered by both p2r-bench {re.escape(__version__)} and third-party 2\.1"
    )
    with pytest.raises(UserError, match=expected):
        registry.check()
    assert registry.entry("mode", "p2r").distribution == "p2r-bench"


def test_same_name_of_two_kinds_is_no_clash() -> None:
    @hookimpl
    def register_judges(register: Any) -> None:
        register("p2r", "json:JSONDecoder")

    registry = load([source(plugin_of(register_judges=register_judges))])
    registry.check()
    assert registry.failures == []


def tasks(**targets: str) -> ModuleType:
    """A plugin that registers these tasks; in the names, FAMILY stands for a colon and a star."""

    @hookimpl
    def register_tasks(register: Callable[[str, str], None]) -> None:
        for name, target in targets.items():
            register(name.replace("FAMILY", ":*"), target)

    return plugin_of(register_tasks=register_tasks)


def test_a_family_of_tasks_makes_the_member_that_was_asked_for() -> None:
    registry = load([source(tasks(treesFAMILY="pathlib:PurePosixPath"))])
    assert "trees:*" in registry.names("task")
    assert registry.entry("task", "trees:oak").provider == "third-party 2.1"
    assert registry.entry("task", "trees:oak").name == "trees:oak"
    assert str(registry.get("task", "trees:oak")()) == "oak"


@pytest.mark.parametrize("name", ["trees:", "trees", "leaves:oak"])
def test_what_is_no_member_of_a_family_is_unknown(name: str) -> None:
    registry = load([source(tasks(treesFAMILY="pathlib:PurePosixPath"))])
    with pytest.raises(UserError, match=rf"no task is called '{name}'"):
        registry.get("task", name)


@pytest.mark.parametrize("name", ["*", ":*", "trees:oak", "trees*"])
def test_a_family_has_a_name_and_ends_in_a_star(name: str) -> None:
    assert "cannot be a name" in failure(tasks(**{name: "pathlib:PurePosixPath"}))


def test_modes_have_no_families() -> None:
    assert "cannot be a name" in failure(modes(**{"trees:*": "pathlib:PurePosixPath"}))


def statuses(registry: Registry) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in registry.plugins}


def test_allow_list_keeps_others_from_being_imported() -> None:
    imported = []

    def remember(name: str) -> Callable[[], object]:
        def importing() -> object:
            imported.append(name)
            return modes(**{name: "json:JSONDecoder"})

        return importing

    sources = [Source("My_Plugin", "1", remember("a")), Source("other", "1", remember("b"))]
    found = statuses(load(sources, allowed=" my-plugin ,"))
    assert imported == ["a"]
    assert (found["My_Plugin"].status, found["other"].status) == ("loaded", "off")
    assert statuses(load(sources, allowed=""))["My_Plugin"].status == "off"
    assert statuses(load(sources))["other"].status == "loaded"


def test_allow_list_name_that_is_not_installed_is_reported() -> None:
    (line,) = load([], allowed="absent").failures
    assert line.startswith("plugin absent") and "P2R_BENCH_LOAD_PLUGINS" in line
