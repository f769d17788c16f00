"""Vectors in memory by key, the least used forgotten first, in few large blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import torch
from torch import Tensor

_BLOCK = 1024  # vectors


class VectorShelf:
    """Vectors of one length by key.

    They are copied into blocks of 1024. Thousands of small tensors would lie scattered among the large ones of the
    forward passes and keep the memory of those from being used again: 0.1 GB for some thousand texts.

    Args:
        size: How many vectors are kept; the least used are forgotten.

    Example:
        >>> shelf = VectorShelf(2)
        >>> for key in "abc":
        ...     shelf.put(key, torch.ones(3) * ord(key))
        >>> len(shelf), shelf.get("a"), shelf.get("c")
        (2, None, tensor([99., 99., 99.]))
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._slots: OrderedDict[Hashable, int] = OrderedDict()
        self._blocks: list[Tensor] = []

    def get(self, key: Hashable) -> Tensor | None:
        """The vector of a key, `(D,)`, or None. It is the shelf's own: copy it before anything else is put there."""
        if key not in self._slots:
            return None
        self._slots.move_to_end(key)
        return self._at(self._slots[key])

    def put(self, key: Hashable, vector: Tensor) -> None:
        """Keeps a copy of a vector, `(D,)`."""
        if self._size < 1:
            return
        if key not in self._slots:
            self._slots[key] = self._slot(vector)
        self._slots.move_to_end(key)
        self._at(self._slots[key]).copy_(vector)

    def __len__(self) -> int:
        return len(self._slots)

    def _slot(self, vector: Tensor) -> int:
        if len(self._slots) >= self._size:
            return self._slots.popitem(last=False)[1]
        slot, rows = len(self._slots), min(_BLOCK, self._size)
        if slot >= rows * len(self._blocks):
            self._blocks.append(torch.empty(rows, len(vector), dtype=vector.dtype))
        return slot

    def _at(self, slot: int) -> Tensor:
        rows = len(self._blocks[0])
        return self._blocks[slot // rows][slot % rows]
