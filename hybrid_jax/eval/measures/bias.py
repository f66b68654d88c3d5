"""Language bias in the ranking of a pooled multilingual corpus: does the model rank by meaning or by language?

Every function takes ranks and languages (as numbers from 1) and returns one float64 per query, NaN where the query has
no value. Nothing is averaged here, so that callers choose means, medians and intervals.

The table gives the expected value of each metric, averaged over the queries of all languages, for three calibration
models on L languages with N parallel passages each (P = L N candidates, one relevant candidate per language,
L <= k <= N). *Random*: independent random vectors. *Oracle*: translations share a vector that no other passage has, so
the tie rule orders them. *Language only*: the vector depends on the language alone. tests/eval/measures/test_bias.py
checks every entry.

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

1: p, the position among the candidates in the query's language, is 1..N. 2: D(n) = 1/log2(2) + ... + 1/log2(n + 1).
3: with one relevant candidate per language the test detects nothing (`equal_rank_probability`). 4: in a pool so large
that two lists share no candidate; a model that ranks by chance is far below 0. 5: q = k/N, the share of candidates that
any query retrieves.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2, rankdata

from hybrid_jax.eval.measures.metrics import PerQuery, RankRows, average_precision, ndcg, rank_rows, recall, worst_rank

Languages = Int[np.ndarray, "queries relevant"]


class Answers(NamedTuple):
    """The relevant candidates of each query in a pooled ranking, and the languages (numbers from 1) of both.

    `ranks` has the format of `metrics.py`; `languages` holds the candidates' languages, 0 in unused places. Metrics
    with a cut-off k also accept the ranks of a top-k search, which contain `NOT_RETRIEVED`.
    """

    ranks: RankRows
    languages: Languages
    query_languages: Int[np.ndarray, " queries"]


def answers(
    query: Int[np.ndarray, " pairs"],
    ranks: Int[np.ndarray, " pairs"],
    candidate_language: Int[np.ndarray, " pairs"],
    query_language: Int[np.ndarray, " all_queries"],
) -> Answers:
    """Gathers (query row, candidate) pairs into one row per query, in ascending query order.

    Queries without any pair get no row. `query_language` has the language of every query, with or without pairs.
    Raises ValueError for a language number below 1.
    """
    smallest = min(candidate_language.min(initial=1), query_language.min(initial=1))
    if smallest < 1:
        raise ValueError(f"language number {smallest}: count languages from 1, because 0 marks an unused place")
    return Answers(rank_rows(query, ranks), rank_rows(query, candidate_language), query_language[np.unique(query)])


def log_rank_distance(ranks: RankRows) -> PerQuery:
    """log2(worst rank / best rank): how many times the depth of the first answer must be doubled to reach the last.

    It is 0 for a single relevant candidate (log2 R if R of them fill the first R ranks) and at most log2 of the pool's
    size; higher = more bias. It is our companion of `metrics.rank_distance`, whose mean depends on a few very deep
    ranks. Needs the full ranking: raises ValueError on `NOT_RETRIEVED`.
    """
    worst = worst_rank(ranks)
    return np.log2(worst / np.where(ranks > 0, ranks, np.inf).min(axis=1))


def complete(ranks: RankRows, k: int) -> PerQuery:
    """1 if every relevant candidate is among the first k, else 0 (Complete@k); lower = more bias, or a worse model.

    Follows descriptions of arXiv 2604.05684, where the relevant candidates are translations of each other; we did not
    have the paper's own formula.
    """
    return (recall(ranks, k) == 1).astype(np.float64)


def language_preference(answers: Answers) -> PerQuery:
    """1 if the best-ranked relevant candidate is in the query's language, else 0.

    The mean is the language preference rate (LPR) of MLAIRE (arXiv 2605.07249) as others describe it: the share of
    queries that rank the parallel passage in their own language first. An unbiased model gives the query language's
    share of the relevant candidates, and 1 means that the query's own language always wins, which MLAIRE argues users
    may want. NaN unless the query has relevant candidates both in its own language and in others, and at least one of
    them is retrieved.
    """
    same, cross = _sides(answers)
    ranks = np.where(answers.ranks > 0, answers.ranks, np.inf)
    best_same, best_cross = np.where(same, ranks, np.inf).min(axis=1), np.where(cross, ranks, np.inf).min(axis=1)
    defined = same.any(axis=1) & cross.any(axis=1) & (np.minimum(best_same, best_cross) < np.inf)
    return np.where(defined, best_same < best_cross, np.nan)


def language_ndcg(answers: Answers, k: int, *, other_gain: float) -> PerQuery:
    """nDCG@k with gain 1 for a relevant candidate in the query's language and `other_gain` for one in another language.

    From 0 to 1; higher = better results in the query's own language. With `other_gain` 1 it is plain nDCG, which no
    language bias among relevant candidates can change. The idea is that of Lang-nDCG (MLAIRE, arXiv 2605.07249). We
    could not verify that paper's gains, so `other_gain` has no default, and reports should state it. NaN where every
    relevant candidate has gain 0.
    """
    same, cross = _sides(answers)
    gains = np.where(same, 1.0, np.where(cross, other_gain, 0.0))
    defined = (gains > 0).any(axis=1)
    values = np.full(len(gains), np.nan)
    values[defined] = ndcg(answers.ranks[defined], k, gains[defined])
    return values


def target_recall(answers: Answers, k: int) -> PerQuery:
    """The share of the relevant candidates in languages other than the query's that are among the first k (TLR@k).

    From 0 to 1; lower = more bias, or a worse model. Target-Languages Recall of SHIFT (arXiv 2606.18801), as in its
    published code. NaN for a query without such candidates.
    """
    _, cross = _sides(answers)
    retrieved = cross & (answers.ranks > 0) & (answers.ranks <= k)
    return _row_means(retrieved.astype(np.float64), cross)


def same_language_share(
    top_languages: Int[np.ndarray, "queries k"], query_languages: Int[np.ndarray, " queries"]
) -> Float[np.ndarray, " queries"]:
    """The share of the first k candidates that are in the query's language.

    `top_languages` holds the languages of the first k candidates, 0 where a ranking has fewer than k. From 0 to 1; NaN
    for an empty ranking. The excess over `relevant_share` of the same queries is bias. The measure is common practice
    and does not come from one paper.
    """
    present = top_languages != 0
    return _row_means((top_languages == query_languages[:, None]).astype(np.float64), present)


def relevant_share(answers: Answers) -> PerQuery:
    """The share of the relevant candidates in the query's language, which a ranking by relevance alone would show."""
    same, cross = _sides(answers)
    return _row_means(same.astype(np.float64), same | cross)


