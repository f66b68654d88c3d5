"""Retrieval metrics, computed from the ranks of the relevant candidates alone.

Every metric takes one row per query with the ranks of *all* its relevant candidates in any order. Ranks start at 1 and
differ within a row; 0 marks an unused place, and `NOT_RETRIEVED` a candidate that a cut-off ranking does not contain.
Every metric returns one float64 per query. There are three ways to make such rows:

* `rank_rows`: from the ranks in a full ranking, where nothing is cut off and a candidate at rank 10,000 counts.
* `ranks_in_top`, then `rank_rows`: from the result of a top-k search, best candidate first.
* `judge`: from a TREC run and qrels, read as trec_eval reads them; `per_query` then scores them as trec_eval does.

The values equal trec_eval's `map`, `recall_k`, `P_k`, `success_k`, `recip_rank` and `ndcg_cut_k`. Language bias is
measured in `bias.py`; `search/ranks.py` computes ranks and breaks ties.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

RankRows = Int[np.ndarray, "queries relevant"]
Grades = Float[np.ndarray, "queries relevant"]
PerQuery = Float[np.ndarray, " queries"]
Run = Mapping[str, Sequence[tuple[str, float]]]
"""{query id: [(candidate id, score), ...]} in any order: the content of a TREC run."""

NOT_RETRIEVED = -1


def rank_rows(query: Int[np.ndarray, " pairs"], ranks: Int[np.ndarray, " pairs"]) -> RankRows:
    """Gathers the ranks of (query, candidate) pairs into rows: one per query that has pairs, in ascending order."""
    order = np.argsort(query, kind="stable")
    _, first, count = np.unique(query[order], return_index=True, return_counts=True)
    rows = np.zeros((len(first), int(count.max(initial=0))), dtype=np.int64)
    place = np.arange(len(order)) - np.repeat(first, count)
    rows[np.repeat(np.arange(len(first)), count), place] = ranks[order]
    return rows


def ranks_in_top(top: Int[np.ndarray, "queries k"], relevance: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, " pairs"]:
    """The rank of every relevant (query row, candidate row) pair in a search result, or `NOT_RETRIEVED`.

    `top` holds candidate rows, best first, and negative numbers where a ranking has fewer than k.
    Raises ValueError if a ranking contains a candidate twice.
    """
    query, place = np.nonzero(top >= 0)
    candidate = top[query, place]
    width = 1 + max(candidate.max(initial=0), relevance[:, 1].max(initial=0))
    # Encode each (query, candidate) pair as one number, and look the numbers up in sorted order.
    retrieved = query * width + candidate
    order = np.argsort(retrieved, kind="stable")
    retrieved = retrieved[order]
    duplicates = np.flatnonzero(retrieved[1:] == retrieved[:-1])
    if len(duplicates):
        row, name = divmod(int(retrieved[duplicates[0]]), int(width))
        raise ValueError(f"row {row} of the search result holds candidate {name} twice: rank each candidate once")
    relevant = relevance[:, 0] * width + relevance[:, 1]
    position = np.searchsorted(retrieved, relevant)
    hit = position < len(retrieved)
    hit[hit] = retrieved[position[hit]] == relevant[hit]
    ranks = np.full(len(relevant), NOT_RETRIEVED, dtype=np.int64)
    ranks[hit] = place[order[position[hit]]] + 1
    return ranks


class Judged(NamedTuple):
    """The queries of the qrels, and the ranks and grades of their relevant candidates in a run.

    A query without relevant candidates has a row of zeros; only `per_query` accepts such rows.
    """

    queries: tuple[str, ...]
    ranks: RankRows
    grades: Grades


def judge(run: Run, qrels: Mapping[str, Mapping[str, int]]) -> Judged:
    """Ranks a run {query: [(candidate, score), ...]} against qrels {query: {candidate: grade}} as trec_eval does.

    * The order of a list is ignored: the greater float32 score ranks first, and among ties the greater candidate id.
    * A candidate listed twice counts once, with its last score (as in ir-measures; trec_eval itself refuses the run).
    * A query of the qrels that is missing from the run, or has an empty list, has retrieved nothing and scores 0.
    * A query that is missing from the qrels is left out.
    * A candidate is relevant if its grade is 1 or more; the grade is its gain in nDCG. The others are irrelevant.
    """
    relevant = [{name: grade for name, grade in qrels[query].items() if grade > 0} for query in qrels]
    shape = (len(relevant), max(map(len, relevant), default=0))
    ranks, grades = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    for row, (query, graded) in enumerate(zip(qrels, relevant, strict=True)):
        scores = dict(run.get(query, ()))
        # trec_eval stores scores as float32, so scores that are equal in float32 are tied.
        best_first = sorted(((float(np.float32(score)), name) for name, score in scores.items()), reverse=True)
        place = {name: rank for rank, (_, name) in enumerate(best_first, start=1)}
        ranks[row, : len(graded)] = [place.get(name, NOT_RETRIEVED) for name in graded]
        grades[row, : len(graded)] = list(graded.values())
    return Judged(tuple(qrels), ranks, grades)


def per_query(judged: Judged, metric: Callable[[RankRows, Grades], PerQuery]) -> dict[str, float]:
    """{query: value}, where queries without relevant candidates get 0, as in trec_eval."""
    answerable = (judged.ranks != 0).any(axis=1)
    values = np.zeros(len(answerable))
    if answerable.any():
        values[answerable] = metric(judged.ranks[answerable], judged.grades[answerable])
    return dict(zip(judged.queries, values.tolist(), strict=True))


def average_precision(ranks: RankRows) -> PerQuery:
    """The mean over the relevant candidates of the precision at their ranks."""
    relevant_so_far = np.arange(1, ranks.shape[1] + 1)
    return (relevant_so_far / _sorted(ranks)).sum(axis=1) / _relevant_counts(ranks)


def recall(ranks: RankRows, k: int) -> PerQuery:
    """The share of the relevant candidates that are among the first k.

    With one relevant candidate this is success at k, as in the R@1 of arXiv 2408.10536. With 11, as in its multilingual
    R@10, the maximum is 10/11.
    """
    return _retrieved_counts(ranks, k) / _relevant_counts(ranks)


def precision(ranks: RankRows, k: int) -> PerQuery:
    """The share of the first k ranks that hold a relevant candidate; ranks beyond its end hold none."""
    _relevant_counts(ranks)
    return _retrieved_counts(ranks, k) / k


def success(ranks: RankRows, k: int) -> PerQuery:
    """1 if a relevant candidate is among the first k, else 0."""
    _relevant_counts(ranks)
    return (_retrieved_counts(ranks, k) > 0).astype(np.float64)


def reciprocal_rank(ranks: RankRows, k: int | None = None) -> PerQuery:
    """1 / rank of the best relevant candidate; with k (MRR@k), 0 where it is not among the first k."""
    _relevant_counts(ranks)
    best = _sorted(ranks)[:, 0]
    return np.where(best <= (np.inf if k is None else k), 1 / best, 0.0)


def ndcg(ranks: RankRows, k: int, grades: Grades | None = None) -> PerQuery:
    """nDCG@k: the sum of grade / log2(rank + 1) over the relevant candidates among the first k, over its maximum.

    Without `grades`, every relevant candidate has grade 1.
    """
    _relevant_counts(ranks)
    gains = (ranks != 0).astype(np.float64) if grades is None else np.where(ranks != 0, grades, 0.0)
    among = (ranks > 0) & (ranks <= k)
    gained = np.where(among, gains / np.log2(np.where(among, ranks, 1) + 1), 0.0).sum(axis=1)
    best = -np.sort(-gains, axis=1)[:, :k]
    return gained / (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)


def rank_distance(ranks: RankRows) -> PerQuery:
    """The worst rank minus the best rank of the relevant candidates (Huang et al. 2023); lower is better.

    In a pooled corpus of translations it measures language bias: a model that ranks by meaning alone places the
    translations of a passage next to each other. It is 0 for a single relevant candidate. Needs the full ranking:
    raises ValueError on `NOT_RETRIEVED`.
    """
    worst = worst_rank(ranks)
    return worst - _sorted(ranks)[:, 0]


def worst_rank(ranks: RankRows) -> PerQuery:
    """The rank of the last relevant candidate: how many candidates a user must read to see all relevant ones.

    If the relevant candidates are translations of each other, it is the Max@R of arXiv 2604.05684 (as described in its
    abstract and reviews; we did not have the paper's own formula). From the number of relevant candidates to the size
    of the pool; higher = more language bias, or a worse model. Needs the full ranking: raises ValueError on
    `NOT_RETRIEVED`.
    """
    _relevant_counts(ranks)
    missing = np.argwhere(ranks == NOT_RETRIEVED)
    if len(missing):
        raise ValueError(
            f"row {missing[0, 0]} has a relevant candidate without a rank: this metric needs the full ranking"
        )
    return ranks.max(axis=1).astype(np.float64)


def _relevant_counts(ranks: RankRows) -> Int[np.ndarray, " queries"]:
    """The number of relevant candidates of each query. Raises ValueError if a query has none."""
    counts = (ranks != 0).sum(axis=1)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        raise ValueError(f"row {empty[0]} has no relevant candidate, so no metric is defined: leave the query out")
    return counts


def _retrieved_counts(ranks: RankRows, k: int) -> Int[np.ndarray, " queries"]:
    return ((ranks > 0) & (ranks <= k)).sum(axis=1)


def _sorted(ranks: RankRows) -> Float[np.ndarray, "queries relevant"]:
    """Each row's ranks in ascending order, with infinity for unused places and candidates that are not retrieved."""
    return np.sort(np.where(ranks > 0, ranks, np.inf), axis=1)
