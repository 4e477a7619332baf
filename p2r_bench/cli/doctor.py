"""`p2r-bench doctor`: installed packages, and those that engines lack."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from importlib import metadata, resources
from typing import Any

import click
from packaging.requirements import Requirement

from p2r_bench import __version__
from p2r_bench.cli.shared_options import json_option
from p2r_bench.cli.table import table
from p2r_bench.plugins import discover
from p2r_bench.terminal import echo

DISTRIBUTION = "p2r-bench"


@click.command("doctor")
@click.option("--device", is_flag=True, help="Import torch and list its devices; takes seconds.")
@json_option
def command(device: bool, as_json: bool) -> None:
    """List installed packages, those that each engine lacks, and how to install them.

    Exit status 1: the core itself lacks a package.
    """
    core, extras = _packages(None), {extra: _packages(extra) for extra in _extras()}
    report: dict[str, Any] = {
        "p2r_bench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "core": core,
        "engines": _engines(extras),
        "extras": extras,
        "flash_attn": _version("flash-attn"),
        "gpus": _gpus(),
        "bundled_models": _bundled(),
        "plugin_failures": discover().failures,
    }
    if device:
        report["torch"] = _torch()
    echo(json.dumps(report, indent=2) if as_json else _text(report))
    if not all(p["ok"] for p in core) or not report["bundled_models"]:
        raise click.exceptions.Exit(1)


def _extras() -> list[str]:
    names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    return [name for name in names if name != "dev"]


def _packages(extra: str | None) -> list[dict[str, Any]]:
    """Return the requirements of the core, or of an extra, with the installed version of each."""
    packages = []
    for line in metadata.requires(DISTRIBUTION) or []:
        wanted = Requirement(line)
        in_core = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        here = in_core if extra is None else not in_core and _applies(wanted, extra)
        if here:
            version = _version(wanted.name)
            ok = version is not None and wanted.specifier.contains(version, prereleases=True)
            packages.append(
                {
                    "name": wanted.name,
                    "needs": str(wanted.specifier),
                    "installed": version,
                    "ok": ok,
                }
            )
    return packages


def _applies(wanted: Requirement, extra: str) -> bool:
    return wanted.marker is not None and wanted.marker.evaluate({"extra": extra})


def _engines(extras: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the registered engines. Those of p2r-bench need the extra of their own name."""
    engines = []
    for entry in discover().entries("engine"):
        packages = extras.get(entry.name, []) if entry.distribution == DISTRIBUTION else []
        absent = [f"{p['name']}{p['needs']}" for p in packages if not p["ok"]]
        install = f"pip install '{DISTRIBUTION}[{entry.name}]'" if absent else None
        engines.append(
            {"name": entry.name, "from": entry.provider, "missing": absent, "install": install}
        )
    return engines


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    """Return the NVIDIA GPUs that the driver lists. `--device` asks torch, which takes seconds."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        listed = subprocess.run(
            [tool, "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        return [f"unknown: {error}"]
    return [
        re.sub(r" \(UUID:.*", "", line)
        for line in listed.stdout.splitlines()
        if line.startswith("GPU")
    ]


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        return {"error": str(error)}
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "version": torch.__version__,
        "cuda": names,
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }


def _bundled() -> list[str]:
    folder = resources.files("p2r_bench") / "bundled"
    if not folder.is_dir():
        return []
    return sorted(
        model.name for model in folder.iterdir() if (model / "model.safetensors").is_file()
    )


def _text(report: dict[str, Any]) -> str:
    rows = [
        (p["name"], p["installed"], p["needs"], "" if p["ok"] else "<- missing or too old")
        for p in report["core"]
    ]
    engines = [
        (
            e["name"],
            "missing: " + ", ".join(e["missing"]) if e["missing"] else "ready",
            e["install"] or "",
        )
        for e in report["engines"]
    ]
    extras = [
        (
            f"{DISTRIBUTION}[{extra}]",
            ", ".join(f"{p['name']} {p['installed'] or '-'}" for p in packages) or "nothing more",
        )
        for extra, packages in report["extras"].items()
    ]
    facts = [
        (
            "flash-attn",
            report["flash_attn"] or "not installed; attention falls back to sdpa, then eager",
        ),
        ("GPUs", "; ".join(report["gpus"]) or "none listed by nvidia-smi"),
        ("bundled models", ", ".join(report["bundled_models"]) or "MISSING: reinstall p2r-bench"),
        ("plugins", "; ".join(report["plugin_failures"]) or "no failures"),
    ]
    if "torch" in report:
        facts.append(
            ("torch", ", ".join(f"{key} {value}" for key, value in report["torch"].items()))
        )
    return "\n\n".join([
        f"p2r-bench {report['p2r_bench']}, Python {report['python']}, {report['platform']}",
        table(("CORE", "INSTALLED", "NEEDS", ""), rows),
        table(("ENGINE", "STATE", "TO INSTALL"), engines),
        table(("EXTRA", "INSTALLED"), extras),
        table(("ALSO", ""), facts),
    ])  # fmt: skip
