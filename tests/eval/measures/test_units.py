"""Questions on one paragraph are one draw and one swap: definitions, scipy's results, and coverage."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap, norm, permutation_test

from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.units import ByUnit, by_unit, connected
from hybrid_jax.eval.measures.variance import influence, over_units

NAN = np.nan


def skewed(questions: int, columns: int, missing: float, seed: int = 0) -> np.ndarray:
    """Log-normal values that the columns share in part; the share `missing` is NaN, but none of the first question."""
    rng = np.random.default_rng(seed)
    table = np.exp(rng.standard_normal((questions, 1)) + rng.standard_normal((questions, columns)))
    gaps = rng.random((questions, columns)) < missing
    gaps[0] = False
    return np.where(gaps, NAN, table)


def macro_mean(table: np.ndarray, units: np.ndarray, drawn: np.ndarray) -> float:
    """The definition: all questions of the drawn units, of each column the mean, then of those the mean."""
    rows = np.concatenate([np.flatnonzero(units == unit) for unit in drawn])
    return float(np.nanmean(table[rows], axis=0).mean())


UNEVEN = np.array([0, 1, 2, 0, 3, 1, 4, 5, 5, 5, 6, 7, 0, 8, 9, 9])
"""Ten units of one to three of sixteen questions."""


def test_a_questions_own_unit_is_what_there_is_without_units():
    runs, baseline = (np.stack([skewed(60, 4, 0.3, 1) + number for number in range(3)]) * scale for scale in (1, 1.1))
    units = np.arange(60)
    assert stats.interval(runs, units) == stats.interval(runs)
    assert stats.difference(runs, baseline, units) == stats.difference(runs, baseline)
    assert stats.difference(runs[:1], baseline[:1], units) == stats.difference(runs[:1], baseline[:1])
    assert stats.change(runs, baseline, baseline, runs, units) == stats.change(runs, baseline, baseline, runs)


@pytest.mark.parametrize("runs", [1, 3])
def test_a_question_given_twice_in_one_unit_says_as_much_as_once(runs: int):
    """The counts of a column with few units too, whose degrees of freedom are its own."""
    system = np.stack([skewed(60, 4, 0.2, 2) + 0.1 * number for number in range(runs)])
    system[:, 6:, 3] = NAN
    baseline = system * np.random.default_rng(3).uniform(0.8, 1.3, system.shape)
    twice, units = np.repeat([system, baseline], 2, axis=2), np.repeat(np.arange(60), 2)
    shuffled = np.random.default_rng(4).permutation(120)
    # Units are numbered by their first question, so that they are drawn as the questions alone are.
    order = np.argsort(np.unique(units[shuffled], return_index=True)[1])
    once = stats.difference(system[:, order], baseline[:, order])
    renumbered = np.argsort(order)[units[shuffled]]
    again = stats.difference(twice[0][:, shuffled], twice[1][:, shuffled], renumbered)
    assert again.interval == pytest.approx(once.interval, rel=1e-12)
    assert again.p == pytest.approx(once.p, rel=1e-12)
    assert stats.interval(twice[0], units) == pytest.approx(stats.interval(system), rel=1e-12)
    assert over_units(by_unit(twice[0, 0], units)) == pytest.approx(over_units(by_unit(system[0])), rel=1e-12)
    # As questions of their own, they would seem to say more.
    narrow, wide = (stats.interval(twice[0][:1], of) for of in (None, units))
    assert narrow.high - narrow.low < 0.8 * (wide.high - wide.low)


@pytest.mark.parametrize("missing", [0, 0.4])
def test_resamples_are_those_of_a_loop_that_draws_units(missing: float):
    table = skewed(16, 3, missing, 5)
    drawn = np.random.default_rng(6).integers(0, 10, (99, 10))
    drawn[:, 0] = 0  # so that no column is empty
    times = np.stack([np.bincount(row, minlength=10) for row in drawn])
    expected = [macro_mean(table, UNEVEN, row) for row in drawn]
    sums, counts = by_unit(table, UNEVEN)
    np.testing.assert_allclose((times @ sums / (times @ counts)).mean(axis=1), expected, rtol=1e-12)
    # The same seed draws the same units; a column without a value is left out of its mean.
    drawn = np.random.default_rng(6).integers(0, 10, (99, 10))
    with_all = [row for row, units in enumerate(drawn) if not np.isnan(table[np.isin(UNEVEN, units)]).all(axis=0).any()]
    means = stats.clustered_resamples(by_unit(table, UNEVEN), 99, seed=6)
    assert len(with_all) > 80
    np.testing.assert_allclose(means[with_all], [macro_mean(table, UNEVEN, drawn[row]) for row in with_all], rtol=1e-12)


def test_limits_equal_scipys_over_paragraphs():
    """Paragraphs of four questions each: scipy resamples the paragraphs' numbers, and its jackknife leaves one out."""
    paragraphs = skewed(80, 5, 0).repeat(4, axis=0) * skewed(320, 5, 0, 7) ** 0.3
    units = np.repeat(np.arange(80), 4)
    table = by_unit(paragraphs, units)
    means = stats.clustered_resamples(table, 999, seed=4)
    by_scipy = bootstrap(
        (np.arange(80),),
        lambda rows, axis: paragraphs.reshape(80, 4, 5)[rows].mean(axis=(-3, -2, -1)),
        vectorized=True,
        method="BCa",
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=means),
    )
    limits = stats.bca_limits(table, resamples=999, seed=4)
    np.testing.assert_allclose(limits, by_scipy.confidence_interval, rtol=1e-9)
    assert (np.abs(limits - np.quantile(means, [0.025, 0.975])) > 0.05 * means.std()).all()


