"""Evaluates tasks whose corpus streams from disk: encode a block, search it, forget it.

Knows: `SearchTask`s, trec_eval's metrics of the 100 best, and their means per language. Does not know: any benchmark
(`tasks/`), how the best are found (`search.py`), full rankings (`runner.py`).

A rank follows from the score and, for equal scores, from the id as in trec_eval: the greater ranks first. Only where
equal scores straddle place 100 does the corpus' order decide which of them is among the 100.
"""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float32

from hybrid_jax.data.records import DataError
from hybrid_jax.embed.quantization import Dtype
from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.embed.store_format import Manifest, Recipe
from hybrid_jax.embed.store_writer import Document, write_store
from hybrid_jax.eval.full_ranking import Encoder, Result
from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.metrics import Run
from hybrid_jax.eval.tasks.base import SearchTask
from hybrid_jax.search.top_k import TopK, top_k

DEPTH = 100
CANDIDATES_AT_ONCE = 16_384
"""Texts that are in memory, and encoded in one call."""
METRICS: dict[str, Callable[[metrics.RankRows, metrics.Grades], metrics.PerQuery]] = {
    "ndcg@10": lambda ranks, grades: metrics.ndcg(ranks, 10, grades),
    "recall@100": lambda ranks, _: metrics.recall(ranks, 100),
    "map@100": lambda ranks, _: metrics.average_precision(ranks),
    "mrr@10": lambda ranks, _: metrics.reciprocal_rank(ranks, 10),
}


@dataclass(frozen=True)
class Stores:
    """Where pools' embeddings are kept, one folder each, and what makes them."""

    folder: Path
    model: Mapping[str, Any]
    """What decides the embedding of a text (`embedding_identity`): a store of another model is refused."""
    facts: Mapping[str, Any]
    """Where the encoder came from, for a reader."""
    dtype: Dtype = "float32"
    rows_per_shard: int = CANDIDATES_AT_ONCE
    """What a kill can lose."""

    def fill(
        self, encoder: Encoder, task: SearchTask, say: Callable[[str], None] = lambda line: None
    ) -> EmbeddingStore:
        """The task's store for `evaluate`: begun, resumed, repaired or found complete; `say` is told after every shard.

        Raises StoreError, changing nothing, where the pool's folder holds another model's embeddings, other settings'
        or another corpus'.
        """
        folder = self.folder / quote(task.name, safe=" +,=@")
        recipe = Recipe(model=dict(self.model), dtype=self.dtype, rows_per_shard=self.rows_per_shard)
        total = "" if task.size is None else f" of {task.size:,}"
        encoded = 0

        def report(manifest: Manifest) -> None:
            nonlocal encoded
            encoded += 1
            say(f"{task.name}: {manifest.rows:,}{total} candidates in {folder}")

        store = write_store(folder, documents(task), encoder.encode_passages, recipe, dict(self.facts), report)
        shards = len(store.manifest.shards)
        say(f"{task.name}: {encoded} of {shards} shards were encoded, {shards - encoded} were in {folder}")
        return store


def evaluate(
    encoder: Encoder,
    task: SearchTask,
    *,
    store: EmbeddingStore | None = None,
    memory_mib: int = 512,
    report: Callable[[int], None] = lambda _: None,
    watch: Callable[[SearchTask, Run], None] | None = None,
) -> Result:
    """One pool searched with all its queries, as plain JSON values.

    "questions", "candidates", "languages" (of the queries), "about"; "depth": how many of the best are kept;
    "relevant_missing": how many relevant candidates the corpus lacks (they count as not found);
    each of `METRICS`: the mean over languages of the mean over a language's queries, as trec_eval computes them;
    "per_language": {language: {"questions", each metric}}.

    The corpus is read and encoded `CANDIDATES_AT_ONCE` at a time, and `report` is told how many are done; `watch` is
    shown the run that is judged. With `store`
    (of `documents(task)`) it is neither: its embeddings are searched. `memory_mib` bounds the search (`search.top_k`).
    Raises DataError where the corpus has not the size that the task states, or a candidate twice.
    """
    relevant = {name for graded in task.qrels.values() for name, grade in graded.items() if grade > 0}
    ids = _Ids(relevant)
    queries = np.asarray(encoder.encode_queries([query.text for query in task.queries]), np.float32)
    if store is None:
        blocks = _encoded(encoder, task, ids, report)
    else:
        ids.add(store.ids())
        blocks = store.blocks()
    # The query's own document may take one of the places before it is dropped.
    found = top_k(queries, blocks, DEPTH + task.drop_same_id, memory_mib=memory_mib)
    if not len(ids) or task.size not in (None, len(ids)):
        raise DataError(
            f"task {task.name}: {len(ids):,} candidates, expected {'some' if task.size is None else f'{task.size:,}'}: "
            "a file is missing, cut short or of another version; fetch the corpus again"
        )
    run = _run(task, found, ids)
    if watch is not None:
        watch(task, run)
    return {
        "questions": len(task.queries),
        "candidates": len(ids),
        "languages": list(task.languages),
        "about": task.about if store is None else task.about + _loss(store),
        "depth": DEPTH,
        "relevant_missing": len(relevant - ids.present),
        **_means(_per_language(task, run)),
    }


