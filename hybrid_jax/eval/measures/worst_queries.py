"""The queries that a model ranks worst, with what it ranked first instead: text to read, not figures.

Knows: texts and a ranking. Does not know: metrics, how a page shows a text (`report/`, which escapes it).
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.measures.panel import Ranking
from hybrid_jax.eval.tasks import RetrievalTask

SHOWN = 3
"""First candidates of a query that are shown."""
LONGEST = 400
"""Characters of a text that are shown."""


def worst_queries(
    task: RetrievalTask, candidate_text: str, ranking: Ranking, quality: Float[np.ndarray, " queries"]
) -> list[dict[str, Any]]:
    """For each query language the query of the lowest `quality` (the first in the task's order of several), as

    {"id", "language", "text", "map", "top": the first candidates, "answer": the best relevant one}, a candidate being
    {"rank" among all languages, "id", "language", "text", "relevant"}.
    """
    texts = task.texts(candidate_text)
    languages = np.array([row.language for row in task.queries])

    def candidate(row: int, rank: int, relevant: bool) -> dict[str, Any]:
        it = task.candidates[row]
        text = _short(texts[row])
        return {"rank": rank, "id": it.id, "language": it.language, "text": text, "relevant": relevant}

    found = []
    for language in np.unique(languages):
        mine = np.flatnonzero(languages == language)
        query = int(mine[np.argmin(quality[mine])])
        pairs = np.flatnonzero(task.relevance[:, 0] == query)
        answers = task.relevance[pairs, 1]
        best = int(pairs[np.argmin(ranking.ranks.pooled[pairs])])
        top = [int(row) for row in ranking.top[query, :SHOWN] if row >= 0]
        found.append(
            {
                "id": task.queries[query].id,
                "language": str(language),
                "text": _short(task.queries[query].text),
                "map": float(quality[query]),
                "top": [candidate(row, rank, bool((answers == row).any())) for rank, row in enumerate(top, start=1)],
                "answer": candidate(int(task.relevance[best, 1]), int(ranking.ranks.pooled[best]), relevant=True),
            }
        )
    return found


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
