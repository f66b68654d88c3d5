"""The queries that a model ranks worst, with what it ranked first instead: texts to read beside the figures."""

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.ranking import Ranking
from hybrid_jax.eval.report.schema import ShownCandidate, WorstQuery
from hybrid_jax.eval.tasks import RetrievalTask

SHOWN = 3
"""How many of a query's first candidates are shown."""
LONGEST = 400
"""How many characters of a text are shown."""


def worst_queries(
    task: RetrievalTask,
    candidate_text: str,
    ranking: Ranking,
    average_precision: Float[np.ndarray, " queries"],
) -> list[WorstQuery]:
    """The query of the lowest average precision in each query language; of equal ones the task's first."""
    texts = task.texts(candidate_text)
    languages = np.array([row.language for row in task.queries])

    def shown(row: int, rank: int, relevant: bool) -> ShownCandidate:
        candidate = task.candidates[row]
        return ShownCandidate(
            rank=rank, id=candidate.id, language=candidate.language, text=_shortened(texts[row]), relevant=relevant
        )

    worst = []
    for language in np.unique(languages):
        rows = np.flatnonzero(languages == language)
        row = int(rows[np.argmin(average_precision[rows])])
        pairs = np.flatnonzero(task.relevance[:, 0] == row)
        answers = set(task.relevance[pairs, 1].tolist())
        best = int(pairs[np.argmin(ranking.ranks.pooled[pairs])])
        top = [candidate for candidate in ranking.top[row, :SHOWN].tolist() if candidate >= 0]
        worst.append(
            WorstQuery(
                id=task.queries[row].id,
                language=str(language),
                text=_shortened(task.queries[row].text),
                map=float(average_precision[row]),
                top=[shown(candidate, rank, candidate in answers) for rank, candidate in enumerate(top, start=1)],
                answer=shown(int(task.relevance[best, 1]), int(ranking.ranks.pooled[best]), relevant=True),
            )
        )
    return worst


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
