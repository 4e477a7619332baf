"""Backends that train stages. Each has a folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from p2r_bench.errors import UserError

if TYPE_CHECKING:
    from p2r_bench_pra_grpo.config import Config
    from p2r_bench_pra_grpo.stage import Backend

BACKENDS: Mapping[str, str] = {
    "embedded": "p2r_bench_pra_grpo.backends.embedded.backend:EmbeddedBackend",
    "verl": "p2r_bench_pra_grpo.backends.verl.backend:VerlBackend",
}


def make_backend(config: Config) -> Backend:
    """Return the backend that a configuration names.

    Raises:
        UserError: The name is unknown, or a requirement is not installed.
    """
    module, _, name = BACKENDS.get(config.backend, config.backend).partition(":")
    if not name:
        known = ", ".join(BACKENDS)
        raise UserError(f"backend = {config.backend!r}: unknown; known: {known}, or MODULE:CLASS")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"backend = {config.backend!r}: cannot be loaded: {error}") from error
    backend: Backend = kind(config)
    return backend
