"""Intervals that cover the truth as often as they say, tests that err as often as they say, and scipy's results."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom, bootstrap, ks_2samp, norm, permutation_test, t

from hybrid_jax.eval.measures import resampling, stats
from hybrid_jax.eval.measures.holm import holm
from hybrid_jax.eval.measures.units import by_unit

LANGUAGES = 11
NAN = np.nan
HIT_RATE = 0.8413447460685429  # the true mean of `hits`: the standard normal distribution function at 1


def hits(rng: np.random.Generator, questions: int) -> np.ndarray:
    """Whether each question is answered at rank 1 in each language, its difficulty correlated .7 between languages."""
    difficulty = np.sqrt(0.7) * rng.standard_normal((questions, 1))
    return (difficulty + np.sqrt(0.3) * rng.standard_normal((questions, LANGUAGES)) < 1).astype(float)


def naive_resamples(table: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Macro means of resamples whose columns are drawn independently: a bootstrap that ignores the clusters."""
    rng = np.random.default_rng(seed)
    return np.mean(
        [column[rng.integers(0, len(column), (resamples, len(column)))].mean(axis=1) for column in table.T], axis=0
    )


def likely_counts(trials: int, rate: float) -> tuple[float, float]:
    """The limits between which the number of successes lies with probability 0.999."""
    return float(binom.ppf(0.0005, trials, rate)), float(binom.ppf(0.9995, trials, rate))


def test_clustered_intervals_cover_95_percent_and_naive_ones_do_not():
    """With 100 trials, a true coverage of 80 % is rejected with probability 0.95, and one of 65 % almost always."""
    rng, trials = np.random.default_rng(0), 100
    clustered = naive = 0
    for trial in range(trials):
        table = hits(rng, 200)
        _, low, high = stats.interval(table[None], resamples=200, seed=trial)
        clustered += low <= HIT_RATE <= high
        low, high = np.quantile(naive_resamples(table, 100, seed=trial), [0.025, 0.975])
        naive += low <= HIT_RATE <= high
    assert likely_counts(trials, 0.95)[0] <= clustered
    # Naive intervals are too narrow by the root of 1 + (languages - 1) × the correlation of two translations' hits.
    difficulty = np.linspace(-9, 9, 20_001)  # given the difficulty, translations are independent
    both_hit = np.trapezoid(
        norm.pdf(difficulty) * norm.cdf((1 - np.sqrt(0.7) * difficulty) / np.sqrt(0.3)) ** 2, difficulty
    )
    correlation = (both_hit - HIT_RATE**2) / (HIT_RATE * (1 - HIT_RATE))
    predicted = float(2 * norm.cdf(1.96 / np.sqrt(1 + (LANGUAGES - 1) * correlation)) - 1)
    assert predicted < 0.65
    low, high = likely_counts(trials, predicted)
    assert low <= naive <= high


def test_intervals_cover_95_percent_where_most_questions_lack_some_languages():
    """The power is that of the test above."""
    rng, trials, covered = np.random.default_rng(1), 100, 0
    for trial in range(trials):
        table = np.where(rng.random((250, LANGUAGES)) < 0.4, hits(rng, 250), NAN)
        _, low, high = stats.interval(table[None], resamples=200, seed=trial)
        covered += low <= HIT_RATE <= high
    assert likely_counts(trials, 0.95)[0] <= covered


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_the_spread_of_runs_widens_the_interval_of_a_difference_enough(runs: int):
    """With 100 trials, coverage of 80 % is rejected with probability 0.95; single runs cover less than 75 %."""
    rng, trials, questions = np.random.default_rng(runs), 100, 60
    covered = single_runs_covered = rejected = 0
    for trial in range(trials):
        by_question = rng.standard_normal((questions, 1))
        by_run = 0.3 * rng.standard_normal((2, runs, 1, 1))
        system, baseline = by_question + by_run + 0.5 * rng.standard_normal((2, runs, questions, 3))
        (_, low, high), p = stats.difference(system, baseline, resamples=200, seed=trial)
        covered += low <= 0 <= high
        rejected += p <= 0.05
        (_, low, high), _ = stats.difference(system[:1], baseline[:1], resamples=200, swaps=1, seed=trial)
        single_runs_covered += low <= 0 <= high
    assert likely_counts(trials, 0.95)[0] <= covered
    assert rejected <= likely_counts(trials, 0.05)[1]
    assert single_runs_covered < likely_counts(trials, 0.75)[0]


