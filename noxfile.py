"""Sessions that need an environment of their own. `make test-all` and .ci/run call them."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["wheel", "integration"]

CONSTRAINTS = ("--constraint", "constraints/cpu.txt")
SMOKE = """
from importlib import resources
from p2r_bench import TwoStage, load_profile
from p2r_bench.adapter import builtin_packs, builtin_profiles
from p2r_bench.bundled import NAMES, resolve_model
from pathlib import Path

for name in builtin_profiles():
    TwoStage(load_profile(name))
for name in NAMES:
    assert (Path(resolve_model(name)) / "model.safetensors").is_file(), name
print("profiles:", *builtin_profiles(), "packs:", *builtin_packs(), "models:", *NAMES)
"""


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel, alone in a new environment: commands start, profiles and weights are in it."""
    folder = Path(session.create_tmp())
    for old in folder.glob("*.whl"):
        old.unlink()
    session.run(
        "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."
    )
    (built,) = folder.glob("p2r_bench-*.whl")
    session.install("--force-reinstall", *CONSTRAINTS, str(built))
    session.chdir(folder)
    session.run("python", "-c", SMOKE)
    session.run("p2r-bench", "--help", silent=True)
    session.run("p2r-bench", "doctor")
    session.run("p2r-bench", "data", "synth", "--rows", "4", "--out", "rows")


@nox.session
def integration(session: nox.Session) -> None:
    """The slow tests and those against real servers."""
    session.install(
        *CONSTRAINTS, "--editable", ".[transformers,lora,dev]", "fastapi", "openai", "uvicorn"
    )
    session.run("python", "-m", "pytest", "-m", "integration or slow", *session.posargs)


@nox.session(python=["3.12", "3.13"])
def core(session: nox.Session) -> None:
    """The tests that need no torch, on the other Python versions. Not in CI: needs these interpreters."""
    session.install(*CONSTRAINTS, ".[dev]")
    session.run("python", "-m", "pytest", "--ignore=tests/engines", *session.posargs)
