"""Measures of the embeddings of a pooled multilingual corpus: language identity, agreement of translations, hubs.

They take embeddings, languages, which texts are translations of each other, and the first k candidates of each query,
and do not depend on relevance. The table in `bias.py` gives their values for three calibration models.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solve
from scipy.stats import rankdata

from hybrid_jax.search.scores import on_grid


def held_out(parallel: Int[np.ndarray, " rows"], *, test_fraction: float, seed: int) -> Bool[np.ndarray, " rows"]:
    """Which rows are for testing: a random `test_fraction` of the sets of translations.

    Rows with the same number in `parallel` are translations of each other, and are drawn together.
    """
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
    """The accuracy of a linear classifier of the language, from chance (1 / number of languages) to 1.

    Higher = more bias. The classifier is ridge regression to one-hot languages in closed form, so it needs no
    iterations and gives the same result every time. All languages have the same weight in the fit and in the accuracy,
    however many rows they have, so chance is 1/L on any corpus. Rows with the same `parallel` number are translations
    of each other and stay on one side of the split; otherwise the classifier could rule out the languages in which it
    has already seen a passage. `ridge` is relative to the mean variance of a dimension. Linear probes of language
    identity are common practice (e.g. Wu and Dredze 2019 on mBERT); the split and the classifier are ours.

    Raises ValueError if a language has no rows on one side of the split.
    """
    names, label = np.unique(languages, return_inverse=True)
    test = held_out(parallel, test_fraction=test_fraction, seed=seed)
    for side, rows in (("fitting", ~test), ("testing", test)):
        missing = np.flatnonzero(np.bincount(label[rows], minlength=len(names)) == 0)
        if len(missing):
            raise ValueError(
                f"language {names[missing[0]]} has no rows for {side} among {len(np.unique(parallel))} parallel sets: "
                "leave the language out, or give more texts"
            )
    x, y = embeddings[~test].astype(np.float64), np.eye(len(names))[label[~test]]
    weight = 1 / np.bincount(label[~test])[label[~test]][:, None]
    centre = (weight * x).sum(axis=0) / len(names)
    x = x - centre
    spread = x.T @ (weight * x)
    mean_variance = float(np.trace(spread)) / len(spread)
    # If the embeddings have no variance, every language gets the same score, and the accuracy is chance.
    penalty = ridge * mean_variance or 1.0
    slope = solve(spread + penalty * np.eye(len(spread)), x.T @ (weight * y), assume_a="pos")
    predicted = ((embeddings[test] - centre) @ slope).argmax(axis=1)
    accuracy = np.bincount(label[test], weights=predicted == label[test]) / np.bincount(label[test])
    return float(accuracy.mean())


def rank_correlation(
    queries: Float[np.ndarray, "queries dim"],
    candidates: Float[np.ndarray, "candidates dim"],
    top: Int[np.ndarray, "queries k"],
    question: Int[np.ndarray, " queries"],
) -> Float[np.ndarray, " questions"]:
    """How similarly the translations of each question rank: Spearman's correlation, averaged over pairs (MRC@k).

    Each pair of translations is compared on the scores of the candidates that either has among its first k. `top` holds
    these candidate rows, best first, and negative numbers where a ranking has fewer than k. Returns one value per
    distinct `question`, in ascending order, from -1 to 1; lower = more bias. Values far below 0 are normal, because a
    candidate in only one of the two lists lowers the correlation. MRC is from Yang et al. (arXiv 2509.06195), and this
    form from MIMO's code (arXiv 2605.31171), which prints it times 100. Pairs without a correlation, because one
    translation scores all candidates the same, are left out; NaN if no pair is left. Scores are exact as in
    `search/scores.py`, and `top` should be that of the search.
    """
    _, number = np.unique(question, return_inverse=True)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    return np.array([_agreement(queries[rows], candidates, top[rows]) for rows in members])


class Hubness(NamedTuple):
    """How unevenly candidates are retrieved: the counts' skewness, and the share of retrievals of the top 1 %."""

    skewness: float
    top_percent_share: float


def hubness(top: Int[np.ndarray, "queries k"], candidates: int) -> Hubness:
    """Hubness of `candidates` candidates, from how often each is among the first k of a query.

    `top` holds candidate rows, negative where a ranking has fewer than k. The skewness of these counts (Radovanović et
    al. 2010, k-occurrences) is 0 if all are equal, and grows with hubs. The share is that of the ceil(1 %) candidates
    that are retrieved most often, from about 0.01 to 1. Hubness is not a language bias as such: hubs are often
    candidates that belong to no language's cluster.
    """
    counts = np.bincount(top[top >= 0], minlength=candidates).astype(np.float64)
    spread = counts - counts.mean()
    deviation = np.sqrt((spread**2).mean())
    skewness = 0.0 if deviation == 0 else (spread**3).mean() / deviation**3
    top_percent = np.sort(counts)[candidates - -(-candidates // 100) :]  # the last ceil(candidates / 100)
    return Hubness(float(skewness), float(top_percent.sum() / max(counts.sum(), 1)))


def _agreement(
    queries: Float[np.ndarray, "translations dim"],
    candidates: Float[np.ndarray, "candidates dim"],
    top: Int[np.ndarray, "translations k"],
) -> float:
    """The mean Spearman correlation over the pairs of translations of one question."""
    union, position = np.unique(top, return_inverse=True)
    position = position.reshape(top.shape)
    listed = np.zeros((len(top), len(union)), dtype=bool)
    listed[np.arange(len(top))[:, None], position] = True
    # A few rows by a few hundred: starting BLAS's threads for each question costs more than they save.
    scores = np.einsum("qd,cd->qc", on_grid(queries), on_grid(candidates[union]))

    # One row per pair: the left list, then the right list, where candidates of the left list and empty places are
    # masked. Masked places rank behind all others and count 0.
    left, right = (side[:, None] for side in np.triu_indices(len(top), k=1))
    places = np.concatenate([position[left[:, 0]], position[right[:, 0]]], axis=1)
    valid = union[places] >= 0
    valid[:, top.shape[1] :] &= ~listed[left, position[right[:, 0]]]
    if not valid.any():
        return float("nan")
    pair_scores = np.stack([np.where(valid, scores[side, places], np.inf) for side in (left, right)])
    middle = (valid.sum(axis=1, keepdims=True) + 1) / 2
    ranks = np.where(valid, rankdata(pair_scores, axis=2) - middle, 0.0)
    scale = np.sqrt((ranks**2).sum(axis=2).prod(axis=0))
    covariance = ranks.prod(axis=0).sum(axis=1)
    return float((covariance[scale > 0] / scale[scale > 0]).mean()) if (scale > 0).any() else float("nan")