def test_what_matched_runs_share_is_not_chance():
    """Runs that differ much from one another, and systems that hardly do: as the same checkpoints before and after."""
    rng, trials, runs, questions = np.random.default_rng(4), 100, 3, 60
    covered = found = found_unmatched = 0
    for trial in range(trials):
        shared = rng.standard_normal((runs, 1, 1)) + rng.standard_normal((questions, 1))
        own = 0.02 * rng.standard_normal((2, runs, 1, 1)) + 0.1 * rng.standard_normal((2, runs, questions, 3))
        system, baseline = shared + own
        covered += stats.difference(system, baseline, resamples=200, seed=trial, matched=True).p > 0.05
        better = system + 0.2
        found += stats.difference(better, baseline, resamples=200, seed=trial, matched=True).p <= 0.05
        found_unmatched += stats.difference(better, baseline, resamples=200, seed=trial).p <= 0.05
    assert covered >= likely_counts(trials, 0.95)[0]
    assert found >= 90
    assert found_unmatched <= 10


def test_matched_runs_are_equally_many():
    with pytest.raises(ValueError, match="2 and 3 runs cannot be matched"):
        stats.difference(np.zeros((2, 5, 2)), np.zeros((3, 5, 2)), matched=True)


def test_the_randomisation_test_rejects_a_true_null_hypothesis_at_the_nominal_rate():
    rng, trials = np.random.default_rng(0), 1000
    p_values = []
    for trial in range(trials):
        # Two systems that differ by chance alone, which the translations of a question share.
        system, baseline = rng.standard_normal((2, 40, 1)) + 0.3 * rng.standard_normal((2, 40, LANGUAGES))
        p_values.append(stats.randomisation_test(by_unit(system - baseline), swaps=199, seed=trial))
    for level in (0.01, 0.05, 0.2):  # multiples of 1 / 200, so that the rate is exactly the level
        low, high = likely_counts(trials, level)
        assert low <= np.sum(np.array(p_values) <= level + 1e-12) <= high


def nan_macro_mean(table: np.ndarray) -> np.ndarray:
    """The definition: of each column the mean, then of those the mean; further axes come first."""
    return np.nanmean(table, axis=-2).mean(axis=-1)


def skewed(questions: int, columns: int, missing: float) -> np.ndarray:
    """Log-normal values that the columns share in part; the share `missing` is NaN."""
    rng = np.random.default_rng(questions)
    table = np.exp(rng.standard_normal((questions, 1)) + rng.standard_normal((questions, columns)))
    return np.where(rng.random((questions, columns)) < missing, NAN, table)


def scipy_bootstrap(table: np.ndarray, **options):
    """`scipy.stats.bootstrap` over the numbers of the rows."""
    return bootstrap(
        (np.arange(len(table)),),
        lambda rows, axis: nan_macro_mean(table[rows]),
        vectorized=True,
        method="BCa",
        **options,
    )


def test_limits_equal_scipys_on_the_same_resamples():
    # In the second table the means are multiples of 2^-9, so that ties are exact: scipy compares without a tolerance.
    hit_table = hits(np.random.default_rng(3), 64)[:, :8]
    for table in (skewed(80, 5, missing=0), hit_table):
        means = stats.clustered_resamples(by_unit(table), 999, seed=4)
        scipy_result = scipy_bootstrap(
            table, n_resamples=0, bootstrap_result=SimpleNamespace(bootstrap_distribution=means)
        )
        actual = stats.bca_limits(by_unit(table), resamples=999, seed=4)
        np.testing.assert_allclose(actual, scipy_result.confidence_interval, rtol=1e-9)
        # The corrections matter here: the percentile interval is another one.
        assert (np.abs(actual - np.quantile(means, [0.025, 0.975])) > 0.05 * means.std()).all()


def test_limits_equal_scipys_to_a_hundredth_of_a_standard_error_where_values_are_missing():
    """There scipy's jackknife and our influence values differ by terms of order 1 / questions."""
    table = skewed(120, 5, missing=0.4)
    means = stats.clustered_resamples(by_unit(table), 999, seed=4)
    scipy_result = scipy_bootstrap(table, n_resamples=0, bootstrap_result=SimpleNamespace(bootstrap_distribution=means))
    limits = stats.bca_limits(by_unit(table), resamples=999, seed=4)
    np.testing.assert_allclose(limits, scipy_result.confidence_interval, rtol=0, atol=0.01 * means.std())


