"""A task whose texts name their language and record, so that a test's encoder knows both."""

from collections.abc import Sequence

import numpy as np

from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask


def parallel_task(languages: Sequence[str], count: int, name: str = "parallel") -> RetrievalTask:
    """Records 0 .. count - 1, each a question and a passage in every language; texts read "<language> <record>"."""
    names = [(language, record) for language in languages for record in range(count)]
    return RetrievalTask(
        name=name,
        queries=tuple(Query(str(record), language, f"{language} {record}") for language, record in names),
        candidates=tuple(Candidate(str(record), language, (f"{language} {record}",)) for language, record in names),
        relevance=np.array([(i, j) for i, a in enumerate(names) for j, b in enumerate(names) if a[1] == b[1]]),
        candidate_texts=("passage",),
        about="Synthetic records",
        sources={"made up": "0" * 64},
    )
