"""The full ranking of a task's candidates: what every measure of a `RetrievalTask` starts from."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.ranks import rank_relevant
from hybrid_jax.search.scores import Ranks, tie_order
from hybrid_jax.search.top_k import top_k

TOP = 100
"""Candidates per query that are kept beside the ranks, for the bias panel, the worst queries and TREC runs."""


class Ranking(NamedTuple):
    """A task's embeddings and where they put its candidates."""

    queries: Float[np.ndarray, "queries dim"]
    candidates: Float[np.ndarray, "candidates dim"]
    ranks: Ranks
    """Of every relevant (query, candidate) pair, in the order of the task's `relevance`."""
    top: Int[np.ndarray, "queries k"]
    """Rows of the candidates ranked first among all languages, best first; -1 where a ranking has fewer."""


def rank_candidates(
    task: RetrievalTask, queries: Float[np.ndarray, "queries dim"], candidates: Float[np.ndarray, "candidates dim"]
) -> Ranking:
    """Ranks all candidates for every query by exact scores; ties follow `search.scores.TIE_RULE`.

    Raises ValueError for embeddings that are not finite unit vectors.
    """
    languages, ids = [row.language for row in task.candidates], [row.id for row in task.candidates]
    ranks = rank_relevant(queries, candidates, task.relevance, languages, ids)
    order = tie_order(languages, ids)  # among equal scores, top_k prefers the row that comes first
    best = top_k(queries, [candidates[order]], min(TOP, len(order))).rows
    return Ranking(queries, candidates, ranks, np.where(best >= 0, order[best], -1))
