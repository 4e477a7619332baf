"""Templates of plugin packages, which `p2r-bench plugin new` writes."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal, get_args

from p2r_bench import __version__
from p2r_bench.errors import UserError

Kind = Literal["mode", "task", "judge", "engine", "trainer", "family"]
KINDS: tuple[Kind, ...] = get_args(Kind)

USAGE: dict[Kind, str] = {
    "mode": "p2r-bench run --mode {name} --tasks Synth-HR",
    "task": "p2r-bench run --tasks {name} --data-dir FOLDER",
    "judge": "p2r-bench run --tasks Synth-HR --scorer {name}",
    "engine": "p2r-bench run --tasks Synth-HR --engine {name}",
    "trainer": "p2r-bench train {name} --config FILE",
    "family": "p2r-bench run --tasks Synth-HR --model FOLDER --family {name}",
}
"""Command that uses a plugin of each kind."""

_PREFIX = "p2r-bench-"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*")


@dataclass(frozen=True)
class Skeleton:
    """A package that registers one thing.

    Attributes:
        name: Name that users type.
    """

    name: str
    kind: Kind

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"{self.name!r} cannot be a plugin's name: start with a letter, then letters and digits, with "
                "single '-', '_' or '.' between them"
            )
        if self.package in sys.stdlib_module_names or keyword.iskeyword(self.package):
            raise UserError(
                f"{self.name!r} would make a package {self.package!r}, a name that Python itself uses"
            )
        if self.package in ("p2r_bench", "tests"):
            raise UserError(f"a plugin's package cannot be called {self.package!r}")

    @property
    def distribution(self) -> str:
        """Name under which pip installs the package."""
        name = re.sub(r"[._]", "-", self.name.lower())
        return name if name.startswith(_PREFIX) else _PREFIX + name

    @property
    def package(self) -> str:
        """Name under which Python imports the package."""
        return re.sub(r"[.-]", "_", self.name.lower())

    @property
    def class_name(self) -> str:
        """Name of the plugin's class."""
        return "".join(part[0].upper() + part[1:] for part in re.split(r"[._-]", self.name))

    @property
    def usage(self) -> str:
        """The command that uses it."""
        return USAGE[self.kind].format(name=self.name)

    def files(self) -> dict[str, str]:
        """Return the files: path below the package's folder to content."""
        return {
            "pyproject.toml": self._filled("package/pyproject.txt"),
            "README.md": self._filled("package/readme.txt"),
            f"{self.package}/__init__.py": self._filled("package/init.txt"),
            f"{self.package}/{self.kind}.py": self._filled(f"{self.kind}/module.txt"),
            f"tests/test_{self.package}.py": self._filled(f"{self.kind}/test.txt"),
        }

    def write(self, out: Path) -> Path:
        """Write the files into a new folder `out/DISTRIBUTION`, and return it.

        Raises:
            UserError: The folder exists and is not empty, or cannot be written.
        """
        folder = out / self.distribution
        try:
            if folder.exists() and any(folder.iterdir()):
                raise UserError(
                    f"{folder} is not empty; give another name, or another folder with --out"
                )
            for name, text in self.files().items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
        return folder

    def _filled(self, template: str) -> str:
        text = (resources.files(__name__) / "templates" / template).read_text("utf-8")
        return Template(text).substitute(
            name=self.name,
            kind=self.kind,
            kinds="families" if self.kind == "family" else f"{self.kind}s",
            package=self.package,
            class_name=self.class_name,
            distribution=self.distribution,
            usage=self.usage,
            core=_core_versions(),
        )


def _core_versions() -> str:
    """Return the versions of p2r-bench that a new plugin fits: minor versions may change public modules."""
    major, minor, *_ = __version__.split(".")
    return f">={major}.{minor},<{major}.{int(minor) + 1}"
