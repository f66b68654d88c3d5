"""How far a macro mean can be trusted, and whether two systems differ: intervals, a test, and Holm's correction.

Knows: tables of values, one row per question id and one column per language (or ordered language pair), NaN where a
question does not exist; with several training runs, one table per run. Does not know: metrics, files, verdicts.

The statistic is the macro mean: each column's mean, then the mean of those. The translations of a question are not
independent of one another, so what is drawn at random, or swapped between two systems, is a *row*: the question in all
its languages at once. Drawing single queries instead (`naive_resamples`) treats eleven translations as eleven
questions; for questions whose difficulty survives translation its nominal 95 % interval covers 50 to 65 %.

Which interval. Coverage of a nominal 95 % in simulation (11 languages, latent difficulty correlated .7 between
translations; 1,500 data sets, 600 of 1,000 questions), and in brackets the misses on either side, ideally 2.5 and 2.5:

    values                          questions   percentile           BCa
    hit at 1, mean .93                     50   89.5 (8.9, 1.7)      92.1 (5.2, 2.7)
                                          200   93.5 (5.1, 1.3)      94.7 (2.9, 2.4)
                                        1,000   94.5 (4.3, 1.2)      94.5 (3.7, 1.8)
    1 / rank                               50   93.9 (3.3, 2.8)      94.3 (2.9, 2.7)
    log-normal, as rank distances          50   88.9 (0.8, 10.3)     89.8 (2.7, 7.5)
                                          200   93.6 (1.5, 4.9)      92.9 (3.4, 3.7)
                                        1,000   94.5 (2.5, 3.0)      93.8 (4.0, 2.2)

Both are right from some 200 questions on. BCa (bias-corrected and accelerated; Efron 1987) is used since retrieval
metrics are skewed, near their ceiling most of all, where the percentile interval misses on one side three times as
often as on the other.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, t

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
RESAMPLES = 2_000
SWAPS = 10_000
CELLS_AT_ONCE = 2**23

Table = Float[np.ndarray, "questions groups"]
Known = Float[np.ndarray, "known groups"]
Runs = Float[np.ndarray, "runs questions groups"]


class Interval(NamedTuple):
    """An estimate with the limits of its confidence interval."""

    estimate: float
    low: float
    high: float


class Difference(NamedTuple):
    """Ours minus theirs, with its interval and the two-sided p-value of "there is no difference"."""

    interval: Interval
    p: float


def macro_mean(values: Table) -> float:
    """The mean over columns of each column's mean over the questions that it has."""
    values = _known(values)
    return float(_weighted_means(np.ones((1, len(values))), values)[0])