def together(about: str, results: Sequence[Result]) -> Result:
    """One result of several pools, each with languages of its own (MIRACL): its means are over all the languages."""
    languages = [language for result in results for language in result["languages"]]
    twice = sorted({language for language in languages if languages.count(language) > 1})
    if twice or not results:
        raise ValueError(f"results to put together share the languages {twice}: give each language one pool")
    per_language = {language: row for result in results for language, row in result["per_language"].items()}
    return {
        "questions": sum(result["questions"] for result in results),
        "candidates": sum(result["candidates"] for result in results),
        "languages": sorted(languages),
        "about": about,
        "depth": DEPTH,
        "relevant_missing": sum(result["relevant_missing"] for result in results),
        **_means(per_language),
    }


def documents(task: SearchTask) -> Iterator[Document]:
    """(id, text) of the corpus in its order: what `write_store` takes, for a store that `evaluate` searches."""
    return ((candidate.id, candidate.texts[0]) for candidate in task.corpus())


def _loss(store: EmbeddingStore) -> str:
    """What the store's type did to the scores, to be read beside the figures."""
    loss, dtype = store.manifest.loss, store.manifest.recipe.dtype
    return f"; embeddings kept as {dtype}: scores differ by up to {loss.max_score_error:.1g}" if loss else ""


class _Ids:
    """Candidates' ids by row, packed block by block: some 15 bytes each, a fifth of what a list of strings takes."""

    def __init__(self, watched: set[str]) -> None:
        self.present: set[str] = set()
        """Those of `watched` that have been added."""
        self._watched = watched
        self._blocks: list[bytes] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def add(self, names: Sequence[str]) -> None:
        self.present |= self._watched.intersection(names)
        self._ends.append(len(self) + len(names))
        self._blocks.append(json.dumps(names).encode())

    def of(self, rows: Iterable[int]) -> dict[int, str]:
        """{row: id}; every block is unpacked once."""
        found: dict[int, str] = {}
        block, names = -1, []
        for row in sorted(set(rows)):
            if block != bisect_right(self._ends, row):
                block = bisect_right(self._ends, row)
                names = json.loads(self._blocks[block])
            found[row] = names[row - self._ends[block]]  # counted from the block's end
        return found


def _encoded(
    encoder: Encoder, task: SearchTask, ids: _Ids, report: Callable[[int], None]
) -> Iterator[Float32[np.ndarray, "rows dim"]]:
    """The corpus' embeddings, block by block; `ids` gets the ids."""
    candidates = task.corpus()
    while block := list(islice(candidates, CANDIDATES_AT_ONCE)):
        vectors = np.asarray(encoder.encode_passages([candidate.texts[0] for candidate in block]), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(block):
            raise ValueError(f"the encoder returned shape {vectors.shape} for {len(block)} texts: expected a row each")
        ids.add([candidate.id for candidate in block])
        yield vectors
        report(len(ids))


def _run(task: SearchTask, found: TopK, ids: _Ids) -> dict[str, list[tuple[str, float]]]:
    """{query id: its ranking}; raises DataError for a candidate that is found twice."""
    names = ids.of(found.rows[found.rows >= 0].tolist())
    run: dict[str, list[tuple[str, float]]] = {}
    for query, rows, scores in zip(task.queries, found.rows.tolist(), found.scores.tolist(), strict=True):
        ranking = [(names[row], score) for row, score in zip(rows, scores, strict=True) if row >= 0]
        twice = [name for name, count in Counter(name for name, _ in ranking).items() if count > 1]
        if twice:
            raise DataError(f"task {task.name}: candidate {twice[0]!r} is in the corpus more than once: keep one")
        dropped = query.id if task.drop_same_id else None
        run[query.id] = [(name, score) for name, score in ranking if name != dropped][:DEPTH]
    return run


def _per_language(task: SearchTask, run: Run) -> dict[str, Result]:
    judged = metrics.judge(run, task.qrels)
    values = {name: metrics.per_query(judged, metric) for name, metric in METRICS.items()}
    rows: dict[str, Result] = {}
    for language in task.languages:
        mine = [query.id for query in task.queries if query.language == language]
        means = {name: float(np.mean([scores[query] for query in mine])) for name, scores in values.items()}
        rows[language] = {"questions": len(mine), **means}
    return rows


def _means(per_language: Mapping[str, Result]) -> Result:
    means = {name: float(np.mean([row[name] for row in per_language.values()])) for name in METRICS}
    return {**means, "per_language": dict(per_language)}
