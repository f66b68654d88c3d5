"""Confidence intervals of macro means, and tests of whether two systems differ.

The input is a table of metric values with one row per question and one column per language (or per ordered pair of
languages), and NaN where a question does not exist in a language. Several training runs give one table each.

The statistic is the macro mean: the mean over columns of each column's mean. Translations of one question are not
independent, nor are questions on one paragraph, so the unit that is resampled, or swapped between two systems, is the
paragraph with all its questions in all languages (a cluster bootstrap), or, where the benchmark names no paragraph, a
question in all its languages (`units.py`). Resampling single queries instead treats eleven translations as eleven
independent questions; if a question is about equally hard in all its languages, such a nominal 95 % interval covers the
truth 50 to 65 % of the time.

Where a benchmark asks several questions on a paragraph, questions as units do much the same on a smaller scale. With
240 paragraphs of 5 questions in 11 languages, latent difficulties that correlate .2 between questions of a paragraph,
and .76 between translations, nominal 95 % intervals covered the truth so often (2,000 data sets), and the randomisation
test rejected a true null hypothesis at .05 so often (1,000):

    values                        by question       by paragraph
    normal                        82.9, 16.8 %      95.1, 5.4 %
    hit at 1, mean .84            87.2, 12.3 %      95.4, 4.3 %

Coverage of nominal 95 % intervals in simulation (11 languages, latent difficulty correlated .7 between translations;
1,500 data sets, 600 for 1,000 questions). In brackets, how often the truth lies below and above the interval, ideally
2.5 and 2.5:

    values                          questions   percentile           BCa
    hit at 1, mean .93                     50   89.5 (8.9, 1.7)      92.1 (5.2, 2.7)
                                          200   93.5 (5.1, 1.3)      94.7 (2.9, 2.4)
                                        1,000   94.5 (4.3, 1.2)      94.5 (3.7, 1.8)
    1 / rank                               50   93.9 (3.3, 2.8)      94.3 (2.9, 2.7)
    log-normal, as rank distances          50   88.9 (0.8, 10.3)     89.8 (2.7, 7.5)
                                          200   93.6 (1.5, 4.9)      92.9 (3.4, 3.7)
                                        1,000   94.5 (2.5, 3.0)      93.8 (4.0, 2.2)

Both intervals are accurate from about 200 questions on. We use BCa (bias-corrected and accelerated; Efron 1987)
because retrieval metrics are skewed, most of all near their ceiling, where the percentile interval misses three times
as often on one side as on the other.

We do not call `scipy.stats.bootstrap` and `permutation_test`, because they take 7 and 4 times our CPU time on 1,190
questions in 110 columns, and 27 and 4.6 times on 10,000 in 26 (`benchmarks/measures.py`; the draws are kept from an
earlier table), and because `bootstrap` returns NaN where all questions have the same value. The tests check that limits
and p-values equal scipy's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri, stdtr, stdtrit  # what scipy.stats calls, imported in a fifth of its time

from hybrid_jax.eval.measures.resampling import block_sizes, resampled_macro_means
from hybrid_jax.eval.measures.units import ByUnit, Table, Units, by_unit
from hybrid_jax.eval.measures.variance import Variance, influence, over_units

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
RESAMPLES = 2_000
SWAPS = 10_000
LEAST_UNITS = 5
"""Fewer units in a column say too little of its spread: what has such a column gets no interval and no verdict."""

Runs = Float[np.ndarray, "runs questions groups"]
AnyRuns = Float[np.ndarray, "_ questions groups"]
"""The same questions in any number of runs."""


class Interval(NamedTuple):
    """An estimate and the limits of its confidence interval."""

    estimate: float
    low: float
    high: float


class Difference(NamedTuple):
    """The interval of a difference of two systems, and the two-sided p-value of the hypothesis that it is zero."""

    interval: Interval
    p: float


def enough(table: Table, units: Units | None = None) -> bool:
    """Whether every column has the units that an interval takes."""
    return bool(((by_unit(table, units).counts > 0).sum(axis=0) >= LEAST_UNITS).all())


def macro_mean(table: Table) -> float:
    """The mean over columns of each column's mean, leaving out NaN. Raises ValueError if a column has no value."""
    return float(by_unit(table).means.mean())