def test_resamples_are_distributed_as_scipys():
    for missing in (0, 0.4):
        table = skewed(60, 5, missing)
        scipy_means = scipy_bootstrap(table, n_resamples=2000, rng=np.random.default_rng(1)).bootstrap_distribution
        means = stats.clustered_resamples(by_unit(table), 2000, seed=0)
        assert np.asarray(ks_2samp(means, scipy_means))[1] > 0.001  # the p-value


def test_p_equals_scipys_exact_p_within_the_error_of_random_swaps():
    swaps, outside = 20_000, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        questions, columns = rng.integers(2, 8), rng.integers(1, 4)
        differences = rng.standard_normal((questions, columns)) + 0.5
        if seed % 2:
            differences = np.round(differences)  # ties
        missing = rng.random(differences.shape) < 0.3
        missing[0] = False
        table = np.where(missing, NAN, differences)
        exact = permutation_test(
            (np.ones(questions),),
            lambda signs, table=table: abs(nan_macro_mean(table * signs[:, None])),
            permutation_type="samples",
            alternative="greater",
            n_resamples=2**7,  # at least as many as there are swaps, so that scipy lists them all
        ).pvalue
        low, high = likely_counts(swaps, float(exact))
        count = stats.randomisation_test(by_unit(table), swaps, seed) * (swaps + 1) - 1
        if not low <= round(count) <= high:
            outside.append((seed, exact, count / swaps))
    assert not outside


def test_p_by_hand():
    # Of the 8 ways to swap three questions, two (none and all) reach a difference of 0.1 + 0.2 + 0.3.
    p = stats.randomisation_test(by_unit(np.array([[0.1], [0.2], [0.3]])), swaps=20_000)
    low, high = likely_counts(20_000, 2 / 8)
    assert low <= p * 20_001 - 1 <= high
    # All 4 ways reach 0; 0.1 + 0.2 - 0.3 is not 0 in floating point, and must count as if it were.
    assert stats.randomisation_test(by_unit(np.array([[0.1 + 0.2], [-0.3]])), swaps=100) == 1
    assert stats.randomisation_test(by_unit(np.zeros((5, 2))), swaps=100) == 1
    # Forty questions that all improve: no swap in a trillion reaches that, and p is the smallest that 999 swaps allow.
    assert stats.randomisation_test(by_unit(np.ones((40, 2))), swaps=999) == 1 / 1000
    assert stats.randomisation_test(by_unit(-np.ones((40, 2))), swaps=999) == 1 / 1000


def test_whole_questions_are_swapped_not_queries():
    # Eleven languages all agree on each of four questions: 4 questions can prove nothing, 44 queries would.
    p = stats.randomisation_test(by_unit(np.ones((4, LANGUAGES))), swaps=20_000)
    low, high = likely_counts(20_000, 2 / 16)
    assert low <= p * 20_001 - 1 <= high


def test_macro_mean_by_hand():
    table = np.array([[1.0, 0.0, NAN], [0.0, NAN, NAN], [NAN, 1.0, 0.25], [NAN, NAN, NAN]])
    assert stats.macro_mean(table) == pytest.approx((1 / 2 + 1 / 2 + 1 / 4) / 3)


def test_the_standard_deviation_of_resamples_is_the_standard_error():
    rng, resamples = np.random.default_rng(0), 20_000
    column = rng.standard_normal((100, 1))
    error = column.std() / np.sqrt(100)
    tolerance = 5 / np.sqrt(2 * resamples)  # five standard errors of a standard deviation
    assert stats.clustered_resamples(by_unit(column), resamples).std() == pytest.approx(error, rel=tolerance)
    # Eleven identical columns are one column to a clustered bootstrap, and eleven times the data to a naive one.
    same = np.repeat(column, LANGUAGES, axis=1)
    np.testing.assert_allclose(
        stats.clustered_resamples(by_unit(same), 50), stats.clustered_resamples(by_unit(column), 50), rtol=1e-12
    )
    assert naive_resamples(same, resamples, 0).std() == pytest.approx(error / np.sqrt(LANGUAGES), rel=tolerance)


def test_a_column_without_values_in_a_resample_is_left_out_of_its_mean():
    table = np.array([[1.0, NAN]] * 20 + [[NAN, 3.0]])
    means = stats.clustered_resamples(by_unit(table), 500)
    assert set(means) == {1.0, 2.0}
    low, high = likely_counts(500, (20 / 21) ** 21)  # how often a resample of 21 rows lacks the last row
    assert low <= (means == 1).sum() <= high


