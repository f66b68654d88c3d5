"""The held-out part of the built-in demo corpus as a task, which needs no file and no download."""

import hashlib
import json

from hybrid_jax.data.corpora import demo as demo_corpus
from hybrid_jax.eval.tasks.base import Candidate, Query, RetrievalTask
from hybrid_jax.eval.tasks.files import pairs_of_same_id


def demo() -> RetrievalTask:
    """The held-out records: a passage is relevant to the questions of its record in every language."""
    rows = [row for row in demo_corpus.rows("heldout") if row.query is not None and row.passage is not None]
    queries = tuple(Query(row.id, row.lang, row.query or "") for row in rows)
    candidates = tuple(Candidate(row.id, row.lang, (row.passage or "",)) for row in rows)
    digest = hashlib.sha256(json.dumps([(r.id, r.lang, r.query, r.passage) for r in rows]).encode()).hexdigest()
    return RetrievalTask(
        name="demo",
        queries=queries,
        candidates=candidates,
        relevance=pairs_of_same_id([query.id for query in queries], [row.id for row in rows]),
        candidate_texts=("passage",),
        about="Held-out facts of the built-in demo corpus (Unicode CLDR)",
        sources={"demo corpus, heldout": digest},
    )
