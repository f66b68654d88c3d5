"""Cuts a corpus that arrives in blocks of any size into pieces of one size, for which functions are compiled once."""

from collections.abc import Iterator

import numpy as np


class Pieces:
    """Cuts blocks into pieces of `height` rows; only the last may be shorter. Within a block, a piece is a view."""

    def __init__(self, height: int, dim: int):
        self._height, self._dim = height, dim
        self._blocks = 0
        self._waiting: list[np.ndarray] = []
        self._missing = height

    def add(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """The pieces that the block completes. Raises ValueError for a block of another shape or type."""
        if block.ndim != 2 or block.shape[1] != self._dim or block.dtype != np.float32:
            raise ValueError(
                f"block {self._blocks} is {block.dtype}{list(block.shape)}: the queries ask for "
                f"float32[rows, {self._dim}]"
            )
        self._blocks += 1
        start = 0
        while len(block) - start >= self._missing:
            end = block[start : start + self._missing]
            start += self._missing
            piece = np.concatenate([*self._waiting, end]) if self._waiting else end
            self._missing, self._waiting = self._height, []
            yield piece
        if start < len(block):
            self._waiting.append(block[start:])
            self._missing -= len(block) - start

    def rest(self) -> Iterator[np.ndarray]:
        """The rows that no piece has yet, as a last, shorter piece."""
        if self._waiting:
            yield np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
