"""A streamed corpus is read once before anything is encoded: its ids, its size, and what of the judgments it holds."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from hybrid_jax.data.documents import duplicate_error
from hybrid_jax.data.duplicates import Ids, Places
from hybrid_jax.data.records import DataError

Qrels = Mapping[str, Mapping[str, int]]
"""{query id: {candidate id: grade}}; grades from 1 on are relevant."""

_COMPARED = 10_000
_SAME_BUT: Mapping[str, Callable[[str], str]] = {
    "in white space": lambda name: "".join(name.split()),
    "in case": lambda name: name.strip().casefold(),
    "in how a number is written": lambda name: re.sub(r"^0+(?=\d)|\.0+$", "", name.strip()),
    "in what stands before or after the number": lambda name: "".join(re.findall(r"\d+", name)[-1:]),
}
"""How the ids of two files can differ though they name the same documents: what is equal then."""


@dataclass(frozen=True)
class Survey:
    """What a corpus holds of what a task needs."""

    name: str
    """The task's."""
    candidates: int
    queries: int
    relevant: int
    """Distinct candidates that are relevant to a query."""
    missing: frozenset[str]
    """Those of them that the corpus lacks; they count as not retrieved."""
    unanswerable: tuple[str, ...]
    """Ids of queries without a relevant candidate in the corpus; every metric counts them as 0."""
    languages: tuple[str, ...] = ()
    """The candidates' languages, sorted."""

    def lines(self) -> list[str]:
        """What to tell the user before the task is evaluated; [] if nothing is missing."""
        lines = []
        if self.missing:
            lines.append(
                f"{self.name}: {len(self.missing):,} of {self.relevant:,} relevant candidates are not among the "
                f"{self.candidates:,} of the corpus (such as {min(self.missing)!r}); they count as not retrieved"
            )
        if self.unanswerable:
            lines.append(
                f"{self.name}: {len(self.unanswerable):,} of {self.queries:,} queries have no relevant candidate in "
                f"the corpus (such as {self.unanswerable[0]!r}); they count as 0"
            )
        return lines


def survey(
    name: str, corpus: Callable[[], Places], qrels: Qrels, *, size: int | None = None, drop_same_id: bool = False
) -> Survey:
    """Reads the whole corpus, once: `corpus()` gives the candidates' ids and where each is.

    Memory holds eight bytes per candidate, and the judged ids. `size` is how many candidates there must be, None where
    it is not known. With `drop_same_id`, a query's own id is not among its candidates.

    Raises DataError for an id that occurs twice, another size, a corpus without any judged candidate, and a task in
    which no query has a relevant candidate left.
    """
    judged = {candidate for graded in qrels.values() for candidate in graded}
    ids, present = Ids(), set[str]()
    for candidate, _ in corpus():
        ids.add(candidate)
        if candidate in judged:
            present.add(candidate)
    count = len(ids)
    if not count or size not in (None, count):
        raise DataError(
            f"task {name}: {count:,} candidates, expected {'some' if size is None else f'{size:,}'}: "
            "a file is missing, cut short or of another version; fetch the corpus again"
        )
    duplicate = ids.duplicate(corpus)
    if duplicate is not None:
        raise duplicate_error(duplicate, "document")
    if judged and not present:
        raise DataError(nothing_in_common(f"task {name}", (candidate for candidate, _ in corpus()), judged))
    relevant = {query: {name for name, grade in graded.items() if grade > 0} for query, graded in qrels.items()}
    unanswerable = tuple(
        query for query, names in relevant.items() if not (names & present) - ({query} if drop_same_id else set())
    )
    if len(unanswerable) == len(qrels):
        raise DataError(
            f"task {name}: no query has a relevant candidate in the corpus, so every figure would be 0: give the "
            f"corpus and the qrels of one benchmark (query {unanswerable[0]!r}: {_judgments(qrels[unanswerable[0]])})"
        )
    distinct = set().union(*relevant.values())
    return Survey(name, count, len(qrels), len(distinct), frozenset(distinct - present), unanswerable)


def nothing_in_common(where: str, corpus: Iterable[str], judged: Iterable[str]) -> str:
    """The message for a corpus that holds none of the judged ids: an id of each, and how they differ if that is plain.

    The first 10,000 ids of the corpus are compared.
    """
    corpus_ids, judged_ids = list(islice(corpus, _COMPARED)), sorted(judged)
    message = f"{where}: nothing of the qrels is in the corpus"
    difference = how_ids_differ(corpus_ids, judged_ids)
    if difference:
        return f"{message}: {difference.format('the corpus', 'the qrels')}"
    return (
        f"{message}: an id of the corpus is {corpus_ids[0]!r}, one of the qrels {judged_ids[0]!r}: give the corpus "
        "and the qrels of one benchmark"
    )


def how_ids_differ(left: Iterable[str], right: Iterable[str]) -> str:
    """How ids of two files differ, as a sentence with {0} and {1} for the files; "" if the difference is not plain."""
    left, right = tuple(left), tuple(right)
    for difference, normalised in _SAME_BUT.items():
        by_key = {normalised(name): name for name in right}
        for name in left:
            key = normalised(name)
            if key and key in by_key:
                ids = [repr(each).replace("{", "{{").replace("}", "}}") for each in (name, by_key[key])]
                return f"ids differ {difference}, {ids[0]} in {{0}} and {ids[1]} in {{1}}: write them alike"
    return ""


def _judgments(graded: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name!r} has grade {grade}" for name, grade in islice(graded.items(), 3))
    return shown or "it has no judgments"
