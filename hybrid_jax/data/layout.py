"""The few shapes of rows to which a run's batches are packed, chosen before the first step from the lengths of texts.

A training step is compiled once for each shape, so a run has at most three. Every host chooses the same ones.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hybrid_jax.data.packing import pack

WASTE = 0.08
"""The shortest rows are taken that leave at most this share of positions without text."""
SAVING = 0.03
"""A further number of rows, hence a further compiled program, must save at least this share of positions."""


@dataclass(frozen=True)
class Layout:
    """Rows of one length, and the numbers of rows that batches are filled up to."""

    length: int
    """Tokens of a row."""
    slots: int
    """The most texts of a row."""
    rows: tuple[int, ...]
    """Numbers of rows of a batch, increasing; a batch that needs more has a shape of its own."""
    text_share: float
    """The share of positions that held text in the batches from which this was chosen."""
    devices: int
    """Rows are split over so many devices."""
    microbatch_rows: int | None
    """The most rows, over all devices, that are encoded at a time; None: all."""

    def shape(self, needed: int) -> tuple[int, int, int, int]:
        """(chunks, rows of a chunk, length, slots) of a batch that needs so many rows."""
        total = next((rows for rows in self.rows if rows >= needed), needed)
        chunks, rows = _chunks(total, self.devices, self.microbatch_rows)
        return chunks, rows, self.length, self.slots

    def expects(self, rows: int) -> bool:
        """Whether batches of so many rows, over all chunks, were expected when the layout was chosen."""
        return any(rows == math.prod(self.shape(number)[:2]) for number in self.rows)

    def __str__(self) -> str:
        shown = [f"{chunks} x {rows}" if chunks > 1 else f"{rows}" for chunks, rows, *_ in map(self.shape, self.rows)]
        counts = ", ".join(shown[:-1]) + " or " * (len(shown) > 1) + shown[-1]
        return f"rows of {self.length} tokens, {counts} a step: {self.text_share:.0%} of positions are text"


def choose(
    batches: Sequence[np.ndarray],
    longest: int,
    multiple: int = 64,
    devices: int = 1,
    microbatch_rows: int | None = None,
    programs: int = 3,
) -> Layout:
    """The layout for batches like these.

    `batches` holds the token counts of some batches' texts, int[texts] each. No text has more than `longest` tokens.
    Row lengths are multiples of `multiple`. There are at most `programs` numbers of rows.
    """
    shortest = math.ceil(longest / multiple) * multiple
    lengths = sorted({shortest, math.ceil(shortest * 1.5 / multiple) * multiple, shortest * 2})
    layouts: list[Layout] = []
    for length in lengths:
        places = [pack(lengths, length, max(length // 8, 1)) for lengths in batches]
        slots = max(int(place.slot.max()) + 1 for place in places)
        needs = [math.prod(_chunks(place.rows, devices, microbatch_rows)) for place in places]
        rows = _numbers_of_rows(needs, programs)
        positions = sum(next(r for r in rows if r >= need) for need in needs) * length
        share = sum(int(lengths.sum()) for lengths in batches) / positions
        layouts.append(Layout(length, slots, rows, share, devices, microbatch_rows))
        if share >= 1 - WASTE:
            return layouts[-1]
    return max(layouts, key=lambda layout: (layout.text_share, -layout.length))


def _chunks(rows: int, devices: int, microbatch_rows: int | None) -> tuple[int, int]:
    """(chunks, rows of a chunk): the fewest equal chunks of at most `microbatch_rows`, split over the devices."""
    chunks = 1 if microbatch_rows is None else math.ceil(rows / microbatch_rows)
    return chunks, math.ceil(rows / chunks / devices) * devices


def _numbers_of_rows(needs: Iterable[int], most: int) -> tuple[int, ...]:
    """Up to `most` numbers to which these needs are rounded up, such that the sum grows least."""
    values, counts = np.unique(list(needs), return_counts=True)
    candidates = values[:-1][:: math.ceil(len(values) / 40)]
    chosen, cost = (int(values[-1]),), int(values[-1] * counts.sum())
    for size in range(1, most):
        options = [np.array([*option, values[-1]]) for option in combinations(candidates.tolist(), size)]
        if not options:
            break
        costs = [int((option[np.searchsorted(option, values)] * counts).sum()) for option in options]
        best = int(np.argmin(costs))
        if costs[best] > (1 - SAVING) * cost:
            break
        chosen, cost = tuple(options[best].tolist()), costs[best]
    return chosen
