"""Language bias of a ranking over a pooled multilingual corpus: does it rank by meaning, or by language?

Knows: ranks, the languages of queries and of candidates (as numbers from 1), the published definitions. Does not know:
embeddings (`space.py`), benchmarks, texts, how the ranks were found. It averages nothing: every function returns one
float64 per query, NaN where the query has no value, so that the caller chooses means, medians and intervals.

What three calibration models give on L languages of N parallel passages each (P = L N candidates, one relevant
candidate per language, L <= k <= N). *Random*: independent random vectors. *Oracle*: translations share a vector that
no other passage has, so the tie rule orders them. *Language only*: the vector is the language and nothing else. Each
value is the mean over the queries of all languages; tests/eval/test_bias.py holds every one of them.

| metric                      | random                       | oracle   | language only                 | more bias |
|-----------------------------|------------------------------|----------|-------------------------------|-----------|
| rank distance               | (P + 1)(L - 1)/(L + 1)       | L - 1    | P - N                         | higher    |
| log rank distance           | E log2(last) - E log2(first) | log2 L   | mean of log2((P - N + p)/p) ^1| higher    |
| worst rank (Max@R)          | (P + 1) L/(L + 1)            | L        | P - N + (N + 1)/2             | higher    |
| complete (Complete@k)       | C(k, L)/C(P, L)              | 1        | 0                             | lower     |
| language preference (LPR)   | 1/L                          | 1/L      | 1                             | higher    |
| language nDCG, other gain 0 | D(k)/P ^2                    | D(L)/L   | D(k)/N                        | see there |
| target recall (TLR@k)       | k/P                          | 1        | 0                             | lower     |
| same-language share, k = L  | 1/L                          | 1/L      | 1                             | higher    |
| removal, same - cross       | 0                            | 0        | above 0                       | higher    |
| lone answer, same - cross   | 0                            | 0        | above 0                       | higher    |
| equal rank (PEER@k)         | constant or 1 ^3             | constant | constant or 1 ^3              | see there |
| rank correlation (MRC@k)    | -3k^2/(4k^2 - 1) ^4          | 1, k > L | -1                            | lower     |
| probe accuracy              | 1/L                          | 1/L      | 1                             | higher    |
| hubness: skewness           | about a binomial's           | 0, k = L | (1 - 2q)/sqrt(q(1 - q)) ^5    | see there |
| hubness: top 1 % share      | above 0.01                   | 0.01     | 0.01/q                        | see there |

1: p, the place among the candidates of the query's language, is 1..N. 2: D(n) = 1/log2(2) + ... + 1/log2(n + 1).
3: with one relevant candidate per language the test sees nothing (`equal_rank_probability`). 4: in a pool so large that
two lists share no candidate; far below 0 is what chance looks like. 5: q = k/N, the share of candidates ever found.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2, rankdata

from hybrid_jax.eval.measures.metrics import PerQuery, RankRows, average_precision, ndcg, rank_rows, recall, worst_rank

Languages = Int[np.ndarray, "queries relevant"]


class Answers(NamedTuple):
    """The relevant candidates of each query in a pooled ranking, with everyone's language as a number from 1.

    `ranks` are rows as in `metrics.py`; `languages` are those of the candidates, 0 in unused places; `asked` is the
    query's. Metrics that stop at k also take rows of a top-k search, with `NOT_RETRIEVED`.
    """

    ranks: RankRows
    languages: Languages
    asked: Int[np.ndarray, " queries"]


def answers(
    query: Int[np.ndarray, " pairs"],
    ranks: Int[np.ndarray, " pairs"],
    candidate_language: Int[np.ndarray, " pairs"],
    query_language: Int[np.ndarray, " all_queries"],
) -> Answers:
    """Gathers (query row, candidate) pairs; queries without any pair get no row, the others keep their order."""
    least = min(candidate_language.min(initial=1), query_language.min(initial=1))
    if least < 1:
        raise ValueError(f"language number {least}: count languages from 1, 0 marks an unused place")
    return Answers(rank_rows(query, ranks), rank_rows(query, candidate_language), query_language[np.unique(query)])


def log_rank_distance(ranks: RankRows) -> PerQuery:
    """log2(worst rank / best rank): how often one must double the depth from the first answer to reach the last.

    From 0 for one alone (log2 R for R at the very top, less where all are equally deep) to log2 of the pool; higher =
    more bias. Our companion of `metrics.rank_distance`, whose mean a few deep ranks decide. Needs the full ranking.
    """
    worst = worst_rank(ranks)
    return np.log2(worst / np.where(ranks > 0, ranks, np.inf).min(axis=1))


def complete(ranks: RankRows, k: int) -> PerQuery:
    """1 if every relevant candidate is among the first k, else 0: Complete@k; lower = more bias, or a worse model.

    As described for arXiv 2604.05684, where the relevant candidates are translations (its own formula was not at hand).
    """
    return (recall(ranks, k) == 1).astype(np.float64)


def language_preference(found: Answers) -> PerQuery:
    """1 if the best-ranked relevant candidate is in the query's language, else 0; the mean is LPR (MLAIRE, 2605.07249).

    As others describe it: the share of queries whose preferred parallel passage is in the query's language. An unbiased
    model gives the query language's share of the relevant candidates; 1 = always the own language, which MLAIRE argues
    users may want. NaN for a query without relevant candidates on both sides, or with none of them retrieved.
    """
    same, other = _sides(found)
    reached = np.where(found.ranks > 0, found.ranks, np.inf)
    own, foreign = np.where(same, reached, np.inf).min(axis=1), np.where(other, reached, np.inf).min(axis=1)
    known = same.any(axis=1) & other.any(axis=1) & (np.minimum(own, foreign) < np.inf)
    return np.where(known, own < foreign, np.nan)


def language_ndcg(found: Answers, k: int, *, other_gain: float) -> PerQuery:
    """nDCG@k with gain 1 for a relevant candidate in the query's language and `other_gain` for any other.

    From 0 to 1, higher = better served in one's own language; with gain 1 it is plain nDCG, which no language bias
    among relevant candidates can change. This is the idea of Lang-nDCG (MLAIRE, 2605.07249); the gains of that paper
    could not be verified, so there is no default, and a figure should be printed with its gain. NaN where no relevant
    candidate has any gain.
    """
    same, other = _sides(found)
    grades = np.where(same, 1.0, np.where(other, other_gain, 0.0))
    known = (grades > 0).any(axis=1)
    values = np.full(len(grades), np.nan)
    values[known] = ndcg(found.ranks[known], k, grades[known])
    return values


def target_recall(found: Answers, k: int) -> PerQuery:
    """Share of the relevant candidates in other languages than the query's that are among the first k: TLR@k.

    From 0 to 1, lower = more bias, or a worse model. Target-Languages Recall of SHIFT (arXiv 2606.18801), as in its
    published code. NaN for a query without such candidates.
    """
    _, other = _sides(found)
    hit = other & (found.ranks > 0) & (found.ranks <= k)
    return _mean(hit.astype(np.float64), other)


def same_language_share(
    top_languages: Int[np.ndarray, "queries k"], asked: Int[np.ndarray, " queries"]
) -> Float[np.ndarray, " queries"]:
    """Share of the first k candidates that are in the query's language, 0 in `top_languages` marking an absent one.

    Compare it with `relevant_share` of the same queries: what lies above is bias. From 0 to 1; NaN for an empty
    ranking. The measure is common practice rather than one paper's.
    """
    held = top_languages != 0
    return _mean((top_languages == asked[:, None]).astype(np.float64), held)


def relevant_share(found: Answers) -> PerQuery:
    """Share of the relevant candidates that are in the query's language: what a ranking by relevance would show."""
    same, other = _sides(found)
    return _mean(same.astype(np.float64), same | other)


