"""The variance of a macro mean over questions, and its degrees of freedom.

Where every column has every question, both are the textbook's: n / (n - 1) times the sum of the squared influences, and
n - 1. A column with few values has as much weight as the others and knows its spread badly, which n does not show: with
200 questions in one language and 5 in another, n - 1 degrees of freedom gave nominal 95 % intervals that covered the
truth in 88.7 % of 600 simulations with normal values, and those of `over_questions` in 94.0 % (8 values: 89.7 and 93.5;
20: 93.7 and 94.2). The BCa limits themselves need no correction: a resample holds a random number of a column's values,
which widens them as much as n_c / (n_c - 1) would.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.measures.resampling import NonEmptyRows

FEW = 50
"""With so many values in each column, the degrees of freedom change no interval by more than 2.6 %."""


class Variance(NamedTuple):
    """An estimated variance of a mean, and its degrees of freedom."""

    value: float
    freedom: float


def over_questions(table: NonEmptyRows) -> Variance:
    """The variance of the macro mean over questions.

    With a column of fewer than `FEW` values beside longer ones, each column's deviations are scaled by n_c / (n_c - 1),
    and the degrees of freedom are Satterthwaite's (1946), of the questions' shares of the variance: n_c - 1 where that
    column has it all.
    """
    questions, counts = len(table), column_counts(table)
    if (counts >= min(FEW, questions)).all():
        freedom = max(1, questions - 1)
        return Variance(float((influence(table) ** 2).sum()) * questions / freedom, freedom)
    means = np.nansum(table, axis=0) / counts
    unbiased = np.sqrt(counts / np.maximum(counts - 1, 1))
    shares = np.nan_to_num((table - means) * unbiased / counts) / table.shape[1]
    value = float((shares.sum(axis=1) ** 2).sum())
    # What a question of these columns is expected to add, if its values move together.
    present = ~np.isnan(table)
    expected = (present @ np.sqrt((shares**2).sum(axis=0) / counts)) ** 2
    fewest = np.where(present, counts, np.inf).min(axis=1)
    if value == 0:
        return Variance(0.0, max(1.0, float(fewest.min()) - 1))
    spread = (expected**2 * fewest / np.maximum(fewest - 1, 1)).sum()
    return Variance(value, float(expected.sum() ** 2 / spread))


def influence(table: NonEmptyRows) -> Float[np.ndarray, " nonempty"]:
    """How much each question moves the macro mean. The sum of the squares is its variance over questions."""
    counts = column_counts(table)
    means = np.nansum(table, axis=0) / counts
    return np.nansum((table - means) / counts, axis=1) / table.shape[1]


def column_counts(table: NonEmptyRows) -> Float[np.ndarray, " groups"]:
    """How many values each column has."""
    return (~np.isnan(table)).sum(axis=0).astype(np.float64)