def test_p_equals_scipys_exact_p_of_swapping_units():
    differences = skewed(16, 3, 0.3, 8) - 1.2
    exact = permutation_test(
        (np.ones(10),),
        lambda signs: abs(np.nanmean(differences * signs[UNEVEN][:, None], axis=0).mean()),
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**10,  # as many as there are, so that scipy lists them all
    ).pvalue
    count = stats.randomisation_test(by_unit(differences, UNEVEN), 20_000) * 20_001 - 1
    low, high = binom.ppf([0.0005, 0.9995], 20_000, float(exact))
    assert low <= round(count) <= high
    # Twenty questions that all improve, on four paragraphs: these can prove nothing.
    p = stats.difference(np.ones((1, 20, 2)), np.zeros((1, 20, 2)), np.repeat(np.arange(4), 5)).p
    assert p == pytest.approx(2 / 16, abs=0.02)


def test_influence_is_what_a_little_more_of_a_unit_adds():
    """The derivative of the macro mean in the unit's weight, by differences."""
    table = by_unit(skewed(16, 3, 0.4, 9), UNEVEN)

    def weighted(weights: np.ndarray) -> float:
        return float((weights @ table.sums / (weights @ table.counts)).mean())

    step = 1e-6 * np.eye(10)
    slopes = [(weighted(1 + change) - weighted(1 - change)) / 2e-6 for change in step]
    np.testing.assert_allclose(influence(table), slopes, rtol=1e-6, atol=1e-9)


def test_intervals_by_paragraph_cover_95_percent_and_those_by_question_do_not():
    """240 paragraphs of five questions, whose values correlate .2 on a paragraph; see `stats.py`."""
    rng, trials = np.random.default_rng(10), 150
    units = np.repeat(np.arange(240), 5)
    covered = {"paragraph": 0, "question": 0}
    for trial in range(trials):
        values = np.sqrt(0.2) * rng.standard_normal((240, 1)) + np.sqrt(0.8) * rng.standard_normal((240, 5))
        for name, of in (("paragraph", units), ("question", None)):
            _, low, high = stats.interval(values.reshape(1, -1, 1), of, resamples=200, seed=trial)
            covered[name] += low <= 0 <= high
    assert covered["paragraph"] >= binom.ppf(0.0005, trials, 0.95)
    # Their variance is 1 + (5 - 1) × .2 times that of independent questions.
    predicted = float(2 * norm.cdf(norm.ppf(0.975) / np.sqrt(1.8)) - 1)
    low, high = binom.ppf([0.0005, 0.9995], trials, predicted)
    assert low <= covered["question"] <= high


def test_sums_by_hand():
    table = np.array([[1.0, NAN], [2.0, 4.0], [NAN, NAN], [NAN, 8.0]])
    sums, counts = by_unit(table, np.array([0, 1, 2, 0]))
    np.testing.assert_array_equal(sums, [[1, 8], [2, 4]])  # the unit without a value is left out
    np.testing.assert_array_equal(counts, [[1, 1], [1, 1]])
    sums, counts = table_of = by_unit(table, np.array([0, 0, 0, 0]))
    np.testing.assert_array_equal([*sums, *counts], [[3, 12], [2, 2]])
    assert isinstance(table_of, ByUnit)
    np.testing.assert_array_equal(table_of.means, [1.5, 6])
    with pytest.raises(ValueError, match=r"column 1 of a \(1, 2\) table has no value: leave it out"):
        by_unit(table[:1], np.array([0]))


def test_enough_counts_units():
    table = np.ones((10, 1))
    assert stats.enough(table)
    assert stats.enough(table, np.arange(10) // 2)
    assert not stats.enough(table, np.arange(10) // 3)


def test_paragraphs_that_share_a_question_are_one_unit():
    """Question 0 in two languages, on paragraphs of which the English one has 1 too, and the German one 2."""
    questions = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    paragraphs = [("en", "a"), ("de", "b"), ("en", "a"), ("de", "b"), ("en", "b"), ("en", ""), ("en", ""), ("de", "")]
    # The English b is another paragraph than the German one, and an empty id is no paragraph that 4 and 5 would share.
    np.testing.assert_array_equal(connected(questions, paragraphs), [0, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(connected(questions, []), np.arange(6))


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["en", "de"]), st.sampled_from("abcdef")), max_size=20))
def test_units_are_the_finest_that_links_allow(links: list[tuple[int, str, str]]):
    """As found by merging sets until nothing shares a question or a paragraph."""
    questions = np.array([*range(9), *(question for question, _, _ in links)])
    paragraphs = [("en", "")] * 9 + [(language, name) for _, language, name in links]
    groups = [{question} for question in range(9)]
    for place in set(paragraphs[9:]):
        shared = {question for question, *on in links if tuple(on) == place}
        groups = [group for group in groups if not group & shared] + [
            set().union(*(group for group in groups if group & shared))
        ]
    units = connected(questions, paragraphs)
    assert {frozenset(np.flatnonzero(units == unit).tolist()) for unit in units} == set(map(frozenset, groups))
    assert np.unique(units, return_index=True)[1].tolist() == sorted(np.unique(units, return_index=True)[1])
