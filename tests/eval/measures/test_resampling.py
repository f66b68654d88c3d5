"""Resamples and swaps are drawn from the given seed."""

import numpy as np

from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.units import by_unit


def test_the_seed_is_used():
    values = np.random.default_rng(0).standard_normal((20, 2))
    one, other = (stats.clustered_resamples(by_unit(values), 50, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one, other)
    assert len({stats.randomisation_test(by_unit(values), 500, seed) for seed in range(8)}) > 1
