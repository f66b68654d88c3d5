"""Intervals that cover as often as they say, a test that errs as often as it says, and values worked out by hand."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom, norm, t

from hybrid_jax.eval.measures import stats

LANGUAGES = 11
NAN = np.nan


def hits(rng: np.random.Generator, questions: int, threshold: float = 1.0) -> np.ndarray:
    """Whether each question is answered at rank 1 in each language, its difficulty correlated .7 between languages."""
    difficulty = np.sqrt(0.7) * rng.standard_normal((questions, 1))
    return (difficulty + np.sqrt(0.3) * rng.standard_normal((questions, LANGUAGES)) < threshold).astype(float)


HIT = 0.8413447460685429  # the standard normal distribution's share below 1: the true mean of `hits`


def expected(count: int, rate: float) -> tuple[float, float]:
    """Between how many of `count` simulations an event of this rate happens, but for one time in a thousand."""
    return float(binom.ppf(0.0005, count, rate)), float(binom.ppf(0.9995, count, rate))


def test_the_clustered_interval_covers_as_it_says_and_the_naive_one_does_not():
    rng, count = np.random.default_rng(0), 200
    clustered = naive = 0
    for number in range(count):
        values = hits(rng, 200)
        _, low, high = stats.interval(values[None], resamples=400, seed=number)
        clustered += low <= HIT <= high
        low, high = np.quantile(stats.naive_resamples(values, 100, seed=number), [0.025, 0.975])
        naive += low <= HIT <= high
    low, high = expected(count, 0.95)
    assert low <= clustered <= high
    # It is too narrow by the root of 1 + (languages - 1) × the correlation of two translations' hits.
    z = np.linspace(-9, 9, 20_001)  # difficulties; given one, translations are independent
    both = np.trapezoid(norm.pdf(z) * norm.cdf((1 - np.sqrt(0.7) * z) / np.sqrt(0.3)) ** 2, z)
    correlation = (both - HIT**2) / (HIT * (1 - HIT))
    predicted = float(2 * norm.cdf(1.96 / np.sqrt(1 + (LANGUAGES - 1) * correlation)) - 1)
    assert predicted < 0.65
    low, high = expected(count, predicted)
    assert low <= naive <= high


def test_questions_that_exist_in_few_languages_are_covered_too():
    rng, count, covered = np.random.default_rng(1), 200, 0
    for number in range(count):
        values = np.where(rng.random((250, LANGUAGES)) < 0.4, hits(rng, 250), NAN)
        _, low, high = stats.interval(values[None], resamples=400, seed=number)
        covered += low <= HIT <= high
    low, high = expected(count, 0.95)
    assert low <= covered <= high


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_widen_the_interval_of_a_difference_as_far_as_needed(seeds: int):
    rng, count, questions = np.random.default_rng(seeds), 200, 60
    covered = first_runs = claimed = 0
    for number in range(count):
        shared = rng.standard_normal((questions, 1))
        runs = (
            shared + 0.5 * rng.standard_normal((2, seeds, questions, 3)) + 0.3 * rng.standard_normal((2, seeds, 1, 1))
        )
        (_, low, high), p = stats.difference(*runs, resamples=200, seed=number)
        covered += low <= 0 <= high
        claimed += p <= 0.05
        _, low, high = stats.difference(*runs[:, :1], resamples=200, swaps=1, seed=number).interval
        first_runs += low <= 0 <= high
    assert expected(count, 0.95)[0] <= covered
    assert claimed <= expected(count, 0.05)[1]
    assert first_runs < expected(count, 0.75)[0]  # one run of each says nothing of other seeds


def test_the_randomisation_test_errs_as_often_as_it_says():
    rng, count = np.random.default_rng(0), 1000
    p = []
    for number in range(count):
        # Two systems that are equal but for luck, which a question's translations share.
        luck = rng.standard_normal((2, 40, 1)) + 0.3 * rng.standard_normal((2, 40, LANGUAGES))
        p.append(stats.randomisation_test(luck[0] - luck[1], swaps=199, seed=number))
    for level in (0.01, 0.05, 0.2):  # with 199 swaps a p of exactly each of these exists, so the rate is exact
        low, high = expected(count, level)
        assert low <= np.sum(np.array(p) <= level + 1e-12) <= high


def test_p_by_hand():
    # Of the 8 ways to swap three questions, two (none and all) reach a difference of 0.1 + 0.2 + 0.3.
    p = stats.randomisation_test(np.array([[0.1], [0.2], [0.3]]), swaps=20_000)
    low, high = expected(20_000, 2 / 8)
    assert low <= p * 20_001 - 1 <= high
    # All 4 ways reach 0; 0.1 + 0.2 - 0.3 is not 0 in floats, and must count as if it were.
    assert stats.randomisation_test(np.array([[0.1 + 0.2], [-0.3]]), swaps=100) == 1
    assert stats.randomisation_test(np.zeros((5, 2)), swaps=100) == 1
    # Forty questions all for the better: no swap in a trillion reaches it, and p is the least that 999 swaps allow.
    assert stats.randomisation_test(np.ones((40, 2)), swaps=999) == 1 / 1000
    assert stats.randomisation_test(-np.ones((40, 2)), swaps=999) == 1 / 1000


def test_whole_questions_are_swapped_not_queries():
    # Eleven languages all agree on each of four questions: 4 questions can prove nothing, 44 queries would.
    p = stats.randomisation_test(np.ones((4, LANGUAGES)), swaps=20_000)
    low, high = expected(20_000, 2 / 16)
    assert low <= p * 20_001 - 1 <= high


def test_macro_mean_by_hand():
    values = np.array([[1.0, 0.0, NAN], [0.0, NAN, NAN], [NAN, 1.0, 0.25], [NAN, NAN, NAN]])
    assert stats.macro_mean(values) == pytest.approx((1 / 2 + 1 / 2 + 1 / 4) / 3)


def test_the_spread_of_resamples_is_the_standard_error():
    rng, resamples = np.random.default_rng(0), 20_000
    column = rng.standard_normal((300, 1))
    error = column.std() / np.sqrt(300)
    within = 5 / np.sqrt(2 * resamples)  # five standard errors of a standard deviation
    assert stats.clustered_resamples(column, resamples).std() == pytest.approx(error, rel=within)
    # Eleven identical columns are one column to a clustered bootstrap, eleven times the data to a naive one.
    same = np.repeat(column, LANGUAGES, axis=1)
    np.testing.assert_allclose(stats.clustered_resamples(same, 50), stats.clustered_resamples(column, 50), rtol=1e-12)
    assert stats.naive_resamples(same, resamples).std() == pytest.approx(error / np.sqrt(LANGUAGES), rel=within)


def test_a_resample_without_a_column_averages_the_others():
    values = np.array([[1.0, NAN]] * 20 + [[NAN, 3.0]])
    means = stats.clustered_resamples(values, 500)
    assert set(means) == {1.0, 2.0}
    low, high = expected(500, (20 / 21) ** 21)  # how often a draw of 21 misses the last row
    assert low <= (means == 1).sum() <= high


def test_many_questions_give_the_textbook_interval():
    # Symmetric values: no bias and no acceleration, so BCa is estimate ± 1.96 standard errors up to Monte Carlo noise.
    half = np.random.default_rng(0).standard_normal((1000, 1))
    values = np.concatenate([half, -half])
    estimate, low, high = stats.interval(values[None], resamples=20_000)
    error = values.std() / np.sqrt(2000)
    assert estimate == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose([-low / error, high / error], 1.96, rtol=0.05)


def test_where_only_seeds_vary_it_is_students_interval():
    level = np.array([0.3, 0.5, 0.4])
    runs = np.broadcast_to(level[:, None, None], (3, 10, 2)).copy()
    half = t.ppf(0.975, 2) * level.std(ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(stats.interval(runs), [0.4, 0.4 - half, 0.4 + half], rtol=1e-9)
    fixed = np.full((1, 10, 2), 0.1)  # one run is a fixed checkpoint
    (estimate, low, high), p = stats.difference(runs, fixed)
    np.testing.assert_allclose([estimate, low, high], [0.3, 0.3 - half, 0.3 + half], rtol=1e-9)
    assert p == pytest.approx(2 * t.sf(0.3 / (level.std(ddof=1) / np.sqrt(3)), 2))


def test_what_does_not_vary_has_no_width():
    same = np.full((1, 30, 4), 0.1)
    assert stats.interval(same) == pytest.approx((0.1, 0.1, 0.1), abs=1e-12)
    assert stats.difference(same, same) == ((0, 0, 0), 1)
    assert stats.difference(np.ones((2, 30, 4)), np.ones((2, 30, 4))) == ((0, 0, 0), 1)
    assert stats.difference(np.ones((2, 30, 4)), np.zeros((2, 30, 4))) == ((1, 1, 1), 0)


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float64, (2, 12, 3), elements=st.integers(0, 8).map(lambda n: n / 8)),
    arrays(np.bool_, (12, 3)),
    st.integers(0, 9),
)
def test_symmetries(values: np.ndarray, known: np.ndarray, seed: int):
    known[0] = True  # every column has a value
    ours, theirs = np.where(known, values, NAN)[:, None]
    (estimate, low, high), p = stats.difference(ours, theirs, resamples=99, swaps=99, seed=seed)
    assert low <= estimate <= high
    assert 0 < p <= 1
    assert stats.difference(ours, theirs, resamples=99, swaps=99, seed=seed) == ((estimate, low, high), p)
    back = stats.difference(theirs, ours, resamples=99, swaps=99, seed=seed)
    assert back.p == p
    np.testing.assert_allclose(back.interval, [-estimate, -high, -low], atol=1e-9)
    moved = stats.difference(4 * ours + 1, 4 * theirs, resamples=99, seed=seed, swaps=1).interval
    np.testing.assert_allclose(moved, [4 * estimate + 1, 4 * low + 1, 4 * high + 1], atol=1e-9)


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    values = hits(np.random.default_rng(0), 70)
    other = hits(np.random.default_rng(1), 70)

    def everything():
        return (
            stats.clustered_resamples(values, 50),
            stats.naive_resamples(values, 50),
            stats.randomisation_test(values - other, 50),
        )

    at_once = everything()
    monkeypatch.setattr(stats, "CELLS_AT_ONCE", 70 * 7)
    for ours, theirs in zip(at_once, everything(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], level: float):
    """Holm (1979): go up from the smallest p and stop at the first with p_(i) > level / (m + 1 - i)."""
    rejected = set()
    for place, number in enumerate(sorted(range(len(p)), key=lambda n: p[n])):
        if p[number] * (len(p) - place) > level:
            break
        rejected.add(number)
    adjusted = stats.holm(p)
    assert {number for number, value in enumerate(adjusted) if value <= level} == rejected
    assert all(before <= after <= 1 for before, after in zip(p, adjusted, strict=True))


def test_holm_by_hand():
    # Sorted: .005 × 4, .01 × 3, .03 × 2, then .04 × 1 raised to the one before it; as statsmodels' multipletests.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.7]) == [1, 1]
    assert stats.holm([]) == []


def test_mistakes_say_where():
    values = np.ones((2, 4, 3))
    values[1, 2, 0] = NAN
    with pytest.raises(ValueError, match="question row 2, column 0 exists in only one of the runs 0 and 1"):
        stats.interval(values)
    with pytest.raises(ValueError, match="question row 2, column 0"):
        stats.difference(values[:1], values[1:])
    values[:, :, 1] = NAN
    with pytest.raises(ValueError, match=r"column 1 of a \(4, 3\) table holds no value"):
        stats.interval(values[:1])


def test_xquad_r_takes_seconds():
    runs = np.random.default_rng(0).random((2, 1, 1190, LANGUAGES))
    begin = time.perf_counter()
    stats.difference(*runs)
    assert time.perf_counter() - begin < 10
