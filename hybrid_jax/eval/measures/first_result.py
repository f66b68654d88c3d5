"""What comes first, by meaning and by language: the four-way split of MLAIRE (arXiv 2605.07249).

We did not have the paper's formulas. Here the split is over all queries, also those without an answer in their own
language: `first_right_own` cannot be 1 there.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from hybrid_jax.eval.measures.catalogue import FIRST_RESULT
from hybrid_jax.eval.ranking import Ranking
from hybrid_jax.eval.tasks import RetrievalTask

NO_LANGUAGE = -1


def split(
    right: Bool[np.ndarray, " queries"],
    first_language: Int[np.ndarray, " queries"],
    query_language: Int[np.ndarray, " queries"],
) -> Mapping[str, Float[np.ndarray, " queries"]]:
    """1 or 0 for each query and each of `FIRST_RESULT`, from whether its first result is right and in which language.

    A query that found nothing has the language `NO_LANGUAGE`, and counts as wrong in another language.
    """
    own = first_language == query_language
    kinds = (right & own, right & ~own, ~right & own, ~right & ~own)
    return {name: kind.astype(np.float64) for name, kind in zip(FIRST_RESULT, kinds, strict=True)}


def of_ranking(task: RetrievalTask, ranking: Ranking) -> Mapping[str, Float[np.ndarray, " queries"]]:
    """The split of a full ranking; empty for a task whose candidates are all in one language."""
    names = sorted({row.language for row in (*task.queries, *task.candidates)})
    number = {name: place for place, name in enumerate(names)}
    candidate_language = np.array([number[row.language] for row in task.candidates])
    if len(np.unique(candidate_language)) < 2:
        return {}
    query, answer = task.relevance.T
    first = ranking.top[:, 0].copy()
    right = np.zeros(len(task.queries), dtype=bool)
    # `top` is ordered by scores in float32; the ranks are exact, so they say whether an answer comes first.
    best = ranking.ranks.pooled == 1
    right[query[best]] = True
    first[query[best]] = answer[best]
    relevant = set(zip(query.tolist(), answer.tolist(), strict=True))
    for row in np.flatnonzero(~right).tolist():
        first[row] = next(place for place in ranking.top[row].tolist() if (row, place) not in relevant)
    query_language = np.array([number[row.language] for row in task.queries])
    return split(right, candidate_language[first], query_language)
