"""Lets torchvision be imported beside a torch without CUDA, for test environments only.

The wheels of torchvision are built against CUDA; without it, importing them fails because two operators
are not registered. Declaring them is enough: nothing here calls them. A `.pth` file with the line
`import torchvision_operators` makes every interpreter of an environment do it, when torchvision is imported.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_kept: list[Any] = []
"""Operators live as long as the object that declares them."""


class BeforeTorchvision(MetaPathFinder):
    """Declares the operators when torchvision is first looked for; finds nothing itself."""

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(library)
        return None


sys.meta_path.insert(0, BeforeTorchvision())
