"""What a ranking is worth, from the ranks of its relevant candidates alone.

Knows: ranks, relevance grades, and how trec_eval reads a run. Does not know: benchmarks, languages (`bias.py`), or how
the ranks of a full ranking were found (`ranks.py` breaks their ties).

Every metric takes one row per query, holding the ranks (from 1, all different) of *all* its relevant candidates in any
order, 0 in unused places, and `NOT_RETRIEVED` for those that a cut-off ranking does not hold. It returns one float64
per query. There are three ways to such rows:

* `rank_rows`: the ranks in a full ranking, where nothing is cut off and a candidate at rank 10,000 counts.
* `ranks_in_top`, then `rank_rows`: the rows of a top-k search, best candidate first.
* `judge`: a TREC run and qrels, read as trec_eval reads them; `per_query` then scores it as trec_eval does.

The values equal trec_eval's `map`, `recall_k`, `P_k`, `success_k`, `recip_rank` and `ndcg_cut_k`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

RankRows = Int[np.ndarray, "queries relevant"]
Grades = Float[np.ndarray, "queries relevant"]
PerQuery = Float[np.ndarray, " queries"]
Run = Mapping[str, Sequence[tuple[str, float]]]
"""{query id: its (candidate id, score)s, in any order}, as a TREC run says it."""

NOT_RETRIEVED = -1


def rank_rows(query: Int[np.ndarray, " pairs"], ranks: Int[np.ndarray, " pairs"]) -> RankRows:
    """Gathers the ranks of (query, candidate) pairs into one row per query that has any, in ascending query order."""
    order = np.argsort(query, kind="stable")
    _, first, count = np.unique(query[order], return_index=True, return_counts=True)
    rows = np.zeros((len(first), int(count.max(initial=0))), dtype=np.int64)
    place = np.arange(len(order)) - np.repeat(first, count)
    rows[np.repeat(np.arange(len(first)), count), place] = ranks[order]
    return rows


def ranks_in_top(top: Int[np.ndarray, "queries k"], relevance: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, " pairs"]:
    """Rank of every relevant (query row, candidate row) pair in a search result, or `NOT_RETRIEVED`.

    `top` holds candidate rows, the best first, and negative numbers where a ranking has fewer than k.
    Raises ValueError where a ranking holds a candidate twice.
    """
    query, place = np.nonzero(top >= 0)
    candidate = top[query, place]
    width = 1 + max(candidate.max(initial=0), relevance[:, 1].max(initial=0))
    # A query with a candidate is one number, and the numbers are looked up in sorted order.
    held = query * width + candidate
    order = np.argsort(held, kind="stable")
    held = held[order]
    twice = np.flatnonzero(held[1:] == held[:-1])
    if len(twice):
        row, found = divmod(int(held[twice[0]]), int(width))
        raise ValueError(f"row {row} of the search result holds candidate {found} twice: rank each candidate once")
    wanted = relevance[:, 0] * width + relevance[:, 1]
    at = np.searchsorted(held, wanted)
    hit = at < len(held)
    hit[hit] = held[at[hit]] == wanted[hit]
    ranks = np.full(len(wanted), NOT_RETRIEVED, dtype=np.int64)
    ranks[hit] = place[order[at[hit]]] + 1
    return ranks


class Judged(NamedTuple):
    """A run beside its qrels: every query of the qrels, and the ranks and grades of its relevant candidates.

    A query without relevant candidates has a row of zeros; only `per_query` takes such rows.
    """

    queries: tuple[str, ...]
    ranks: RankRows
    grades: Grades


def judge(run: Run, qrels: Mapping[str, Mapping[str, int]]) -> Judged:
    """Ranks a run {query: [(candidate, score), ...]} against qrels {query: {candidate: grade}} as trec_eval does.

    * The order of a list means nothing: the greater float32 score ranks first, among equals the greater candidate id.
    * A candidate listed twice counts once, with its last score (as in ir-measures; trec_eval itself refuses the run).
    * A query of the qrels that the run lacks, or that has an empty list, has retrieved nothing and scores 0.
    * A query that the qrels lack is not judged and is left out.
    * A candidate is relevant from grade 1 on; its grade is its gain in nDCG. One without a grade is not relevant.
    """
    relevant = [{name: grade for name, grade in qrels[query].items() if grade > 0} for query in qrels]
    shape = (len(relevant), max(map(len, relevant), default=0))
    ranks, grades = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    for row, (query, graded) in enumerate(zip(qrels, relevant, strict=True)):
        scores = dict(run.get(query, ()))
        # trec_eval keeps scores in float32, so scores that differ only beyond it are tied.
        best_first = sorted(((float(np.float32(score)), name) for name, score in scores.items()), reverse=True)
        place = {name: rank for rank, (_, name) in enumerate(best_first, start=1)}
        ranks[row, : len(graded)] = [place.get(name, NOT_RETRIEVED) for name in graded]
        grades[row, : len(graded)] = list(graded.values())
    return Judged(tuple(qrels), ranks, grades)


def per_query(judged: Judged, metric: Callable[[RankRows, Grades], PerQuery]) -> dict[str, float]:
    """{query: value}: `metric` of the rows with relevant candidates, and trec_eval's 0 for the queries without."""
    some = (judged.ranks != 0).any(axis=1)
    values = np.zeros(len(some))
    if some.any():
        values[some] = metric(judged.ranks[some], judged.grades[some])
    return dict(zip(judged.queries, values.tolist(), strict=True))


