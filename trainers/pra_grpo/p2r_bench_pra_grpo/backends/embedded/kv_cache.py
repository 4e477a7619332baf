"""Keys and values of the rows that decode together; rows join and leave between steps.

Rows are left-padded to one length. Room is allocated ahead, so a step writes its own column instead
of copying everything, as the library's dynamic cache does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class RowLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer: (rows, heads, length, head size) each, in larger buffers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._buffers: list[torch.Tensor] = []
        self._length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._buffers = [_buffer(states, len(states), 0) for states in (key_states, value_states)]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the new tokens' keys and values; return all keys and all values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self._length, self._length + key_states.shape[-2]
        for index, states in enumerate((key_states, value_states)):
            if end > self._buffers[index].shape[-2]:
                larger = _buffer(states, len(states), _ahead(end))
                larger[:, :, :start] = self._buffers[index][:, :, :start]
                self._buffers[index] = larger
            self._buffers[index][:, :, start:end] = states
        self._length = end
        return self._buffers[0][:, :, :end], self._buffers[1][:, :, :end]

    def get_seq_length(self) -> int:
        return self._length

    def keep(self, rows: torch.Tensor, skip: int) -> None:
        """Keep these rows, without their first `skip` columns."""
        length = self._length - skip
        for index, buffer in enumerate(self._buffers):
            kept = _buffer(buffer, len(rows), _ahead(length))
            kept[:, :, :length] = buffer[:, :, skip : self._length].index_select(0, rows)
            self._buffers[index] = kept
        self._length = length

    def join(self, other: RowLayer) -> None:
        """Add another layer's rows below these."""
        length = max(self._length, other._length)
        for index, (mine, theirs) in enumerate(zip(self._buffers, other._buffers, strict=True)):
            joined = _buffer(mine, len(mine) + len(theirs), _ahead(length))
            joined[: len(mine), :, length - self._length : length] = mine[:, :, : self._length]
            joined[len(mine) :, :, length - other._length : length] = theirs[:, :, : other._length]
            self._buffers[index] = joined
        self._length = length


class RowCache(Cache):
    """The layers of all running rows."""

    def __init__(self, layers: int) -> None:
        self.row_layers = [RowLayer() for _ in range(layers)]
        super().__init__(layers=list(self.row_layers))

    def keep(self, rows: Sequence[int], skip: int) -> None:
        """Keep these rows, and leave out the first `skip` columns, which none of them needs."""
        index = torch.tensor(list(rows), device=self.row_layers[0].device)
        for layer in self.row_layers:
            layer.keep(index, skip)

    def join(self, other: RowCache) -> None:
        """Add the rows of another cache below these; the shorter ones get padding on their left."""
        for mine, theirs in zip(self.row_layers, other.row_layers, strict=True):
            mine.join(theirs)


def _ahead(length: int) -> int:
    return length + max(32, length // 8)


def _buffer(like: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    # Zeros, not empty: masked columns have weight 0, and 0 times a stray NaN would be NaN.
    return like.new_zeros((rows, like.shape[1], length, like.shape[3]))
