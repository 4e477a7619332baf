"""Keys and values of the rows that decode together; rows join and leave between steps.

Rows are left-padded to one length. Room is allocated ahead, so a step writes its own column instead
of copying everything, as the library's dynamic cache does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class RowLayer(DynamicLayer):
    """Keys and values of one layer: (rows, heads, length, head size), views of a larger buffer."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._room = [_buffer(states, states.shape[0], 0) for states in (key_states, value_states)]
        self._show(0)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the new columns; returns all keys and all values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for index, states in enumerate((key_states, value_states)):
            if end > self._room[index].shape[-2]:
                larger = _buffer(states, states.shape[0], _ahead(end))
                larger[:, :, :start] = self._room[index][:, :, :start]
                self._room[index] = larger
            self._room[index][:, :, start:end] = states
        self._show(end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.keys.shape[-2] if self.is_initialized else 0

    def _show(self, length: int) -> None:
        self.keys, self.values = (room[:, :, :length] for room in self._room)

    def _keep(self, rows: torch.Tensor, skip: int) -> None:
        length = self.get_seq_length() - skip
        for index, room in enumerate(self._room):
            kept = _buffer(room, len(rows), _ahead(length))
            kept[:, :, :length] = room[:, :, skip : skip + length].index_select(0, rows)
            self._room[index] = kept
        self._show(length)

    def _join(self, other: RowLayer) -> None:
        length = max(self.get_seq_length(), other.get_seq_length())
        parts = [(self.keys, other.keys), (self.values, other.values)]
        for index, (mine, theirs) in enumerate(parts):
            joined = _buffer(mine, mine.shape[0] + theirs.shape[0], _ahead(length))
            joined[: mine.shape[0], :, length - mine.shape[2] : length] = mine
            joined[mine.shape[0] :, :, length - theirs.shape[2] : length] = theirs
            self._room[index] = joined
        self._show(length)


class RowCache(Cache):
    """The layers of all running rows."""

    layers: list[RowLayer]

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[RowLayer() for _ in range(layers)])

    def keep(self, rows: Sequence[int], skip: int) -> None:
        """Keep these rows, and leave out the first `skip` columns, which none of them needs."""
        index = torch.tensor(list(rows), device=self.layers[0].keys.device)
        for layer in self.layers:
            layer._keep(index, skip)

    def join(self, other: RowCache) -> None:
        """Add the rows of another cache below these; the shorter ones get padding on their left."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine._join(theirs)


def _ahead(length: int) -> int:
    return length + max(32, length // 8)


def _buffer(like: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    # Zeros, not empty: masked columns have weight 0, and 0 times a stray NaN would be NaN.
    return like.new_zeros((rows, like.shape[1], length, like.shape[3]))
