"""Evaluates tasks whose corpus streams from disk: each block of it is encoded, searched and dropped.

A rank follows from the score and, for equal scores, from the id as in trec_eval: the greater ranks first. Only where
equal scores straddle place 100 does the corpus' order decide which of them is among the 100.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from hybrid_jax.embed.quantization import Dtype
from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.embed.store_format import Manifest, Recipe
from hybrid_jax.embed.store_writer import Document, write_store
from hybrid_jax.eval.encode import Encoder
from hybrid_jax.eval.measures import macro, pool_values
from hybrid_jax.eval.measures.catalogue import FIRST_RESULT, POOLS
from hybrid_jax.eval.measures.metrics import Run
from hybrid_jax.eval.measures.per_query import Table, joined
from hybrid_jax.eval.pool_search import CANDIDATES_AT_ONCE, DEPTH, Ids, search
from hybrid_jax.eval.report.schema import PoolLanguage, PoolResult
from hybrid_jax.eval.tasks.base import SearchTask
from hybrid_jax.eval.variants import Variant
from hybrid_jax.search.top_k import TopK


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


class Measured(NamedTuple):
    """What was measured of one pool, or of several together."""

    result: PoolResult
    per_query: Table


def evaluate(
    encoder: Encoder,
    task: SearchTask,
    *,
    store: EmbeddingStore | None = None,
    memory_mib: int = 512,
    report: Callable[[int], None] = lambda _: None,
    watch: Callable[[SearchTask, Run], None] | None = None,
) -> PoolResult:
    """Searches one pool with all its queries; see `measure`."""
    return measure(encoder, task, store=store, memory_mib=memory_mib, report=report, watch=watch)[""].result


def measure(
    encoder: Encoder,
    task: SearchTask,
    variants: Mapping[str, Variant] | None = None,
    *,
    store: EmbeddingStore | None = None,
    memory_mib: int = 512,
    report: Callable[[int], None] = lambda _: None,
    watch: Callable[[SearchTask, Run], None] | None = None,
    cutoffs: Sequence[int] = (),
) -> dict[str, Measured]:
    """Searches one pool with all its queries: {"": the model itself, name of a variant: after its change}.

    Means are over languages, of the mean over a language's queries. The corpus is read and encoded once,
    `pool_search.CANDIDATES_AT_ONCE` at a time; `report` is called with how many candidates are done, and `watch` with
    the run that is scored. With `store`, a store of `documents(task)`, the corpus is read and not encoded: the store is
    searched. `memory_mib` bounds the search (see `search.top_k`). Values at `cutoffs`, up to `DEPTH`, are added.
    Raises DataError as `task.survey` does, before anything is encoded, and ValueError for embeddings that are not
    finite unit vectors.
    """
    searched = search(encoder, task, variants or {}, store=store, memory_mib=memory_mib, report=report)
    results: dict[str, Measured] = {}
    for name, lists in searched.lists.items():
        run = _run(task, searched.pooled(name), searched.ids)
        if watch is not None and not name:
            watch(task, run)
        several = (
            {language: _run(task, best, searched.ids) for language, best in lists.items()} if len(lists) > 1 else {}
        )
        table = pool_values.table(task, run, several, searched.judged_languages, DEPTH, cutoffs)
        results[name] = Measured(_result(task, table, store), table)
    return results


def _result(task: SearchTask, table: Table, store: EmbeddingStore | None) -> PoolResult:
    survey = task.survey
    return PoolResult(
        questions=len(task.queries),
        candidates=survey.candidates,
        languages=list(task.languages),
        about=task.about if store is None else task.about + _precision_note(store),
        depth=DEPTH,
        relevant_missing=len(survey.missing),
        unanswerable=len(survey.unanswerable),
        **_means(table),
    )


def together(about: str, parts: Mapping[str, Measured], trained_on: set[str] | None = None) -> Measured:
    """One result of one or more pools, each with languages of its own (MIRACL): the means are over all languages.

    `parts` are what was measured of each task, by its name. Languages are grouped, by `trained_on` as well where it is
    given. Raises ValueError for a language in two pools.
    """
    results = [part.result for part in parts.values()]
    languages = [language for result in results for language in result.languages]
    repeated = sorted({language for language in languages if languages.count(language) > 1})
    if repeated or not results:
        raise ValueError(f"results to put together share the languages {repeated}: give each language one pool")
    tables = {task: part.per_query for task, part in parts.items()}
    table = joined(tables) if len(tables) > 1 else next(iter(tables.values()))
    means = _means(table)
    result = PoolResult(
        questions=sum(result.questions for result in results),
        candidates=sum(result.candidates for result in results),
        languages=sorted(languages),
        about=about,
        depth=DEPTH,
        relevant_missing=sum(result.relevant_missing for result in results),
        unanswerable=sum(result.unanswerable for result in results),
        groups=macro.pool_groups(means["per_language"], trained_on),
        **means,
    )
    return Measured(result, table)


def documents(task: SearchTask) -> Iterator[Document]:
    """(id, text) of each candidate in the corpus' order: what `write_store` makes a store for `evaluate` of."""
    return ((candidate.id, candidate.texts[0]) for candidate in task.corpus())


def _precision_note(store: EmbeddingStore) -> str:
    """How much the store's type changes scores, to be read beside the figures; empty for exact ones."""
    loss, dtype = store.manifest.loss, store.manifest.recipe.dtype
    return f"; embeddings kept as {dtype}: scores differ by up to {loss.max_score_error:.1g}" if loss else ""


def _run(task: SearchTask, best: TopK, ids: Ids) -> dict[str, list[tuple[str, float]]]:
    """{query id: its ranking, at most `DEPTH` long}."""
    names = ids.by_row(best.rows[best.rows >= 0].tolist())
    run: dict[str, list[tuple[str, float]]] = {}
    for query, rows, scores in zip(task.queries, best.rows.tolist(), best.scores.tolist(), strict=True):
        ranking = [(names[row], score) for row, score in zip(rows, scores, strict=True) if row >= 0]
        dropped = query.id if task.drop_same_id else None
        run[query.id] = [(name, score) for name, score in ranking if name != dropped][:DEPTH]
    return run


def _means(table: Table) -> dict[str, Any]:
    """The fields of a `PoolResult` that are means of the table's values, and their intervals."""
    languages = np.array(table.languages)
    per_language: dict[str, PoolLanguage] = {}
    values = {name: table.part("search")[name] for name in POOLS}
    for language in np.unique(languages).tolist():
        of_language = languages == language
        means = {name: float(array[of_language].mean()) for name, array in values.items()}
        per_language[language] = PoolLanguage(questions=int(of_language.sum()), **means)
    first = {name: array for name, array in table.part("search").items() if name in FIRST_RESULT}
    return {
        "per_language": per_language,
        "intervals": macro.limits(macro.estimates(table, values)),
        "modes": macro.modes(table),
        "cutoffs": macro.cutoffs(table),
        "first_result": macro.estimates(table, first),
        **{name: float(np.mean([row[name] for row in per_language.values()])) for name in POOLS},
    }