class BySide(NamedTuple):
    """The mean over a query's relevant candidates in its own language, and over those in other languages."""

    same: PerQuery
    cross: PerQuery


def removal(found: Answers) -> BySide:
    """Drop of a query's average precision when one relevant candidate is taken out of the pool, by whose it is.

    The others behind it move up by one, and average precision is taken over those that remain; the drop is negative
    where the rest is ranked better than the whole. The measure of bias is same minus cross, 0 where language plays no
    part, 1/(R - 1) of R relevant candidates for a model that finds its own language's answer alone. The removal test of
    LAReQA (arXiv 2004.05484) as described by others, who quote a drop of 0.37; with 11 answers this definition cannot
    exceed 0.15, so do not compare the figures with the paper's. NaN for a query without relevant candidates on that
    side, or with one in all. Needs the full ranking.
    """
    ranks = found.ranks
    worst_rank(ranks)  # refuses what is not a full ranking
    before = average_precision(ranks)
    drop = np.full(ranks.shape, np.nan)
    several = (ranks != 0).sum(axis=1) > 1
    for column in range(ranks.shape[1]):
        rows = several & (ranks[:, column] != 0)
        if rows.any():
            rest = ranks[rows] - (ranks[rows] > ranks[rows, column, None])
            rest[:, column] = 0
            drop[rows, column] = before[rows] - average_precision(rest)
    same, other = _sides(found)
    return BySide(_mean(drop, same & several[:, None]), _mean(drop, other & several[:, None]))


