"""The three kinds of tasks: queries, candidates, and what is relevant. Each refuses data that cannot be scored.

* `RetrievalTask`: all candidates are in memory and ranked in full (`full_ranking.py`).
* `SearchTask`: the candidates stream from disk and only the best are kept (`pools.py`).
* `BitextTask`: lists of sentences that translate each other (`bitext.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

from hybrid_jax.data.documents import duplicate_error
from hybrid_jax.data.duplicates import Duplicate
from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.survey import Survey, survey


@dataclass(frozen=True, slots=True)
class Query:
    """One question in one language. The same `id` in another language is its translation."""

    id: str
    language: str
    text: str
    where: str = field(default="", compare=False)
    """The file and the line or question that it was read from, for errors."""
    paragraph: str = ""
    """The id, unique in the language, of the paragraph in this language that the question belongs to: that it was
    written on, or is answered by. Questions on one paragraph are resampled together, with their translations. Empty:
    the question stands alone."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage, paragraph or sentence to retrieve. `texts` has one text for each of the task's `candidate_texts`."""

    id: str
    language: str
    texts: tuple[str, ...]
    where: str = field(default="", compare=False)
    """The file and the line or paragraph that it was read from, for errors."""


@dataclass(frozen=True)
class RetrievalTask:
    """A benchmark whose candidates are ranked in full. `relevance` holds (query row, candidate row) pairs, at least one
    per query.

    `candidate_texts` names the ways to write a candidate; the first is the one that tables show. `sources` maps the
    files that the task was read from to their sha256, and `about` describes the task in a line. Raises DataError for
    ids that are not unique in a language and for queries without a relevant candidate.
    """

    name: str
    queries: tuple[Query, ...]
    candidates: tuple[Candidate, ...]
    relevance: Int[np.ndarray, "pairs 2"]
    candidate_texts: tuple[str, ...]
    about: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.queries:
            raise DataError(f"task {self.name}: it has no queries, so there is nothing to measure")
        for side, rows in (("query", self.queries), ("candidate", self.candidates)):
            _check_unique(self.name, side, ((f"{row.language}, {row.id}", row.where) for row in rows))
        if len(np.unique(self.relevance, axis=0)) != len(self.relevance):
            raise DataError(f"task {self.name}: the same (query, candidate) pair is listed twice as relevant")
        missing = np.setdiff1d(np.arange(len(self.queries)), self.relevance[:, 0])
        if len(missing):
            query = self.queries[missing[0]]
            raise DataError(f"task {self.name}: no candidate is relevant to query {query.id!r} ({query.language})")

    def texts(self, candidate_text: str) -> list[str]:
        """The text of every candidate, written as `candidate_text` names. Raises ValueError for an unknown name."""
        if candidate_text not in self.candidate_texts:
            raise ValueError(
                f"task {self.name}: no candidate text {candidate_text!r}: use one of {self.candidate_texts}"
            )
        return [row.texts[self.candidate_texts.index(candidate_text)] for row in self.candidates]


@dataclass(frozen=True)
class SearchTask:
    """A pool too large for memory: each call of `corpus()` reads it from disk, one candidate with one text at a time.

    `qrels` maps each query's id to {candidate id: grade}; grades from 1 on are relevant, unlisted candidates are not.
    `size` is the number of candidates that the pool must have, or None where it is not known. With `drop_same_id`, the
    candidate with the query's own id is left out of its ranking. `about` and `sources` are as in `RetrievalTask`.
    Raises DataError for ids that are not unique and for queries without judgments or without text.
    """

    name: str
    queries: tuple[Query, ...]
    corpus: Callable[[], Iterator[Candidate]]
    qrels: Mapping[str, Mapping[str, int]]
    about: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    drop_same_id: bool = False

    def __post_init__(self) -> None:
        if not self.queries:
            raise DataError(f"task {self.name}: it has no queries, so there is nothing to measure")
        several = len({query.language for query in self.queries}) > 1
        more = "; only pooled: takes one id for the translations of a query" if several else ""
        _check_unique(self.name, "query", ((query.id, query.where) for query in self.queries), more)
        ids = {query.id: query for query in self.queries}
        incomplete = sorted(ids.keys() ^ self.qrels.keys())
        if incomplete:
            lacks = "no judgments" if incomplete[0] in ids else "no text"
            raise DataError(f"task {self.name}: query {incomplete[0]!r} has {lacks}: give both or leave it out")

    @cached_property
    def survey(self) -> Survey:
        """What the corpus holds of the judgments; the corpus is read for it once. Raises DataError as `survey` does."""

        languages: set[str] = set()

        def places() -> Iterator[tuple[str, str]]:
            for number, candidate in enumerate(self.corpus(), start=1):
                languages.add(candidate.language)
                yield candidate.id, candidate.where or f"task {self.name}, candidate {number}"

        surveyed = survey(self.name, places, self.qrels, size=self.size, drop_same_id=self.drop_same_id)
        return replace(surveyed, languages=tuple(sorted(languages)))

    @property
    def languages(self) -> tuple[str, ...]:
        """The query languages, sorted."""
        return tuple(sorted({query.language for query in self.queries}))


@dataclass(frozen=True)
class BitextTask:
    """Sentences and their translations: `pairs` maps two languages to two lists whose items i translate each other.

    `lines` has, for each pair, the number of each sentence's line in texts that are parallel in all languages: the same
    line of two pairs is one question. It is empty where each pair has sentences of its own. `about` and `sources` are
    as in `RetrievalTask`. Raises DataError for lists of different lengths and for a line that is twice in a pair.
    """

    name: str
    pairs: Mapping[tuple[str, str], tuple[Sequence[str], Sequence[str]]]
    about: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.pairs:
            raise DataError(f"task {self.name}: it has no pair of languages, so there is nothing to measure")
        for (left, right), (sentences, translations) in self.pairs.items():
            if len(sentences) != len(translations) or not sentences:
                raise DataError(
                    f"task {self.name}: {len(sentences)} sentences in {left} and {len(translations)} in {right}: "
                    "they must match"
                )
            numbers = self.lines.get((left, right), ())
            if self.lines and not len(set(numbers)) == len(numbers) == len(sentences):
                raise DataError(
                    f"task {self.name}: {len(set(numbers))} line numbers for {len(sentences)} sentences in {left} and "
                    f"{right}: give each sentence its own"
                )


Task = RetrievalTask | SearchTask | BitextTask


def _check_unique(task: str, side: str, places: Iterable[tuple[str, str]], more: str = "") -> None:
    """Raises DataError for an id that occurs twice, with both places and what `more` there is to say."""
    first: dict[str, str] = {}
    for number, (name, where) in enumerate(places, start=1):
        place = where or f"task {task}, {side} {number}"
        if name in first:
            raise DataError(f"{duplicate_error(Duplicate(name, first[name], place), side)}{more}")
        first[name] = place