class BySide(NamedTuple):
    """The mean over a query's relevant candidates in its own language (same) and over those in others (cross)."""

    same: PerQuery
    cross: PerQuery


def removal(answers: Answers) -> BySide:
    """The drop in average precision when one relevant candidate is removed from the pool, by its language.

    The candidates behind it move up by one rank, and average precision is taken over the relevant candidates that
    remain. The drop is negative where these rank better on their own. The measure of bias is same minus cross: 0 if
    language plays no part, and 1/(R - 1) with R relevant candidates for a model that finds only the answer in the
    query's language. This is the removal test of LAReQA (arXiv 2004.05484) as described by others, who quote a drop of
    0.37; with 11 answers this definition cannot exceed 0.15, so do not compare its values with the paper's. NaN for a
    query with a single relevant candidate, or with none on that side. Needs the full ranking: raises ValueError on
    `NOT_RETRIEVED`.
    """
    ranks = answers.ranks
    worst_rank(ranks)  # raises ValueError unless the ranking is full
    before = average_precision(ranks)
    drop = np.full(ranks.shape, np.nan)
    several = (ranks != 0).sum(axis=1) > 1
    for column in range(ranks.shape[1]):
        rows = several & (ranks[:, column] != 0)
        if rows.any():
            remaining = ranks[rows] - (ranks[rows] > ranks[rows, column, None])
            remaining[:, column] = 0
            drop[rows, column] = before[rows] - average_precision(remaining)
    same, cross = _sides(answers)
    return BySide(_row_means(drop, same & several[:, None]), _row_means(drop, cross & several[:, None]))