def average_precision(ranks: RankRows) -> PerQuery:
    """Mean, over the relevant candidates, of the precision at their rank: how many relevant up to it / its rank."""
    found = np.arange(1, ranks.shape[1] + 1)
    return (found / _sorted(ranks)).sum(axis=1) / _relevant(ranks)


def recall(ranks: RankRows, k: int) -> PerQuery:
    """Share of the relevant candidates that are among the first k.

    With one relevant candidate this is success at k, as in the paper's R@1. With 11, as in its multilingual R@10, no
    ranking can exceed 10/11.
    """
    return _found(ranks, k) / _relevant(ranks)


def precision(ranks: RankRows, k: int) -> PerQuery:
    """Share of the first k places that hold a relevant candidate; a ranking with fewer than k is filled with misses."""
    _relevant(ranks)
    return _found(ranks, k) / k


def success(ranks: RankRows, k: int) -> PerQuery:
    """1 if a relevant candidate is among the first k, else 0."""
    _relevant(ranks)
    return (_found(ranks, k) > 0).astype(np.float64)


def reciprocal_rank(ranks: RankRows, k: int | None = None) -> PerQuery:
    """1 / rank of the best relevant candidate; with k (MRR@k), 0 where it is not among the first k."""
    _relevant(ranks)
    best = _sorted(ranks)[:, 0]
    return np.where(best <= (np.inf if k is None else k), 1 / best, 0.0)


def ndcg(ranks: RankRows, k: int, grades: Grades | None = None) -> PerQuery:
    """Discounted gain grade / log2(rank + 1) of the relevant candidates among the first k, over the best possible.

    Without `grades`, every relevant candidate has gain 1.
    """
    _relevant(ranks)
    gains = (ranks != 0).astype(np.float64) if grades is None else np.where(ranks != 0, grades, 0.0)
    among = (ranks > 0) & (ranks <= k)
    gained = np.where(among, gains / np.log2(np.where(among, ranks, 1) + 1), 0.0).sum(axis=1)
    best = -np.sort(-gains, axis=1)[:, :k]
    return gained / (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)


def rank_distance(ranks: RankRows) -> PerQuery:
    """Worst rank minus best rank of the relevant candidates: 0 for one alone (Huang et al. 2023; lower is better).

    Over a pooled corpus of translations it measures language bias: a model that ranks by meaning alone places the
    translations of one passage side by side. It needs the full ranking: raises ValueError on `NOT_RETRIEVED`.
    """
    worst = worst_rank(ranks)
    return worst - _sorted(ranks)[:, 0]


def worst_rank(ranks: RankRows) -> PerQuery:
    """Rank of the last relevant candidate: how far down one reads to have them all.

    It is the Max@R of arXiv 2604.05684 where the relevant candidates are translations of each other (as described in
    its abstracts and reviews; the paper's own formula was not at hand). From the number of relevant candidates to the
    size of the pool; higher = more language bias, or a worse model. Needs the full ranking, as `rank_distance` does.
    """
    _relevant(ranks)
    cut = np.argwhere(ranks == NOT_RETRIEVED)
    if len(cut):
        raise ValueError(f"row {cut[0, 0]} has a relevant candidate without a rank: this metric needs the full ranking")
    return ranks.max(axis=1).astype(np.float64)


def _relevant(ranks: RankRows) -> Int[np.ndarray, " queries"]:
    count = (ranks != 0).sum(axis=1)
    empty = np.flatnonzero(count == 0)
    if len(empty):
        raise ValueError(f"row {empty[0]} has no relevant candidate, so no metric is defined: leave the query out")
    return count


def _found(ranks: RankRows, k: int) -> Int[np.ndarray, " queries"]:
    return ((ranks > 0) & (ranks <= k)).sum(axis=1)


def _sorted(ranks: RankRows) -> Float[np.ndarray, "queries relevant"]:
    """Ascending, as infinity what was not retrieved and, last, the unused places."""
    return np.sort(np.where(ranks > 0, ranks, np.inf), axis=1)