def interval(
    runs: Runs,
    units: Units | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The macro mean of a system, averaged over its runs (one per training seed), with its confidence interval.

    `units` are the questions' units; without them, each question is its own.

    With one run this is the BCa interval over units: it describes this checkpoint on other questions of the same
    kind, and says nothing about other training seeds. With several runs it describes the recipe: training it again and
    asking other questions.

    Runs are too few to resample: two runs have only three distinct resamples. In a simulation where the standard
    deviation between runs was three times the standard error over units, resampling runs together with questions
    gave nominal 95 % intervals that covered the difference of two systems 75 % of the time with two runs each, 86 %
    with three, and 90 % with five. Instead, the variance between runs is added to the variance over units, and the
    limits come from Student's t with Satterthwaite's degrees of freedom. The same simulation gives 94 to 96 % (for one
    system alone: 89 % with two runs, 93 % with three).

    Few runs give wide intervals, because they estimate their own variance badly: where runs dominate, t is 12.7 for two
    runs, 4.3 for three and 2.8 for five, against the normal distribution's 1.96. Train five or more to detect small
    differences.

    Raises ValueError if the runs have different questions, or if a column has no value.
    """
    _check_same_questions(runs)
    return _interval(by_unit(runs.mean(axis=0), units), [_variance_between_runs(runs)], confidence, resamples, seed)


def difference(
    system: AnyRuns,
    baseline: AnyRuns,
    units: Units | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    swaps: int = SWAPS,
    seed: int = 0,
    matched: bool = False,
) -> Difference:
    """System minus baseline: the difference of their macro means on the same questions, paired by unit.

    With one run each, p comes from `randomisation_test`. With several runs, their variance is included as in
    `interval`, and p comes from Student's t with the same variance: swapping units would only show that these
    *checkpoints* differ, and swapping runs cannot give p < 0.1 with three runs per system. A single run compared with
    several counts as a fixed checkpoint, not as a sample of its recipe. Without any variance, t has no p, and the
    randomisation test gives it; with too few units in a column (`enough`), p is the larger of the two.

    `matched` says that run i of both is the same checkpoint, as before and after debiasing: what counts is then the
    variance between the runs' differences, and not that between checkpoints, which both share.

    Raises ValueError if the systems or their runs have different questions, if a column has no value, or if matched
    systems have different numbers of runs.
    """
    if matched and len(system) != len(baseline):
        raise ValueError(f"{len(system)} and {len(baseline)} runs cannot be matched: give equally many")
    return _contrast([system], [baseline], units, confidence, resamples, swaps, seed, matched)


def change(
    system: AnyRuns,
    baseline: AnyRuns,
    other_system: AnyRuns,
    other_baseline: AnyRuns,
    units: Units | None = None,
    swaps: int = SWAPS,
) -> Difference:
    """(System minus baseline) minus (other system minus other baseline): does one difference differ from another?

    An interaction, as of a recipe with the size of the data: paired by unit, with the variance between the runs of
    all four. Runs with the same seed count as independent; where they move together, the interval is too wide.

    Raises ValueError as `difference` does.
    """
    return _contrast([system, other_baseline], [baseline, other_system], units, CONFIDENCE, RESAMPLES, swaps, seed=0)


def randomisation_test(differences: ByUnit, swaps: int = SWAPS, seed: int = 0) -> float:
    """The two-sided p-value of a paired randomisation (permutation) test of the macro mean of `differences`.

    Under the null hypothesis, swapping the two systems' values of a unit (all its questions in all languages at once)
    changes nothing but the signs of its sums. p is the share of random swaps whose macro mean is at least as far from
    zero as the observed one, which counts as one of them: (1 + count) / (1 + swaps). So p is never 0, and the test
    rejects a true null hypothesis at most at the nominal rate for any number of swaps.
    """
    # What each unit adds to the macro mean. A swap changes its sign, and leaves the columns' counts as they are.
    shares = (differences.sums / differences.totals).sum(axis=1) / differences.sums.shape[1]
    # A sum in another order differs in its last bits; sums that are mathematically equal must count as equal.
    threshold = abs(shares.sum()) - 1e-12 * np.abs(shares).sum()
    rng = np.random.default_rng(seed)
    count = 0
    for size in block_sizes(swaps, len(shares)):
        kept = rng.integers(0, 2, (size, len(shares)))
        # The sum of ±shares, with + where kept is 1.
        count += int((np.abs(2 * (kept @ shares) - shares.sum()) >= threshold).sum())
    return (1 + count) / (1 + swaps)


def clustered_resamples(table: ByUnit, resamples: int = RESAMPLES, seed: int = 0) -> Float[np.ndarray, " resamples"]:
    """The macro means of tables made by drawing as many units as `table` has, with replacement.

    A column's mean is over the values that are drawn, which are more or fewer where units differ in size. A column that
    has no value in a resample (which happens only where few units have one) is left out of that resample's macro mean.
    """
    return resampled_macro_means(table, resamples, seed)


def bca_limits(
    table: ByUnit, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The limits of the BCa interval of the macro mean (Efron and Tibshirani 1993, section 14.3).

    The acceleration comes from the influence of each unit, which equals the jackknife's where every column has as many
    values of every unit, and otherwise differs from it by a factor of 1 + O(1 / units).
    """
    estimate = float(table.means.mean())
    means = clustered_resamples(table, resamples, seed)
    moved = influence(table)
    scale = float((moved**2).sum()) ** 1.5
    acceleration = float((moved**3).sum()) / (6 * scale) if scale > 0 else 0.0
    # Count ties as half below, so that a discrete metric gets no correction where it has no bias. Means that differ by
    # a rounding error are tied.
    rounding = 1e-12 * max(1.0, abs(estimate))
    below = (means < estimate - rounding).mean() + (np.abs(means - estimate) <= rounding).mean() / 2
    bias = ndtri(np.clip(below, 1 / (resamples + 1), resamples / (resamples + 1)))
    z = ndtri((1 + confidence) / 2)
    shifted = bias + np.array([-z, z])
    quantiles = ndtr(bias + shifted / np.maximum(1 - acceleration * shifted, 1e-3))
    low, high = np.quantile(means, quantiles)
    return float(low), float(high)


def _contrast(
    plus: Sequence[AnyRuns],
    minus: Sequence[AnyRuns],
    units: Units | None,
    confidence: float,
    resamples: int,
    swaps: int,
    seed: int,
    matched: bool = False,
) -> Difference:
    """The sum of the macro means of `plus` less that of `minus`: its interval, and p of the hypothesis that it is 0."""
    systems = [*plus, *minus]
    _check_same_questions(np.concatenate(systems))
    added, taken = (np.sum([runs.mean(axis=0) for runs in side], axis=0) for side in (plus, minus))
    table = by_unit(added - taken, units)
    sampled = [plus[0] - minus[0]] if matched else systems
    between_runs = [_variance_between_runs(runs) for runs in sampled]
    limits = _interval(table, between_runs, confidence, resamples, seed)
    variance, freedom = _total_variance(table, between_runs)
    rounding = 1e-12 * max(float(np.nanmax(np.abs(runs))) for runs in systems)
    if all(len(runs) == 1 for runs in systems) or np.sqrt(variance) <= rounding:
        return Difference(limits, randomisation_test(table, swaps, seed))
    p = float(2 * stdtr(freedom, -abs(limits.estimate) / np.sqrt(variance)))
    return Difference(limits, p if enough(added, units) else max(p, randomisation_test(table, swaps, seed)))


def _variance_between_runs(runs: Runs) -> Variance | None:
    """The variance of the mean over runs that is due to their differences; None for one run, which shows none."""
    if len(runs) == 1:
        return None
    means = [macro_mean(run) for run in runs]
    return Variance(float(np.var(means, ddof=1)) / len(runs), len(runs) - 1)


def _total_variance(table: ByUnit, between_runs: Sequence[Variance | None]) -> tuple[float, float]:
    """The variance over units plus that between runs, and its degrees of freedom (Satterthwaite 1946)."""
    parts = [over_units(table), *(part for part in between_runs if part is not None)]
    variance = sum(part.value for part in parts)
    if variance == 0:
        return 0.0, float(parts[0].freedom)
    return variance, 1 / sum((part.value / variance) ** 2 / part.freedom for part in parts)


def _interval(
    table: ByUnit, between_runs: Sequence[Variance | None], confidence: float, resamples: int, seed: int
) -> Interval:
    """BCa limits over units, widened by the variance between runs and by Student's t instead of the normal."""
    estimate = float(table.means.mean())
    low, high = bca_limits(table, confidence, resamples, seed)
    _, freedom = _total_variance(table, between_runs)
    z = ndtri((1 + confidence) / 2)
    widening = stdtrit(freedom, (1 + confidence) / 2) / z
    runs_margin = z * np.sqrt(sum(part.value for part in between_runs if part is not None))
    below = widening * np.hypot(max(0.0, estimate - low), runs_margin)
    above = widening * np.hypot(max(0.0, high - estimate), runs_margin)
    return Interval(estimate, float(estimate - below), float(estimate + above))


def _check_same_questions(runs: Runs) -> None:
    missing = np.isnan(runs)
    if (missing != missing[:1]).any():
        run, question, column = np.argwhere(missing != missing[:1])[0]
        raise ValueError(f"question row {question}, column {column} exists in only one of the runs 0 and {run}")
