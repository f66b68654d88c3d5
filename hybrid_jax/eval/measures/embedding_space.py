"""What the embeddings of a pooled multilingual corpus give away: language identity, disagreement, hubs.

Knows: embeddings, their languages, which texts are translations of each other, and the first k candidates of each
query. Does not know: relevance, ranks of answers (`bias.py`, whose table says what three calibration models give here),
benchmarks, texts.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solve
from scipy.stats import rankdata

from hybrid_jax.search.scores import on_grid


def held_out(parallel: Int[np.ndarray, " rows"], *, test_fraction: float, seed: int) -> Bool[np.ndarray, " rows"]:
    """Which rows are for testing: whole sets of translations (one number in `parallel`), drawn by `seed`."""
    numbers = np.unique(parallel)
    drawn = np.random.default_rng(seed).permutation(numbers)[: round(test_fraction * len(numbers))]
    return np.isin(parallel, drawn)


def language_probe(
    embeddings: Float[np.ndarray, "rows dim"],
    languages: Int[np.ndarray, " rows"],
    parallel: Int[np.ndarray, " rows"],
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
    ridge: float = 1e-3,
) -> float:
    """Accuracy of a linear classifier of the language: from chance, 1 / how many languages, to 1; higher = more bias.

    Ridge regression to one-hot languages in closed form: no iterations, the same result every time. Languages weigh the
    same in fitting and in the accuracy, however many rows they have, so chance is 1/L on any corpus. Rows with the same
    `parallel` number are translations of each other and are never on both sides of the split, or the classifier could
    count off which languages of a passage it has not met. `ridge` is relative to the mean variance of a dimension.
    Language identity by a linear probe is common practice (e.g. Wu and Dredze 2019 on mBERT); the split and the
    classifier are ours. Raises ValueError if a language lacks rows on one side.
    """
    held, label = np.unique(languages, return_inverse=True)
    test = held_out(parallel, test_fraction=test_fraction, seed=seed)
    for side, rows in (("fitting", ~test), ("testing", test)):
        missing = np.flatnonzero(np.bincount(label[rows], minlength=len(held)) == 0)
        if len(missing):
            raise ValueError(
                f"language {held[missing[0]]} has no rows for {side} among {len(np.unique(parallel))} parallel sets: "
                "leave the language out, or give more texts"
            )
    x, y = embeddings[~test].astype(np.float64), np.eye(len(held))[label[~test]]
    weight = 1 / np.bincount(label[~test])[label[~test]][:, None]
    centre = (weight * x).sum(axis=0) / len(held)
    x = x - centre
    spread = x.T @ (weight * x)
    mean_variance = float(np.trace(spread)) / len(spread)
    # Embeddings without any variance: every language scores the same, which is chance.
    penalty = ridge * mean_variance or 1.0
    slope = solve(spread + penalty * np.eye(len(spread)), x.T @ (weight * y), assume_a="pos")
    chosen = ((embeddings[test] - centre) @ slope).argmax(axis=1)
    right = np.bincount(label[test], weights=chosen == label[test]) / np.bincount(label[test])
    return float(right.mean())


def rank_correlation(
    queries: Float[np.ndarray, "queries dim"],
    candidates: Float[np.ndarray, "candidates dim"],
    top: Int[np.ndarray, "queries k"],
    question: Int[np.ndarray, " queries"],
) -> Float[np.ndarray, " questions"]:
    """How alike the translations of a question rank: the mean, over pairs of them, of Spearman's correlation. MRC@k.

    Each pair is compared on the scores of the candidates that either has among its first k (`top`: candidate rows, the
    best first, negative where there are fewer). One value per distinct `question`, in ascending order, from -1 to 1;
    lower = more bias, and far below 0 is normal: a candidate that one has in its list and the other has not counts
    against. MRC is from Yang et al. (arXiv 2509.06195), this form from MIMO's code (arXiv 2605.31171), which prints it
    times 100. Pairs without a correlation, because one scores all candidates the same, are left out; NaN where no pair
    is left. `top` decides which candidates count, so use the search's; scores are exact as in `scores.py`.
    """
    _, number = np.unique(question, return_inverse=True)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    return np.array([_agreement(queries[rows], candidates, top[rows]) for rows in members])


class Hubness(NamedTuple):
    """How unevenly the candidates are found: skewness of their counts, and the share of the lists the top 1 % fill."""

    skewness: float
    top_percent_share: float


def hubness(top: Int[np.ndarray, "queries k"], candidates: int) -> Hubness:
    """Of the counts of how often each of `candidates` candidates is among a query's first k.

    `top` holds candidate rows, negative where there are fewer than k. Skewness (Radovanović et al. 2010, k-occurrences)
    is 0 where all counts are equal and grows with hubs; the share is that of the ceil(1 %) candidates found most often,
    from about 0.01 to 1. Not a language bias as such: hubs are often candidates that belong to no language's cluster.
    """
    counts = np.bincount(top[top >= 0], minlength=candidates).astype(np.float64)
    spread = counts - counts.mean()
    deviation = np.sqrt((spread**2).mean())
    skewness = 0.0 if deviation == 0 else (spread**3).mean() / deviation**3
    most = np.sort(counts)[candidates - -(-candidates // 100) :]  # the last ceil(candidates / 100)
    return Hubness(float(skewness), float(most.sum() / max(counts.sum(), 1)))


def _agreement(
    queries: Float[np.ndarray, "translations dim"],
    candidates: Float[np.ndarray, "candidates dim"],
    top: Int[np.ndarray, "translations k"],
) -> float:
    """Mean Spearman correlation over the pairs of translations of one question."""
    union, at = np.unique(top, return_inverse=True)
    at = at.reshape(top.shape)
    listed = np.zeros((len(top), len(union)), dtype=bool)
    listed[np.arange(len(top))[:, None], at] = True
    # A few rows by a few hundred: waking BLAS's threads for each question costs more than they save.
    scores = np.einsum("qd,cd->qc", on_grid(queries), on_grid(candidates[union]))

    # One row per pair: the list of the one, then what the list of the other adds; the rest is ranked behind all others.
    one, other = (side[:, None] for side in np.triu_indices(len(top), k=1))
    places = np.concatenate([at[one[:, 0]], at[other[:, 0]]], axis=1)
    held = union[places] >= 0
    held[:, top.shape[1] :] &= ~listed[one, at[other[:, 0]]]
    if not held.any():
        return float("nan")
    both = np.stack([np.where(held, scores[side, places], np.inf) for side in (one, other)])
    middle = (held.sum(axis=1, keepdims=True) + 1) / 2
    ranks = np.where(held, rankdata(both, axis=2) - middle, 0.0)
    size = np.sqrt((ranks**2).sum(axis=2).prod(axis=0))
    together = ranks.prod(axis=0).sum(axis=1)
    return float((together[size > 0] / size[size > 0]).mean()) if (size > 0).any() else float("nan")
