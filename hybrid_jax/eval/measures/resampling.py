"""The macro means of tables whose rows are drawn with replacement: the resamples of `stats.py`'s cluster bootstrap.

A draw depends on the number of rows and the seed alone, so the last one is kept: tables of as many questions share it.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

CELLS_AT_ONCE = 2**23
CELLS_TO_KEEP = 2**26
"""Of draws that are kept for the next table with as many questions, a byte each: drawing takes most of the time."""

NonEmptyRows = Float[np.ndarray, "nonempty groups"]
"""The rows of a table that have at least one value."""
TimesDrawn = UInt8[np.ndarray, "resamples questions"]


def resampled_macro_means(table: NonEmptyRows, resamples: int, seed: int) -> Float[np.ndarray, " resamples"]:
    """The macro mean of each resample, leaving out its columns without a value."""
    questions = len(table)
    keep = questions * resamples <= CELLS_TO_KEEP
    blocks: Iterable[TimesDrawn] = (_kept_draws if keep else _draws)(questions, resamples, seed)
    columns = _merged_columns(table)
    return np.concatenate([_weighted_macro_means(times.astype(np.float64), columns) for times in blocks])


def block_sizes(rows: int, width: int) -> Iterator[int]:
    """Splits `rows` rows of `width` numbers into blocks that fit in memory, and yields the blocks' heights."""
    height = max(1, CELLS_AT_ONCE // max(1, width))
    for start in range(0, rows, height):
        yield min(height, rows - start)


class _Columns(NamedTuple):
    """A table's columns, those with values in the same rows merged: their counts are equal, so their sums add up."""

    sums_and_presence: Float[np.ndarray, "nonempty twice_the_merged"]
    """The sums over merged columns, 0 where there is no value; beside them 1 where there is one, 0 elsewhere."""
    merged: Float[np.ndarray, " merged"]
    """How many columns of the table each stands for."""


def _merged_columns(table: NonEmptyRows) -> _Columns:
    present = ~np.isnan(table)
    places: dict[bytes, int] = {}
    which = [places.setdefault(column.tobytes(), len(places)) for column in np.ascontiguousarray(present.T)]
    chosen = np.eye(len(places))[which]
    merged = chosen.sum(axis=0)
    # One product for both sums: starting BLAS's threads twice costs more than the arithmetic.
    return _Columns(np.concatenate([np.nan_to_num(table) @ chosen, present @ chosen / merged], axis=1), merged)


def _weighted_macro_means(
    weights: Float[np.ndarray, "resamples nonempty"], columns: _Columns
) -> Float[np.ndarray, " resamples"]:
    """The macro mean for each row of weights, leaving out the columns whose weights are all zero."""
    sums, counts = np.split(weights @ columns.sums_and_presence, 2, axis=1)
    nonempty = (counts > 0) * columns.merged
    return (sums / np.maximum(counts, 1)).sum(axis=1) / nonempty.sum(axis=1)


def _draws(questions: int, resamples: int, seed: int) -> Iterator[TimesDrawn]:
    """How often each question is drawn in each resample, in blocks of resamples."""
    rng = np.random.default_rng(seed)
    for size in block_sizes(resamples, questions):
        drawn = rng.integers(0, questions, (size, questions)) + questions * np.arange(size)[:, None]
        # One question is never drawn 256 times: of n draws, with a probability below 1 / 256!.
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.uint8)


@lru_cache(maxsize=1)
def _kept_draws(questions: int, resamples: int, seed: int) -> tuple[TimesDrawn, ...]:
    return tuple(_draws(questions, resamples, seed))
