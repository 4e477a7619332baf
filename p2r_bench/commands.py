"""Click group whose commands are imported on first use."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click

from p2r_bench.errors import UserError


@dataclass(frozen=True)
class LazyCommand:
    """Import string of a command, and its line in the list of commands."""

    target: str
    help: str

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            UserError: Its module needs a package that is not installed.
        """
        module, _, attribute = self.target.partition(":")
        try:
            command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise UserError(
                f"{self.target} needs the module {error.name!r}, which is missing"
            ) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is not a click command")
        return command


class CommandGroup(click.Group):
    """Click group passed to `register_commands`: click's own methods, and `lazy`."""

    def __init__(self) -> None:
        super().__init__("p2r-bench")
        self.lazy_commands: dict[str, LazyCommand] = {}

    def lazy(self, name: str, target: str, help: str) -> None:
        """Add a command by import string "package.module:command"; `help` is its line in the list."""
        self.lazy_commands[name] = LazyCommand(target, help)

    @property
    def added(self) -> dict[str, LazyCommand | click.Command]:
        """Return all added commands by name, in order of kind and addition."""
        return {**self.lazy_commands, **self.commands}
