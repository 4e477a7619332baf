"""Name of a frozen model on its server."""

from __future__ import annotations

from pathlib import Path

from p2r_bench.models import model_digest
from p2r_bench_pra_grpo.config import ServiceConfig


def served_name(folder: Path, service: ServiceConfig) -> str:
    """Return the configured name, else one that holds the digest of the weights.

    A server that lists the name with the digest serves these weights.
    """
    return service.model or f"p2r-{model_digest(folder)[:12]}"