def lone_answer(answers: Answers) -> BySide:
    """The average precision of one relevant candidate when all others are removed from the pool, by its language.

    That is 1 / (rank - number of relevant candidates above it): it measures whether an answer beats the irrelevant
    candidates, and ignores how answers compete with each other. From 0 to 1. Same minus cross is the bias: 0 for none,
    close to 1 for a model that finds only its own language. The measure is ours. An answer that is `NOT_RETRIEVED`
    counts 0; NaN for a query without relevant candidates on that side.
    """
    ranks = np.where(answers.ranks > 0, answers.ranks, np.inf)
    relevant_above = rankdata(ranks, method="ordinal", axis=1) - 1
    values = np.where(ranks < np.inf, 1 / (ranks - relevant_above), 0.0)
    same, cross = _sides(answers)
    return BySide(_row_means(values, same), _row_means(values, cross))


def equal_rank_probability(answers: Answers, k: int) -> PerQuery:
    """The p-value of the Kruskal-Wallis test that relevant candidates of all languages rank alike (PEER@k).

    Ranks beyond k count as k + 1. PEER is from Yang et al. 2024 (arXiv 2405.00978); this is its form in MIMO's code
    (arXiv 2605.31171): the relevant candidates are ranked among themselves, and ties share their mean rank. From 0
    (certain bias) to 1; it is 1 if all relevant candidates lie beyond k.
    **Blind with one relevant candidate per language**: then the statistic is R - 1 for R candidates in any order, so
    the value is a constant (0.44 for 11) unless all lie beyond k. It is informative only where languages have several.
    (The authors' package peer_measure gives other values: it tests the plain ranks, and places missing candidates by a
    different rule.) NaN for a query whose relevant candidates are all in one language.
    """
    used = answers.ranks != 0
    clipped = np.where((answers.ranks > 0) & (answers.ranks <= k), answers.ranks, k + 1)
    counts = used.sum(axis=1)
    values = np.full(len(counts), np.nan)
    for size in np.unique(counts[counts > 1]):
        rows = counts == size
        keep = used[rows]
        centred = rankdata(clipped[rows][keep].reshape(-1, size), axis=1) - (size + 1) / 2
        languages = answers.languages[rows][keep].reshape(-1, size)
        between, groups = np.zeros(len(centred)), np.zeros(len(centred), dtype=np.int64)
        for language in np.unique(languages):
            members = languages == language
            group_size = members.sum(axis=1)
            between += np.where(members, centred, 0).sum(axis=1) ** 2 / np.maximum(group_size, 1)
            groups += group_size > 0
        total = (centred**2).sum(axis=1)
        statistic = np.divide((size - 1) * between, total, out=np.zeros(len(total)), where=total > 0)
        values[rows] = np.where(groups > 1, chi2.sf(statistic, np.maximum(groups - 1, 1)), np.nan)
    return values


def several_languages(answers: Answers) -> Bool[np.ndarray, " queries"]:
    """Which queries have relevant candidates in several languages, and so can show how far apart languages rank."""
    used = answers.ranks != 0
    first = answers.languages[:, :1]  # places are filled from the left
    return (used & (answers.languages != first)).any(axis=1)


def _sides(answers: Answers) -> tuple[Bool[np.ndarray, "queries relevant"], Bool[np.ndarray, "queries relevant"]]:
    """Masks of the relevant candidates in the query's language (same), and of those in other languages (cross)."""
    used, in_query_language = answers.ranks != 0, answers.languages == answers.query_languages[:, None]
    return used & in_query_language, used & ~in_query_language


def _row_means(
    values: Float[np.ndarray, "queries places"], where: Bool[np.ndarray, "queries places"]
) -> Float[np.ndarray, " queries"]:
    """The mean of each row's values where the mask is true; NaN where it is true nowhere."""
    counts = where.sum(axis=1)
    totals = np.where(where, values, 0.0).sum(axis=1)
    return np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0)
