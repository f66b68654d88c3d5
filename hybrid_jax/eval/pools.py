"""Evaluates tasks whose corpus streams from disk: each block of it is encoded, searched and dropped.

A rank follows from the score and, for equal scores, from the id as in trec_eval: the greater ranks first. Only where
equal scores straddle place 100 does the corpus' order decide which of them is among the 100.
"""

import json
from bisect import bisect_right
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
from hybrid_jax.eval.encode import Encoder, encode_rows
from hybrid_jax.eval.measures import macro, metrics
from hybrid_jax.eval.measures.catalogue import POOLS
from hybrid_jax.eval.measures.metrics import Run
from hybrid_jax.eval.report.schema import PoolLanguage, PoolResult
from hybrid_jax.eval.tasks.base import SearchTask
from hybrid_jax.search.scores import check_unit
from hybrid_jax.search.top_k import TopK, top_k

DEPTH = 100
"""How many of the best candidates are kept for each query."""
CANDIDATES_AT_ONCE = 16_384
"""Candidates that are in memory at a time, and encoded in one call."""


@dataclass(frozen=True)
class Stores:
    """Where the embeddings of pools are kept, in a folder each, and the model that makes them."""

    folder: Path
    model: Mapping[str, Any]
    """All that decides the embedding of a text (`embedding_identity`): a store of another model is refused."""
    facts: Mapping[str, Any]
    """Where the encoder came from, for people who read the store's manifest."""
    dtype: Dtype = "float32"
    rows_per_shard: int = CANDIDATES_AT_ONCE
    """Rows that have to be encoded again after a kill, at most."""

    def fill(
        self, encoder: Encoder, task: SearchTask, say: Callable[[str], None] = lambda line: None
    ) -> EmbeddingStore:
        """The task's store for `evaluate`: starts it, resumes it, repairs it, or returns it as it is.

        `say` is called with a line after every shard. Raises StoreError, and changes nothing, where the pool's folder
        holds embeddings of another model, of other settings or of another corpus.
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
) -> PoolResult:
    """Searches one pool with all its queries. Means are over languages, of the mean over a language's queries.

    The corpus is read and encoded `CANDIDATES_AT_ONCE` at a time; `report` is called with how many candidates are
    done, and `watch` with the run that is scored. With `store`, a store of `documents(task)`, the corpus is not
    encoded: the store is searched. `memory_mib` bounds the search (see `search.top_k`).
    Raises DataError as `task.survey` does, before anything is encoded, and ValueError for embeddings that are not
    finite unit vectors.
    """
    survey, ids = task.survey, _Ids()
    queries = np.asarray(encoder.encode_queries([query.text for query in task.queries]), np.float32)
    if store is None:
        blocks = _encoded_blocks(encoder, task, ids, report)
    else:
        ids.add(store.ids())
        blocks = store.blocks()
    # One more where the query's own document may take a place before it is dropped.
    best = top_k(queries, blocks, DEPTH + task.drop_same_id, memory_mib=memory_mib)
    if len(ids) != survey.candidates:
        raise DataError(
            f"task {task.name}: {len(ids):,} candidates were encoded, but the corpus had {survey.candidates:,} before: "
            "it changed meanwhile, or the store is of another corpus; evaluate again"
        )
    run = _run(task, best, ids)
    if watch is not None:
        watch(task, run)
    per_language = _per_language(task, run)
    return PoolResult(
        questions=len(task.queries),
        candidates=len(ids),
        languages=list(task.languages),
        about=task.about if store is None else task.about + _precision_note(store),
        depth=DEPTH,
        relevant_missing=len(survey.missing),
        unanswerable=len(survey.unanswerable),
        per_language=per_language,
        groups={},
        **_means(per_language),
    )


def together(about: str, results: Sequence[PoolResult], trained_on: set[str] | None = None) -> PoolResult:
    """One result of one or more pools, each with languages of its own (MIRACL): the means are over all languages.

    Languages are grouped, by `trained_on` as well where it is given. Raises ValueError for a language in two pools.
    """
    languages = [language for result in results for language in result.languages]
    repeated = sorted({language for language in languages if languages.count(language) > 1})
    if repeated or not results:
        raise ValueError(f"results to put together share the languages {repeated}: give each language one pool")
    per_language = {language: row for result in results for language, row in result.per_language.items()}
    return PoolResult(
        questions=sum(result.questions for result in results),
        candidates=sum(result.candidates for result in results),
        languages=sorted(languages),
        about=about,
        depth=DEPTH,
        relevant_missing=sum(result.relevant_missing for result in results),
        unanswerable=sum(result.unanswerable for result in results),
        per_language=per_language,
        groups=macro.pool_groups(per_language, trained_on),
        **_means(per_language),
    )


def documents(task: SearchTask) -> Iterator[Document]:
    """(id, text) of each candidate in the corpus' order: what `write_store` makes a store for `evaluate` of."""
    return ((candidate.id, candidate.texts[0]) for candidate in task.corpus())


