"""What a frozen model is called on its server."""

from __future__ import annotations

from pathlib import Path

from p2r_bench.models import model_digest
from p2r_bench_pra_grpo.config import ServiceConfig


def served_name(folder: Path, service: ServiceConfig) -> str:
    """The configured name, else one that holds the digest of the weights.

    A server that answers to it has the weights that are meant, unless somebody gave the name to others.
    """
    return service.model or f"p2r-{model_digest(folder)[:12]}"
