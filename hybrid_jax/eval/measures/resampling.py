"""The macro means of tables whose units are drawn with replacement: the resamples of `stats.py`'s cluster bootstrap.

A draw depends on the number of units and the seed alone, so the last one is kept: tables of as many units share it.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from hybrid_jax.eval.measures.units import ByUnit

CELLS_AT_ONCE = 2**23
CELLS_TO_KEEP = 2**26
"""Of draws that are kept for the next table with as many units, a byte each: drawing takes most of the time."""

TimesDrawn = UInt8[np.ndarray, "resamples units"]


def resampled_macro_means(table: ByUnit, resamples: int, seed: int) -> Float[np.ndarray, " resamples"]:
    """The macro mean of each resample, leaving out its columns without a value."""
    units = len(table.sums)
    keep = units * resamples <= CELLS_TO_KEEP
    blocks: Iterable[TimesDrawn] = (_kept_draws if keep else _draws)(units, resamples, seed)
    columns = _merged_columns(table)
    return np.concatenate([_weighted_macro_means(times.astype(np.float64), columns) for times in blocks])


def block_sizes(rows: int, width: int) -> Iterator[int]:
    """Splits `rows` rows of `width` numbers into blocks that fit in memory, and yields the blocks' heights."""
    height = max(1, CELLS_AT_ONCE // max(1, width))
    for start in range(0, rows, height):
        yield min(height, rows - start)


class _Columns(NamedTuple):
    """A table's columns, those with the same counts merged: they are divided by the same, so their sums add up."""

    sums_and_counts: Float[np.ndarray, "units twice_the_merged"]
    """The sums over merged columns, and beside them how many values one of these columns has."""
    merged: Float[np.ndarray, " merged"]
    """How many columns of the table each stands for."""


def _merged_columns(table: ByUnit) -> _Columns:
    places: dict[bytes, int] = {}
    which = [places.setdefault(column.tobytes(), len(places)) for column in np.ascontiguousarray(table.counts.T)]
    chosen = np.eye(len(places))[which]
    merged = chosen.sum(axis=0)
    # One product for both sums: starting BLAS's threads twice costs more than the arithmetic.
    return _Columns(np.concatenate([table.sums @ chosen, table.counts @ chosen / merged], axis=1), merged)


def _weighted_macro_means(
    weights: Float[np.ndarray, "resamples units"], columns: _Columns
) -> Float[np.ndarray, " resamples"]:
    """The macro mean for each row of weights, leaving out the columns whose weights are all zero."""
    sums, counts = np.split(weights @ columns.sums_and_counts, 2, axis=1)
    nonempty = (counts > 0) * columns.merged
    return (sums / np.maximum(counts, 1)).sum(axis=1) / nonempty.sum(axis=1)


def _draws(units: int, resamples: int, seed: int) -> Iterator[TimesDrawn]:
    """How often each unit is drawn in each resample, in blocks of resamples."""
    rng = np.random.default_rng(seed)
    for size in block_sizes(resamples, units):
        drawn = rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        # One unit is never drawn 256 times: of n draws, with a probability below 1 / 256!.
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.uint8)


@lru_cache(maxsize=1)
def _kept_draws(units: int, resamples: int, seed: int) -> tuple[TimesDrawn, ...]:
    return tuple(_draws(units, resamples, seed))