def _precision_note(store: EmbeddingStore) -> str:
    """How much the store's type changes scores, to be read beside the figures; empty for exact ones."""
    loss, dtype = store.manifest.loss, store.manifest.recipe.dtype
    return f"; embeddings kept as {dtype}: scores differ by up to {loss.max_score_error:.1g}" if loss else ""


class _Ids:
    """The candidates' ids by row, packed in blocks: some 15 bytes each, a fifth of what a list of strings takes."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def add(self, names: Sequence[str]) -> None:
        self._ends.append(len(self) + len(names))
        self._blocks.append(json.dumps(names).encode())

    def by_row(self, rows: Iterable[int]) -> dict[int, str]:
        """{row: id} of these rows; every block is unpacked once."""
        id_of_row: dict[int, str] = {}
        block, names = -1, []
        for row in sorted(set(rows)):
            if block != bisect_right(self._ends, row):
                block = bisect_right(self._ends, row)
                names = json.loads(self._blocks[block])
            id_of_row[row] = names[row - self._ends[block]]  # counted from the block's end
        return id_of_row


def _encoded_blocks(
    encoder: Encoder, task: SearchTask, ids: _Ids, report: Callable[[int], None]
) -> Iterator[Float32[np.ndarray, "rows dim"]]:
    """The corpus' embeddings, block by block; adds each block's ids to `ids`."""
    candidates = task.corpus()
    while block := list(islice(candidates, CANDIDATES_AT_ONCE)):
        vectors = encode_rows(encoder.encode_passages, [candidate.texts[0] for candidate in block])
        check_unit(vectors, "candidate")
        ids.add([candidate.id for candidate in block])
        yield np.asarray(vectors, np.float32)
        report(len(ids))


def _run(task: SearchTask, best: TopK, ids: _Ids) -> dict[str, list[tuple[str, float]]]:
    """{query id: its ranking, at most `DEPTH` long}."""
    names = ids.by_row(best.rows[best.rows >= 0].tolist())
    run: dict[str, list[tuple[str, float]]] = {}
    for query, rows, scores in zip(task.queries, best.rows.tolist(), best.scores.tolist(), strict=True):
        ranking = [(names[row], score) for row, score in zip(rows, scores, strict=True) if row >= 0]
        dropped = query.id if task.drop_same_id else None
        run[query.id] = [(name, score) for name, score in ranking if name != dropped][:DEPTH]
    return run


def _per_language(task: SearchTask, run: Run) -> dict[str, PoolLanguage]:
    """Means over the queries of each language, of values per query as trec_eval computes them."""
    judged = metrics.judge(run, task.qrels)
    values = {name: metrics.per_query(judged, metric.values) for name, metric in POOLS.items()}
    rows: dict[str, PoolLanguage] = {}
    for language in task.languages:
        queries = [query.id for query in task.queries if query.language == language]
        means = {name: float(np.mean([by_query[query] for query in queries])) for name, by_query in values.items()}
        rows[language] = PoolLanguage(questions=len(queries), **means)
    return rows


def _means(per_language: Mapping[str, PoolLanguage]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in per_language.values()])) for name in POOLS}
