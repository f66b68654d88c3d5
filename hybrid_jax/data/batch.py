"""A batch: which texts it has, their tokens, and its packed rows as numpy arrays."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple, TypeVar

import numpy as np

from hybrid_jax.data.layout import Layout
from hybrid_jax.data.packing import Array, PackedTexts, fill, pack
from hybrid_jax.data.pairing import Pairs
from hybrid_jax.data.schedule import BatchPlan, Part
from hybrid_jax.data.tokens import TokenTable

T = TypeVar("T")


class TeacherVectors(NamedTuple):
    """What a teacher makes of a host's records: float32[rows, dim] each, of length 1; zeros where it knows no text."""

    queries: Array
    passages: Array
    """Of the positives."""


class PackedBatch(NamedTuple):
    """One host's part of a batch, as the devices take it."""

    sides: tuple[PackedTexts, ...]
    """All texts, packed together; or queries and passages apart, where each has its own tower."""
    query_group: Array
    """int32[rows]: this host's rows of the batch."""
    passage_group: Array
    """int32[rows x (1 + hard negatives)]"""
    parallel: Array | None = None
    """int32[rows], if asked for: this host's part of `Batch.parallel`."""
    teacher: TeacherVectors | None = None
    """To which the model's vectors regress, with distillation."""


@dataclass(frozen=True)
class Batch:
    """One step's batch over all hosts. Its texts are numbered: the queries, then the passages."""

    plan: BatchPlan
    ids: list[str]
    """Record ids, one for each row, and likewise the languages' codes of the queries and of the positive passages."""
    query_languages: list[str]
    passage_languages: list[str]
    tables: tuple[TokenTable, TokenTable]
    """Tokens of queries and passages."""
    pairs: Pairs
    pad_id: int

    @property
    def parts(self) -> Iterator[tuple[Part, slice]]:
        """The parts of the plan, each with its rows of the batch."""
        last = 0
        for part in self.plan.parts:
            first, last = last, last + len(part.rows)
            yield part, slice(first, last)

    @property
    def lengths(self) -> np.ndarray:
        """int64[texts]: token counts."""
        queries, passages = self.tables
        return np.concatenate([queries.lengths(self.pairs.queries), passages.lengths(self.pairs.passages.ravel())])

    def tokens(self, numbers: np.ndarray) -> np.ndarray:
        """int32[tokens]: the token ids of the texts with these numbers, in increasing order, one after the other."""
        queries, passages = self.tables
        rows = len(self.ids)
        own, other = numbers[numbers < rows], numbers[numbers >= rows] - rows
        return np.concatenate(
            [queries.tokens(self.pairs.queries[own]), passages.tokens(self.pairs.passages.ravel()[other])]
        )

    def sides(self, apart: bool) -> list[np.ndarray]:
        """The numbers of the texts that are packed together: all of them, or queries and passages `apart`."""
        numbers = np.arange(len(self.ids) + self.pairs.passages.size)
        return np.split(numbers, [len(self.ids)]) if apart else [numbers]

    def pack(
        self, layouts: Sequence[Layout], host: int = 0, hosts: int = 1, with_parallel: bool = False
    ) -> PackedBatch:
        """The rows of process `host` out of `hosts`. With two layouts, queries and passages are packed apart."""
        lengths, sides = self.lengths, []
        for layout, numbers in zip(layouts, self.sides(len(layouts) > 1), strict=True):
            places = pack(lengths[numbers], layout.length, layout.slots)
            shape = layout.shape(places.rows)
            sides.append(
                fill(places, numbers, lengths[numbers], self.tokens, len(lengths), shape, self.pad_id, host, hosts)
            )
        rows = len(self.ids) // hosts
        own = slice(host * rows, (host + 1) * rows)
        query_group, passage_group = self.pairs.groups[own], self.pairs.passage_groups[own].ravel()
        packed = PackedBatch(tuple(sides), query_group.astype(np.int32), passage_group.astype(np.int32))
        return packed._replace(parallel=self.parallel[own]) if with_parallel else packed

    @property
    def parallel(self) -> np.ndarray:
        """int32[rows]: of each row of an aligned part, the row that has the part's next query of its record, in a
        circle. Every other row is its own: a query of another part may be the same text."""
        parallel = np.arange(len(self.ids), dtype=np.int32)
        for part, rows in self.parts:
            if part.kind == "aligned":
                parallel[rows] = rows.start + next_in_circle(self.pairs.records[rows])
        return parallel

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits: a hash of the global batch's kind, dataset, record ids and languages, row by row."""
        rows = (self.plan.kind, self.plan.dataset, self.ids, self.query_languages, self.passage_languages)
        return sha256(repr(rows).encode()).hexdigest()[:16]


def next_in_circle(values: np.ndarray) -> np.ndarray:
    """int32[values]: the position of the next equal value, of the last one that of the first."""
    order = np.argsort(values, kind="stable")
    is_first = np.diff(values[order], prepend=-1) != 0  # records are numbered from 0
    first = np.flatnonzero(is_first)
    after = np.arange(1, len(values) + 1)
    after[np.append(first[1:], len(values)) - 1] = first
    following = np.empty(len(values), np.int32)
    following[order] = order[after]
    return following


def prefetch(make: Callable[[int], T], first: int, last: int, depth: int = 2) -> Iterator[T]:
    """Yields what `make` gives for steps `first` to `last` - 1; a thread makes the next `depth` meanwhile."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        ahead = [pool.submit(make, step) for step in range(first, min(first + depth, last))]
        for step in range(first, last):
            batch = ahead.pop(0).result()
            if step + depth < last:
                ahead.append(pool.submit(make, step + depth))
            yield batch
