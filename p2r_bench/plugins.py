"""Plugin manager: finds plugins, isolates those that fail, resolves names.

A plugin is the object behind an entry point of the group `p2r_bench`. What it registers counts only if
all of its hooks succeed; one that fails is reported under its distribution's name and left out.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module, metadata
from inspect import Parameter, signature
from typing import Any, Literal

import pluggy

from p2r_bench import __version__, builtin, hookspecs
from p2r_bench.commands import CommandGroup
from p2r_bench.errors import UserError

GROUP = "p2r_bench"
ALLOW_LIST = "P2R_BENCH_LOAD_PLUGINS"
"""Environment variable with the distributions that may load, separated by commas. Unset: all. Empty: none."""

Kind = Literal["mode", "task", "judge", "engine", "trainer", "family", "command"]
_HOOK_KINDS: dict[str, Kind] = {
    "register_modes": "mode",
    "register_tasks": "task",
    "register_judges": "judge",
    "register_engines": "engine",
    "register_trainers": "trainer",
    "register_families": "family",
    "register_commands": "command",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MEMBERS = re.compile(rf"{_NAME.pattern}:\*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

logger = logging.getLogger(__name__)


class PluginError(UserError):
    """A plugin cannot be used; the message is one line without the plugin's name."""


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        target: "package.module:Class"; for commands the (lazy) command itself.
        distribution, version: Provider of the name.
    """

    name: str
    target: Any
    distribution: str
    version: str

    @property
    def provider(self) -> str:
        """Distribution and version, as messages name them."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Plugin:
    """One plugin and its status.

    Attributes:
        name, version: Name and version of its distribution.
        hooks: Names of the hooks it implements.
        status: "loaded"; "failed", with the reason in `detail`; or "off", if the allow-list excludes it.
        provides: Names it registered, by kind.
    """

    name: str
    version: str
    hooks: tuple[str, ...] = ()
    status: Literal["loaded", "failed", "off"] = "loaded"
    detail: str | None = None
    provides: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A plugin's distribution and the call that imports it."""

    distribution: str
    version: str
    load: Callable[[], object]


