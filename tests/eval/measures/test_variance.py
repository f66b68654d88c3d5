"""Columns with few values: how far their macro mean can be trusted, and what has no interval and no verdict."""

import numpy as np
import pytest

from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.units import by_unit
from hybrid_jax.eval.measures.variance import over_units

NAN = np.nan


def test_without_variance_p_is_that_of_the_randomisation_test():
    for one, other in ((1.0, 0.0), (0.3, 0.1)):  # the second leaves a variance of rounding errors
        (estimate, low, high), p = stats.difference(np.full((2, 30, 4), one), np.full((2, 30, 4), other), swaps=999)
        assert (low, estimate, high) == pytest.approx((one - other,) * 3)
        assert p == 1 / 1000
    # Three questions without variance prove nothing: two of the eight ways to swap them reach the difference.
    assert stats.difference(np.ones((2, 3, 4)), np.zeros((2, 3, 4))).p == pytest.approx(2 / 8, abs=0.02)


def beside(long: np.ndarray, short: np.ndarray) -> np.ndarray:
    """Two columns of different questions."""
    table = np.full((len(long) + len(short), 2), NAN)
    table[: len(long), 0], table[len(long) :, 1] = long, short
    return table


def test_intervals_cover_95_percent_where_a_column_has_few_values():
    """With 5 values beside 200, the degrees of freedom of 205 questions cover 87 %; see `variance.py`."""
    rng, trials, covered, textbook = np.random.default_rng(6), 600, 0, 0
    for trial in range(trials):
        table = beside(rng.standard_normal(200), rng.standard_normal(5))
        _, low, high = stats.interval(table[None], resamples=200, seed=trial)
        covered += low <= 0 <= high
        low, high = stats.bca_limits(by_unit(table), resamples=200, seed=trial)
        textbook += low <= 0 <= high
    assert covered >= 0.92 * trials
    assert covered - textbook > 0.03 * trials


def test_the_variance_and_freedom_of_columns_of_different_questions_are_welchs():
    """Welch (1947): s1²/n1 + s2²/n2, and Satterthwaite's degrees of freedom of that sum."""
    rng = np.random.default_rng(7)
    long, short = rng.standard_normal(60), 3 * rng.standard_normal(9)
    parts = [float(column.var(ddof=1)) / len(column) for column in (long, short)]
    value, freedom = over_units(by_unit(beside(long, short)))
    assert value == pytest.approx(sum(parts) / 4)
    assert freedom == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 59 + parts[1] ** 2 / 8))
    # Where every column has every question, they are those of the questions' means, however few there are.
    table = rng.standard_normal((9, 3))
    assert over_units(by_unit(table)) == pytest.approx((table.mean(axis=1).var(ddof=1) / 9, 8))


def test_runs_of_a_column_with_too_few_values_need_the_questions_too():
    """One Swahili question has no variance, so that Student's t would call any difference real."""
    rng = np.random.default_rng(8)
    system = np.stack([beside(0.01 * rng.standard_normal(200), np.ones(1)) for _ in range(3)])
    baseline = np.stack([beside(0.01 * rng.standard_normal(200), np.zeros(1)) for _ in range(3)])
    assert not stats.enough(system[0])
    assert stats.enough(beside(np.ones(5), np.ones(5)))
    assert stats.difference(system, baseline).p > 0.05  # by the randomisation test, which swaps that question or not
