"""What a full ranking is worth, from the ranks of its relevant candidates alone.

Knows: ranks. Does not know: benchmarks, languages, scores, or how the ranks were found (`ranks.py` breaks their ties).

Every function takes one row per query, holding the ranks (from 1, all different) of *all* its relevant candidates in
any order, with 0 in unused places, and returns one float64 per query. Nothing is cut off: a relevant candidate at rank
10,000 counts. The values equal trec_eval's `map`, `recall_k`, `recip_rank` and `ndcg_cut_k` on the same full ranking,
with binary relevance.
"""

import numpy as np
from jaxtyping import Float, Int

RankRows = Int[np.ndarray, "queries relevant"]
PerQuery = Float[np.ndarray, " queries"]


def rank_rows(query: Int[np.ndarray, " pairs"], ranks: Int[np.ndarray, " pairs"]) -> RankRows:
    """Gathers the ranks of (query, candidate) pairs into one row per query that has any, in ascending query order."""
    order = np.argsort(query, kind="stable")
    _, first, count = np.unique(query[order], return_index=True, return_counts=True)
    rows = np.zeros((len(first), int(count.max(initial=0))), dtype=np.int64)
    place = np.arange(len(order)) - np.repeat(first, count)
    rows[np.repeat(np.arange(len(first)), count), place] = ranks[order]
    return rows


def average_precision(ranks: RankRows) -> PerQuery:
    """Mean, over the relevant candidates, of the precision at their rank: how many relevant up to it / its rank."""
    held = _sorted(ranks)
    found = np.arange(1, ranks.shape[1] + 1)
    return np.where(held < np.inf, found / held, 0.0).sum(axis=1) / _relevant(ranks)


def recall(ranks: RankRows, k: int) -> PerQuery:
    """Share of the relevant candidates that are among the first k.

    With one relevant candidate this is success at k, as in the paper's R@1. With 11, as in its multilingual R@10, no
    ranking can exceed 10/11.
    """
    return ((ranks > 0) & (ranks <= k)).sum(axis=1) / _relevant(ranks)


def reciprocal_rank(ranks: RankRows) -> PerQuery:
    """1 / rank of the best relevant candidate."""
    _relevant(ranks)
    return 1 / _sorted(ranks)[:, 0]


def ndcg(ranks: RankRows, k: int) -> PerQuery:
    """Discounted gain 1 / log2(rank + 1) of the relevant candidates among the first k, over the best possible."""
    held = _sorted(ranks)
    gain = np.where(held <= k, 1 / np.log2(held + 1), 0.0).sum(axis=1)
    ideal = np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))
    return gain / ideal[np.minimum(_relevant(ranks), k) - 1]


def rank_distance(ranks: RankRows) -> PerQuery:
    """Worst rank minus best rank of the relevant candidates: 0 for one alone (Huang et al. 2023; lower is better).

    Over a pooled corpus of translations it measures language bias: a model that ranks by meaning alone places the
    translations of one passage side by side.
    """
    _relevant(ranks)
    return (ranks.max(axis=1) - _sorted(ranks)[:, 0]).astype(np.float64)


def _relevant(ranks: RankRows) -> Int[np.ndarray, " queries"]:
    count = (ranks > 0).sum(axis=1)
    empty = np.flatnonzero(count == 0)
    if len(empty):
        raise ValueError(f"row {empty[0]} has no relevant candidate, so no metric is defined: leave the query out")
    return count


def _sorted(ranks: RankRows) -> Float[np.ndarray, "queries relevant"]:
    """Ascending, the unused places last as infinity."""
    return np.sort(np.where(ranks > 0, ranks, np.inf), axis=1)