def interval(runs: Runs, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The macro mean of a system, averaged over its runs (one per training seed), with its confidence interval.

    One run: BCa over questions; it speaks of this checkpoint on other questions like these, and says nothing of what
    another training seed would have given. Several runs: of what training again and asking other questions would give.

    Runs are too few to be resampled: two have but three distinct resamples. Where a run's luck is three times the
    standard error over questions, resampling runs along with questions covers 75 % of the time for the difference of
    two systems of two runs each, 86 % with three, 90 % with five (simulated, nominal 95 %). So their variance is added
    to that of the questions instead, on Student's t with Satterthwaite's degrees of freedom: 94 to 96 % in the same
    simulation (for one system alone 89 % with two runs, 93 % with three).
    What few runs cannot give is a narrow interval. Two know their own spread so badly that t is 12.7 instead of 1.96,
    three 4.3, five 2.8; no less is known than that. To see small differences, train five or more.

    Raises ValueError where the runs do not hold the same questions.
    """
    _same_questions(runs)
    return _limits(runs.mean(axis=0), [_between(runs)], confidence, resamples, seed)


def difference(
    ours: Float[np.ndarray, "our_runs questions groups"],
    theirs: Float[np.ndarray, "their_runs questions groups"],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    swaps: int = SWAPS,
    seed: int = 0,
) -> Difference:
    """The difference of two systems' macro means on the same questions: each question is its own control.

    With one run each, p is that of `randomisation_test`. With more, the runs' spread counts as in `interval`, and p is
    Student's t on the same variance: swapping questions would only prove that these *checkpoints* differ, and swapping
    runs cannot give p < 0.1 with three per system. A system given as one run beside one with several is taken as a
    fixed checkpoint, not as a sample of its recipe.
    """
    _same_questions(np.concatenate([ours, theirs]))
    table = ours.mean(axis=0) - theirs.mean(axis=0)
    between = [_between(ours), _between(theirs)]
    found = _limits(table, between, confidence, resamples, seed)
    if len(ours) == len(theirs) == 1:
        return Difference(found, randomisation_test(table, swaps, seed))
    variance, freedom = _total(_known(table), between)
    if variance == 0:
        return Difference(found, float(found.estimate == 0))
    return Difference(found, float(2 * t.sf(abs(found.estimate) / np.sqrt(variance), freedom)))


def randomisation_test(differences: Table, swaps: int = SWAPS, seed: int = 0) -> float:
    """Two-sided p of a paired randomisation (permutation) test on the macro mean of ours minus theirs.

    If the systems were equal, swapping their answers to a question (in all its languages at once) would change nothing;
    p is how often random swaps give a difference at least as large, the observed one counted in: (1 + #) / (1 + swaps).
    So it is never 0, and at most the nominal rate of true null hypotheses is rejected, for any number of swaps.
    """
    values = _known(differences)
    # What each question adds to the macro mean. Swapping flips its sign and leaves the columns' counts as they are.
    share = np.nansum(values / _counts(values), axis=1) / values.shape[1]
    # Sums in another order differ in their last bits; equal ones must count as "at least as large".
    reach = abs(share.sum()) - 1e-12 * np.abs(share).sum()
    rng = np.random.default_rng(seed)
    larger = 0
    for size in _blocks(swaps, len(share)):
        signs = rng.integers(0, 2, (size, len(share)))
        # sum of (2 sign - 1) share
        larger += int((np.abs(2 * (signs @ share) - share.sum()) >= reach).sum())
    return (1 + larger) / (1 + swaps)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given: all of those below a level may be claimed together.

    The probability that any true null hypothesis is among them is at most that level, however they are correlated.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = highest
    return adjusted


def clustered_resamples(values: Table, resamples: int = RESAMPLES, seed: int = 0) -> Float[np.ndarray, " resamples"]:
    """Macro means of tables whose rows are drawn with replacement from these.

    A column that a resample leaves without any question (possible only where few questions have it) is left out of
    that resample's mean.
    """
    values = _known(values)
    rng = np.random.default_rng(seed)
    means = []
    for size in _blocks(resamples, len(values)):
        drawn = rng.integers(0, len(values), (size, len(values))) + len(values) * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        means.append(_weighted_means(counts.astype(np.float64), values))
    return np.concatenate(means)


def naive_resamples(values: Table, resamples: int = RESAMPLES, seed: int = 0) -> Float[np.ndarray, " resamples"]:
    """The same, each column's questions drawn apart from the other columns': too narrow for parallel questions.

    To show what clustering changes; nothing else here uses it.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for column in values.T:
        known = column[~np.isnan(column)]
        means = [known[rng.integers(0, len(known), (n, len(known)))].mean(1) for n in _blocks(resamples, len(known))]
        total += np.concatenate(means)
    return total / values.shape[1]


class _Variance(NamedTuple):
    """An estimated variance of a mean and the degrees of freedom it was estimated with."""

    value: float
    freedom: int


def _between(runs: Runs) -> _Variance | None:
    """Of a mean over runs, as far as runs differ; None for one run, which cannot tell."""
    if len(runs) == 1:
        return None
    means = [macro_mean(run) for run in runs]
    return _Variance(float(np.var(means, ddof=1)) / len(runs), len(runs) - 1)


def _total(known: Known, between: Sequence[_Variance | None]) -> tuple[float, float]:
    """The variance over questions and runs together, and its degrees of freedom (Satterthwaite 1946)."""
    questions = len(known)
    within = float((_influence(known) ** 2).sum()) * questions / max(1, questions - 1)
    parts = [_Variance(within, max(1, questions - 1)), *(part for part in between if part is not None)]
    variance = sum(part.value for part in parts)
    if variance == 0:
        return 0.0, float(parts[0].freedom)
    return variance, 1 / sum((part.value / variance) ** 2 / part.freedom for part in parts)


def _limits(
    values: Table, between: Sequence[_Variance | None], confidence: float, resamples: int, seed: int
) -> Interval:
    """BCa limits over questions, moved out by the variance between runs and by Student's t instead of the normal."""
    known = _known(values)
    estimate = macro_mean(known)
    means = clustered_resamples(known, resamples, seed)
    influence = _influence(known)
    scale = float((influence**2).sum()) ** 1.5
    acceleration = float((influence**3).sum()) / (6 * scale) if scale > 0 else 0.0
    # Half of the ties count as below, so that a discrete metric has no bias to correct where it has none. A rounding
    # error is not a difference.
    tiny = 1e-12 * max(1.0, abs(estimate))
    below = (means < estimate - tiny).mean() + (np.abs(means - estimate) <= tiny).mean() / 2
    bias = norm.ppf(np.clip(below, 1 / (resamples + 1), resamples / (resamples + 1)))
    z = norm.ppf((1 + confidence) / 2)
    moved = bias + np.array([-z, z])
    levels = norm.cdf(bias + moved / np.maximum(1 - acceleration * moved, 1e-3))
    low, high = np.quantile(means, levels)

    _, freedom = _total(known, between)
    runs = sum(part.value for part in between if part is not None)
    wider = t.ppf((1 + confidence) / 2, freedom) / z
    down = wider * np.hypot(max(0.0, estimate - low), z * np.sqrt(runs))
    up = wider * np.hypot(max(0.0, high - estimate), z * np.sqrt(runs))
    return Interval(estimate, float(estimate - down), float(estimate + up))


def _influence(known: Known) -> Float[np.ndarray, " known"]:
    """How much each question moves the macro mean; their squares add up to its variance over questions."""
    counts = _counts(known)
    means = np.nansum(known, axis=0) / counts
    return np.nansum((known - means) / counts, axis=1) / known.shape[1]


def _weighted_means(weights: Float[np.ndarray, "resamples known"], known: Known) -> Float[np.ndarray, " resamples"]:
    # One product for both sums: starting BLAS's threads twice costs more than the arithmetic.
    columns = np.concatenate([np.nan_to_num(known), ~np.isnan(known)], axis=1)
    sums, counts = np.split(weights @ columns, 2, axis=1)
    held = counts > 0
    means = sums / np.maximum(counts, 1)
    return (means * held).sum(axis=1) / held.sum(axis=1)


def _counts(known: Known) -> Float[np.ndarray, " groups"]:
    return (~np.isnan(known)).sum(axis=0).astype(np.float64)


def _known(values: Table) -> Known:
    """The questions that have any value; a column without one has no mean, which is an error."""
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(empty) or values.size == 0:
        raise ValueError(f"column {[*empty, 0][0]} of a {values.shape} table holds no value: leave it out")
    return values[~np.isnan(values).all(axis=1)]


def _same_questions(runs: Runs) -> None:
    missing = np.isnan(runs)
    if (missing != missing[:1]).any():
        run, question, column = np.argwhere(missing != missing[:1])[0]
        raise ValueError(f"question row {question}, column {column} exists in only one of the runs 0 and {run}")


def _blocks(rows: int, width: int) -> Iterator[int]:
    """Sizes of blocks of rows that together are `rows`, so that a block of numbers fits in memory."""
    height = max(1, CELLS_AT_ONCE // max(1, width))
    for start in range(0, rows, height):
        yield min(height, rows - start)