def lone_answer(found: Answers) -> BySide:
    """Average precision of one relevant candidate when the query's others are taken out of the pool, by whose it is.

    That is 1 / (rank - how many relevant candidates rank above it): whether an answer beats everything wrong, never how
    the answers compete with each other. From 0 to 1; same minus cross is the bias, 0 for none, towards 1 for a model
    that finds only its own language. The measure is ours. `NOT_RETRIEVED` counts 0; NaN for a query without relevant
    candidates on that side.
    """
    reached = np.where(found.ranks > 0, found.ranks, np.inf)
    above = rankdata(reached, method="ordinal", axis=1) - 1
    value = np.where(reached < np.inf, 1 / (reached - above), 0.0)
    same, other = _sides(found)
    return BySide(_mean(value, same), _mean(value, other))


def equal_rank_probability(found: Answers, k: int) -> PerQuery:
    """p-value of the Kruskal-Wallis test that relevant candidates of all languages rank alike, those beyond k as k + 1.

    PEER@k (Yang et al. 2024, arXiv 2405.00978) in the form of MIMO's code (arXiv 2605.31171): the test's own ranks are
    taken among the relevant candidates, ties share theirs. From 0 (certain bias) to 1; 1 if all lie beyond k.
    **Blind with one relevant candidate per language**: then the statistic is R - 1 whatever the order, so the value is
    one constant (0.44 for 11) unless all lie beyond k. It says something only where languages have several. (The
    authors' package peer_measure gives other values: it tests the plain ranks and places missing ones by another rule.)
    NaN for a query whose relevant candidates are all in one language.
    """
    used = found.ranks != 0
    cut = np.where((found.ranks > 0) & (found.ranks <= k), found.ranks, k + 1)
    count = used.sum(axis=1)
    values = np.full(len(count), np.nan)
    for size in np.unique(count[count > 1]):
        rows = count == size
        keep = used[rows]
        placed = rankdata(cut[rows][keep].reshape(-1, size), axis=1) - (size + 1) / 2
        held = found.languages[rows][keep].reshape(-1, size)
        between, groups = np.zeros(len(placed)), np.zeros(len(placed), dtype=np.int64)
        for language in np.unique(held):
            of_it = held == language
            many = of_it.sum(axis=1)
            between += np.where(of_it, placed, 0).sum(axis=1) ** 2 / np.maximum(many, 1)
            groups += many > 0
        total = (placed**2).sum(axis=1)
        statistic = np.divide((size - 1) * between, total, out=np.zeros(len(total)), where=total > 0)
        values[rows] = np.where(groups > 1, chi2.sf(statistic, np.maximum(groups - 1, 1)), np.nan)
    return values


def several_languages(found: Answers) -> Bool[np.ndarray, " queries"]:
    """Which queries have relevant candidates in more than one language; only those can show how far apart they rank."""
    used = found.ranks != 0
    first = found.languages[:, :1]  # places are used from the left
    return (used & (found.languages != first)).any(axis=1)


def _sides(found: Answers) -> tuple[Bool[np.ndarray, "queries relevant"], Bool[np.ndarray, "queries relevant"]]:
    """Which places hold a relevant candidate in the query's language, and which one in another."""
    used, own = found.ranks != 0, found.languages == found.asked[:, None]
    return used & own, used & ~own


def _mean(
    values: Float[np.ndarray, "queries places"], where: Bool[np.ndarray, "queries places"]
) -> Float[np.ndarray, " queries"]:
    """Of each row's chosen places; NaN where there is none."""
    count = where.sum(axis=1)
    total = np.where(where, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