class Registry:
    """All registered names by kind. Use `registry()`; `load` makes one from a list of sources.

    Attributes:
        manager: The pluggy manager. A plugin that fails is unregistered from it.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.clashes: list[str] = []
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in _HOOK_KINDS.values()}

    @property
    def failures(self) -> list[str]:
        """One line for each plugin that failed."""
        return [
            f"plugin {p.name} {p.version}: {p.detail}" for p in self.plugins if p.status == "failed"
        ]

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the registered names, in order of registration."""
        return tuple(self._entries[kind])

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """Return the registered names with their targets and distributions."""
        return tuple(self._entries[kind].values())

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return the entry of a name. "lmms:*" serves every name of that form, such as "lmms:pope".

        Raises:
            UserError: An unknown name; the message has the closest names.
        """
        known = self._entries[kind]
        if name in known:
            return known[name]
        prefix, colon, member = name.partition(":")
        if colon and member and f"{prefix}:*" in known:
            return replace(known[f"{prefix}:*"], name=name)
        by_folded = {other.casefold(): other for other in known}
        close = difflib.get_close_matches(name.casefold(), by_folded, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(by_folded[c] for c in close)}? " if close else ""
        broken = f"; not loaded: {'; '.join(self.failures)}" if self.failures else ""
        listed = ", ".join(known) or "none"
        raise UserError(f"no {kind} is called {name!r}: {hint}known are {listed}{broken}")

    def get(self, kind: Kind, name: str) -> Any:
        """Return the class behind a name, imported now; behind "lmms:pope", with "pope" bound as its first argument.

        Raises:
            UserError: An unknown name, or a failed import; the message names the distribution.
        """
        entry = self.entry(kind, name)
        if not isinstance(entry.target, str):
            return entry.target
        module, _, attribute = entry.target.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except Exception as error:
            hint = ""
            if kind == "engine" and isinstance(error, ModuleNotFoundError):
                hint = f"; `p2r-bench doctor` lists the requirements of the engine {name}"
            raise UserError(
                f"{kind} {name!r} of {entry.provider} cannot be imported from {entry.target}: "
                f"{_one_line(error)}{hint}"
            ) from error
        if name in self._entries[kind]:
            return found
        return partial(found, name.partition(":")[2])

    def check(self) -> None:
        """Refuse names that two plugins registered.

        Raises:
            UserError: Two plugins registered a name; the message lists the names, the distributions and the way out.
        """
        if self.clashes:
            raise UserError(
                "; ".join(self.clashes)
                + f". Uninstall one, or name the plugins to load in {ALLOW_LIST} (comma-separated)"
            )

    def _commit(self, kind: Kind, entry: Entry) -> None:
        self._entries[kind][entry.name] = entry

    def _clash(self, kind: Kind, entry: Entry) -> str | None:
        other = self._entries[kind].get(entry.name)
        if other is None:
            return None
        return f"{kind} {entry.name!r} is registered by both {other.provider} and {entry.provider}"


def registry(strict: bool = False) -> Registry:
    """Return all names registered by p2r-bench and the installed plugins. Plugins are loaded once per process.

    Args:
        strict: Make a plugin that fails an error instead of a warning.

    Raises:
        UserError: Two plugins register the same name, or `strict` and one failed.
    """
    report(strict)
    found = discover()
    found.check()
    return found


@cache
def discover() -> Registry:
    """Return the same registry without errors or warnings, for lists of plugins and commands."""
    return load(_installed(), os.environ.get(ALLOW_LIST))


@cache
def report(strict: bool = False) -> None:
    """Log one line for each plugin that failed; once per process.

    Raises:
        UserError: `strict` is true and a plugin failed.
    """
    failures = discover().failures
    if strict and failures:
        raise UserError("\n".join(failures))
    for line in failures:
        logger.warning("%s (skipped; --strict-plugins makes this an error)", line)


def load(sources: Iterable[Source], allowed: str | None = None) -> Registry:
    """Return a registry of the built-ins and of these plugins, filtered by an allow-list as in `ALLOW_LIST`."""
    found = Registry()
    _add(found, Source("p2r-bench", __version__, lambda: builtin))
    wanted = (
        None
        if allowed is None
        else {_normal(n): n.strip() for n in allowed.split(",") if n.strip()}
    )
    seen = set()
    for source in sources:
        seen.add(_normal(source.distribution))
        if wanted is not None and _normal(source.distribution) not in wanted:
            detail = f"not named in {ALLOW_LIST}"
            found.plugins.append(Plugin(source.distribution, source.version, (), "off", detail))
        else:
            _add(found, source)
    for normal, name in (wanted or {}).items():
        if normal not in seen:
            detail = f"named in {ALLOW_LIST}, but no distribution of that name brings a plugin"
            found.plugins.append(Plugin(name, "?", (), "failed", detail))
    return found


def _installed() -> list[Source]:
    points = metadata.entry_points(group=GROUP)
    sources = [
        Source(
            point.dist.name if point.dist else point.name,
            point.dist.version if point.dist else "?",
            point.load,
        )
        for point in points
    ]
    return sorted(sources, key=lambda source: _normal(source.distribution))


def _add(found: Registry, source: Source) -> None:
    hooks: tuple[str, ...] = ()
    staged: list[tuple[Kind, Entry]] = []
    plugin: object = None
    try:
        plugin = source.load()
        _check_version(plugin)
        hooks = _hooks_of(found.manager, plugin)
        found.manager.register(plugin, name=source.distribution)
        others = found.manager.get_plugins() - {plugin}
        for hook in hooks:
            staged += _call(found.manager.subset_hook_caller(hook, others), hook, source)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a third party may raise anything
        detail = _one_line(error)
    else:
        clashes = [text for kind, entry in staged if (text := found._clash(kind, entry))]
        if not clashes:
            provides: dict[Kind, tuple[str, ...]] = {}
            for kind, entry in staged:
                found._commit(kind, entry)
                provides[kind] = (*provides.get(kind, ()), entry.name)
            found.plugins.append(
                Plugin(source.distribution, source.version, hooks, provides=provides)
            )
            return
        found.clashes += clashes
        detail = "; ".join(clashes)
    if plugin is not None and found.manager.is_registered(plugin):
        found.manager.unregister(plugin)
    found.plugins.append(Plugin(source.distribution, source.version, hooks, "failed", detail))


def _check_version(plugin: object) -> None:
    needed = getattr(plugin, "requires_hooks", hookspecs.HOOKS_VERSION)
    if not isinstance(needed, int):
        raise PluginError(f"requires_hooks must be a whole number, not {needed!r}")
    if needed > hookspecs.HOOKS_VERSION:
        raise PluginError(
            f"needs version {needed} of the hooks; p2r-bench {__version__} has version "
            f"{hookspecs.HOOKS_VERSION}: upgrade p2r-bench"
        )


def _hooks_of(manager: pluggy.PluginManager, plugin: object) -> tuple[str, ...]:
    """Return the names of the hooks that a plugin implements, in the order of `_HOOK_KINDS`.

    Raises:
        PluginError: No hook, an unknown one, or one with other arguments.
    """
    hooks = []
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            continue
        hook = options.get("specname") or attribute
        if hook not in _HOOK_KINDS:
            raise PluginError(
                f"implements the unknown hook {hook!r}; p2r-bench {__version__} has {', '.join(_HOOK_KINDS)}"
            )
        _check_signature(hook, getattr(plugin, attribute))
        hooks.append(hook)
    if not hooks:
        raise PluginError("implements no hook; mark its functions with @p2r_bench.hookimpl")
    return tuple(sorted(hooks, key=list(_HOOK_KINDS).index))


def _check_signature(hook: str, function: Callable[..., object]) -> None:
    declared = [
        p.name for p in signature(function).parameters.values() if p.default is Parameter.empty
    ]
    expected = list(signature(getattr(hookspecs, hook)).parameters)
    if not set(declared) <= set(expected):
        raise PluginError(
            f"{hook}({', '.join(declared)}) does not fit the hook, which is {hook}({', '.join(expected)})"
        )


def _call(caller: pluggy.HookCaller, hook: str, source: Source) -> list[tuple[Kind, Entry]]:
    kind = _HOOK_KINDS[hook]
    staged: dict[str, Any] = {}

    def register(name: str, target: str) -> None:
        several = hook == "register_tasks" and isinstance(name, str) and _MEMBERS.fullmatch(name)
        if not isinstance(name, str) or not (several or _NAME.fullmatch(name)):
            raise PluginError(
                f"{hook}: {name!r} cannot be a name: use letters, digits, '.', '_' and '-'"
            )
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            raise PluginError(
                f'{hook}: {name}: the target must be "package.module:Class", not {target!r}'
            )
        if name in staged:
            raise PluginError(f"{hook}: {name} is registered twice")
        staged[name] = target

    if kind == "command":
        cli = CommandGroup()
        caller(cli=cli)
        staged = cli.added
    else:
        caller(register=register)
    return [
        (kind, Entry(name, target, source.distribution, source.version))
        for name, target in staged.items()
    ]


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"
