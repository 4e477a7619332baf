"""Manifests for lmms-eval's entry-point group `lmms_eval.models`. Imports no module of ours: an error here would stop other plugins."""

from __future__ import annotations

from typing import Any

_MODULE = "p2r_bench_lmms_eval.model"


def manifests() -> list[Any]:
    """Return the models `p2r` (any mode, by `mode=NAME`), `p2r_default` and `p2r_thinking`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    classes = {"p2r": "P2R", "p2r_default": "P2RDefault", "p2r_thinking": "P2RThinking"}
    return [
        ModelManifest(model_id=name, chat_class_path=f"{_MODULE}.{kind}")
        for name, kind in classes.items()
    ]
