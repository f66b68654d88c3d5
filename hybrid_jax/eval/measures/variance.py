"""The variance of a macro mean over units (questions, or paragraphs with theirs), and its degrees of freedom.

Where every column has every unit, both are the textbook's: n / (n - 1) times the sum of the squared influences, and
n - 1. A column of few units has as much weight as the others and knows its spread badly, which n does not show: with
200 questions in one language and 5 in another, n - 1 degrees of freedom gave nominal 95 % intervals that covered the
truth in 88.7 % of 600 simulations with normal values, and those of `over_units` in 94.0 % (8 values: 89.7 and 93.5;
20: 93.7 and 94.2). The BCa limits themselves need no correction: a resample holds a random number of a column's values,
which widens them as much as n_c / (n_c - 1) would.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.measures.units import ByUnit

FEW = 50
"""With so many units in each column, the degrees of freedom change no interval by more than 2.6 %."""


class Variance(NamedTuple):
    """An estimated variance of a mean, and its degrees of freedom."""

    value: float
    freedom: float


def over_units(table: ByUnit) -> Variance:
    """The variance of the macro mean over units.

    With a column of fewer than `FEW` units beside longer ones, each column's deviations are scaled by n_c / (n_c - 1),
    and the degrees of freedom are Satterthwaite's (1946), of the units' shares of the variance: n_c - 1 where that
    column has it all.
    """
    present = table.counts > 0
    units, in_column = len(present), present.sum(axis=0)
    if (in_column >= min(FEW, units)).all():
        freedom = max(1, units - 1)
        return Variance(float((influence(table) ** 2).sum()) * units / freedom, freedom)
    unbiased = np.sqrt(in_column / np.maximum(in_column - 1, 1))
    shares = (table.sums - table.counts * table.means) * unbiased / table.totals / table.sums.shape[1]
    value = float((shares.sum(axis=1) ** 2).sum())
    # What a unit of these columns is expected to add, if its values move together.
    expected = (present @ np.sqrt((shares**2).sum(axis=0) / in_column)) ** 2
    fewest = np.where(present, in_column, np.inf).min(axis=1)
    if value == 0:
        return Variance(0.0, max(1.0, float(fewest.min()) - 1))
    spread = (expected**2 * fewest / np.maximum(fewest - 1, 1)).sum()
    return Variance(value, float(expected.sum() ** 2 / spread))


def influence(table: ByUnit) -> Float[np.ndarray, " units"]:
    """How much each unit moves the macro mean. The sum of the squares is its variance over units."""
    return ((table.sums - table.counts * table.means) / table.totals).sum(axis=1) / table.sums.shape[1]