def test_many_questions_give_the_textbook_interval():
    # Symmetric values: no bias and no acceleration, so BCa is estimate ± 1.96 standard errors up to Monte Carlo noise.
    half = np.random.default_rng(0).standard_normal((200, 1))
    table = np.concatenate([half, -half])
    estimate, low, high = stats.interval(table[None], resamples=20_000)
    error = table.std() / np.sqrt(len(table))
    assert estimate == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose([-low / error, high / error], 1.96, rtol=0.05)


def test_where_only_runs_vary_it_is_students_interval():
    levels = np.array([0.3, 0.5, 0.4])
    runs = np.broadcast_to(levels[:, None, None], (3, 10, 2)).copy()
    half_width = t.ppf(0.975, 2) * levels.std(ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(stats.interval(runs), [0.4, 0.4 - half_width, 0.4 + half_width], rtol=1e-9)
    checkpoint = np.full((1, 10, 2), 0.1)
    limits, p = stats.difference(runs, checkpoint)
    np.testing.assert_allclose(limits, [0.3, 0.3 - half_width, 0.3 + half_width], rtol=1e-9)
    assert p == pytest.approx(2 * t.sf(0.3 / (levels.std(ddof=1) / np.sqrt(3)), 2))


def test_without_variance_the_interval_has_no_width():
    same = np.full((1, 30, 4), 0.1)
    assert stats.interval(same) == pytest.approx((0.1, 0.1, 0.1), abs=1e-12)
    assert stats.difference(same, same) == ((0, 0, 0), 1)
    assert stats.difference(np.ones((2, 30, 4)), np.ones((2, 30, 4))) == ((0, 0, 0), 1)


@settings(max_examples=30)
@given(
    arrays(np.float64, (2, 12, 3), elements=st.integers(0, 8).map(lambda eighths: eighths / 8)),
    arrays(np.bool_, (12, 3)),
    st.integers(0, 9),
)
def test_symmetries(values: np.ndarray, present: np.ndarray, seed: int):
    present[0] = True  # every column has a value
    system, baseline = np.where(present, values, NAN)[:, None]
    (estimate, low, high), p = stats.difference(system, baseline, resamples=99, swaps=99, seed=seed)
    assert low <= estimate <= high
    assert 0 < p <= 1
    assert stats.difference(system, baseline, resamples=99, swaps=99, seed=seed) == ((estimate, low, high), p)
    reverse = stats.difference(baseline, system, resamples=99, swaps=99, seed=seed)
    assert reverse.p == p
    np.testing.assert_allclose(reverse.interval, [-estimate, -high, -low], atol=1e-9)
    scaled = stats.difference(4 * system + 1, 4 * baseline, resamples=99, seed=seed, swaps=1).interval
    np.testing.assert_allclose(scaled, [4 * estimate + 1, 4 * low + 1, 4 * high + 1], atol=1e-9)


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    table = hits(np.random.default_rng(0), 70)
    differences = table - hits(np.random.default_rng(1), 70)
    resamples, p = stats.clustered_resamples(by_unit(table), 50), stats.randomisation_test(by_unit(differences), 50)
    monkeypatch.setattr(resampling, "CELLS_AT_ONCE", 70 * 7)
    monkeypatch.setattr(resampling, "CELLS_TO_KEEP", 0)
    np.testing.assert_array_equal(stats.clustered_resamples(by_unit(table), 50), resamples)
    assert stats.randomisation_test(by_unit(differences), 50) == p


@settings(max_examples=200)
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], level: float):
    """Holm (1979): go up from the smallest p and stop at the first with p_(i) > level / (m + 1 - i)."""
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        if p_values[index] * (len(p_values) - rank) > level:
            break
        rejected.add(index)
    adjusted = holm(p_values)
    assert {index for index, p in enumerate(adjusted) if p <= level} == rejected
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))


def test_holm_by_hand():
    # Sorted: .005 × 4, .01 × 3, .03 × 2, then .04 × 1 raised to the previous one; as statsmodels' multipletests.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_errors_name_the_place():
    runs = np.ones((2, 4, 3))
    runs[1, 2, 0] = NAN
    with pytest.raises(ValueError, match="question row 2, column 0 exists in only one of the runs 0 and 1"):
        stats.interval(runs)
    with pytest.raises(ValueError, match="question row 2, column 0"):
        stats.difference(runs[:1], runs[1:])
    runs[:, :, 1] = NAN
    with pytest.raises(ValueError, match=r"column 1 of a \(4, 3\) table has no value"):
        stats.interval(runs[:1])
