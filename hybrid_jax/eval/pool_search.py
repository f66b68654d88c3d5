"""Searches a corpus that streams from disk: each block of it is encoded once, searched for every variant, and dropped.

A corpus in several languages is searched language by language: the best of all languages are the best of these lists,
and the lists themselves are what the modes of search need.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from jaxtyping import Float32

from hybrid_jax.data.records import DataError
from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.eval.encode import Encoder, encode_rows
from hybrid_jax.eval.tasks.base import Candidate, SearchTask
from hybrid_jax.eval.variants import Changed, Variant
from hybrid_jax.search.scores import check_unit
from hybrid_jax.search.top_k import Search, TopK, merge, open_search

DEPTH = 100
"""How many of the best candidates are kept for each query."""
CANDIDATES_AT_ONCE = 16_384
"""Candidates that are in memory at a time, and encoded in one call."""
LEAST_MIB = 8
"""What each of several searches gets at least."""

Lists = Mapping[str, TopK]
"""{language: the best of its candidates for every query}; rows are numbered through the whole corpus."""


@dataclass
class SearchResults:
    """What the searches of one corpus found."""

    lists: dict[str, Lists]
    """{variant: its lists}; "" is the model itself."""
    ids: "Ids"
    judged_languages: dict[str, str] = field(default_factory=dict)
    """{judged candidate: its language}, of those that are in the corpus."""

    def pooled(self, variant: str) -> TopK:
        """The best candidates of all languages."""
        return merge(*self.lists[variant].values())


class Ids:
    """The candidates' ids by row, packed in blocks: some 15 bytes each, a fifth of what a list of strings takes."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def add(self, names: Sequence[str]) -> None:
        """Adds the ids of the next rows."""
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


def search(
    encoder: Encoder,
    task: SearchTask,
    variants: Mapping[str, Variant],
    *,
    store: EmbeddingStore | None = None,
    memory_mib: int = 512,
    report: Callable[[int], None] = lambda _: None,
) -> SearchResults:
    """The best candidates of every query in every language, of the model itself and of each variant.

    See `pools.evaluate` for the arguments and errors.
    """
    survey = task.survey
    queries = np.asarray(encoder.encode_queries([query.text for query in task.queries]), np.float32)
    query_languages = [query.language for query in task.queries]
    changed: dict[str, Changed] = {"": Changed(queries, lambda vectors, _: vectors)}
    changed |= {name: variant(queries, query_languages) for name, variant in variants.items()}
    judged = {candidate for graded in task.qrels.values() for candidate in graded}
    results = SearchResults({}, Ids())
    share = max(LEAST_MIB, memory_mib // (len(changed) * len(survey.languages)))
    # One more where the query's own document may take a place before it is dropped.
    depth = DEPTH + task.drop_same_id
    with ExitStack() as opened:
        searches = {
            name: {
                language: opened.enter_context(open_search(each.queries, depth, memory_mib=share))
                for language in survey.languages
            }
            for name, each in changed.items()
        }
        rows_of: dict[str, list[np.ndarray]] = {language: [] for language in survey.languages}
        for candidates, vectors in _encoded(encoder, task, store):
            first = len(results.ids)
            results.ids.add([candidate.id for candidate in candidates])
            results.judged_languages |= {row.id: row.language for row in candidates if row.id in judged}
            languages = [candidate.language for candidate in candidates]
            places = _places(languages, rows_of.keys(), task.name)
            for language, at in places.items():
                rows_of[language].append(first + at)
            for name, each in changed.items():
                _add(searches[name], np.asarray(each.passages(vectors, languages), np.float32), places)
            report(len(results.ids))
        if len(results.ids) != survey.candidates:
            raise DataError(
                f"task {task.name}: {len(results.ids):,} candidates were encoded, but the corpus had "
                f"{survey.candidates:,} before: it changed meanwhile, or the store is of another corpus; evaluate again"
            )
        numbers = {language: np.concatenate(rows) for language, rows in rows_of.items()}
        for name, by_language in searches.items():
            results.lists[name] = {
                language: _renumbered(each.result(), numbers[language]) for language, each in by_language.items()
            }
    return results


def _encoded(
    encoder: Encoder, task: SearchTask, store: EmbeddingStore | None
) -> Iterator[tuple[list[Candidate], Float32[np.ndarray, "rows dim"]]]:
    """The corpus block by block, with its embeddings."""
    candidates = task.corpus()
    if store is not None:
        start = 0
        ids = store.ids()
        for vectors in store.blocks():
            block = list(islice(candidates, len(vectors)))
            names = ids[start : start + len(vectors)]
            if [candidate.id for candidate in block] != list(names):
                raise DataError(
                    f"task {task.name}: the store's candidates from {start:,} on are others than the corpus': it is of "
                    "another corpus; name another --stores folder"
                )
            start += len(vectors)
            yield block, vectors
        return
    while block := list(islice(candidates, CANDIDATES_AT_ONCE)):
        vectors = encode_rows(encoder.encode_passages, [candidate.texts[0] for candidate in block])
        check_unit(vectors, "candidate")
        yield block, np.asarray(vectors, np.float32)


def _places(languages: Sequence[str], known: Iterable[str], task: str) -> dict[str, np.ndarray]:
    """{language: the places of its candidates in the block}; languages without any are left out."""
    names = np.array(languages)
    places = {language: np.flatnonzero(names == language) for language in known}
    if sum(map(len, places.values())) != len(names):
        raise DataError(f"task {task}: the corpus changed while it was read; evaluate again")
    return {language: at for language, at in places.items() if len(at)}


def _add(searches: Mapping[str, Search], vectors: np.ndarray, places: Mapping[str, np.ndarray]) -> None:
    for language, at in places.items():
        searches[language].add(vectors if len(at) == len(vectors) else vectors[at])


def _renumbered(best: TopK, numbers: np.ndarray) -> TopK:
    """Rows of a language's candidates as rows of the corpus."""
    return TopK(np.where(best.rows >= 0, numbers[best.rows], -1), best.scores)
