"""The k best candidates of every query, exactly, in a corpus that is read once, in blocks.

Why no block size, device count or process count changes a result. A score is the exact dot product of two embeddings
rounded to a grid (see `scores.py`), rounded once to float32. A candidate is then one integer, a key: the bits of its
score above those of its row number. Keys order candidates by descending score, then ascending row, without ties; and
the k greatest keys of a union are the k greatest among the k greatest of its parts.

The float32 products (`backends.py`) only preselect. Their last bits depend on the shape of the block, but their error
is bounded for any order of additions (`product_error`), and every row that could be among the k best within that bound
is scored exactly. To find such rows without sorting all of them, a product first returns the maximum of each small
group of rows, and then all scores of the few groups whose maximum reaches the k-th best score so far. If there are too
many (in a corpus of near duplicates), all rows of the piece are scored exactly for that query.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int64, UInt64

from hybrid_jax.search.backends import Backend, Gathered, Product, open_backend
from hybrid_jax.search.pieces import Pieces
from hybrid_jax.search.scores import check_unit, on_grid, pair_scores, product_error

QUERIES_AT_ONCE = 1024
"""Queries that are multiplied with a block at a time. The corpus is read once, however many queries there are."""
MAX_ROWS = 2**32 - 1

Keys = UInt64[np.ndarray, "queries any"]


class TopK(NamedTuple):
    """The rows and scores of the best candidates of every query, best first; equal scores are ordered by row.

    Queries with fewer than k candidates have rows of -1 and scores of -inf at the end.
    """

    rows: Int64[np.ndarray, "queries k"]
    scores: Float32[np.ndarray, "queries k"]


def top_k(
    queries: Float32[np.ndarray, "queries dim"],
    blocks: Iterable[Float32[np.ndarray, "_ dim"]],
    k: int,
    *,
    memory_mib: int = 512,
    first_row: int = 0,
    devices: Sequence[Any] | None = None,
) -> TopK:
    """Returns the k best of all candidates in `blocks`, whose rows are numbered in order from `first_row`.

    A process searches its own blocks on its own `devices`, by default all it has. If several processes search parts of
    one corpus, each gives the number of its part's first row, and `merge` combines their results. `memory_mib` bounds
    the candidates, products and copies in memory; the queries, the result and the caller's own block come on top. A
    block must not be changed after it was yielded.

    Raises ValueError for an embedding that is not a finite unit vector, for a block of another shape or type, and for a
    budget that is too small for one row per device.
    """
    with open_search(queries, k, memory_mib=memory_mib, first_row=first_row, devices=devices) as search:
        for block in blocks:
            search.add(block)
        return search.result()


@contextmanager
def open_search(
    queries: Float32[np.ndarray, "queries dim"],
    k: int,
    *,
    memory_mib: int = 512,
    first_row: int = 0,
    devices: Sequence[Any] | None = None,
) -> Iterator["Search"]:
    """A search whose candidates are given block by block, for several searches over one corpus; see `top_k`."""
    if k < 1:
        raise ValueError(f"k={k}: ask for 1 candidate or more")
    count = max(1, -(-len(queries) // QUERIES_AT_ONCE))
    step = max(1, -(-len(queries) // count))
    slices = [slice(a, a + step) for a in range(0, len(queries), step)]
    with open_backend(queries, step, devices or jax.local_devices()) as backend:
        yield Search(queries, slices, backend, k, memory_mib * 2**20, first_row)


def merge(*results: TopK) -> TopK:
    """Combines results for the same queries and k, each from its own part of the corpus (see `first_row`).

    Raises ValueError for results of different shapes.
    """
    shapes = {part.rows.shape for part in results}
    if len(shapes) != 1:
        raise ValueError(f"results of shapes {sorted(shapes)} cannot be merged: give the same queries and k to all")
    k = results[0].rows.shape[1]
    return _unpack(_greatest(np.concatenate([_pack(part.scores, part.rows) for part in results], axis=1), k))


class _Pending(NamedTuple):
    """A product that was started, of a piece and a slice of the queries."""

    product: Product
    piece: np.ndarray
    first_row: int
    queries: slice


class _Shortlist(NamedTuple):
    """The groups of a product that could hold one of the k best, as (query, group) pairs ordered by query."""

    threshold: np.ndarray
    """float32[queries]: a score below it is not among the k best."""
    query: np.ndarray
    group: np.ndarray
    scores: Gathered
    crowded: np.ndarray
    """Queries with too many such groups, which are not among the pairs."""


class Search:
    """The k best candidates so far, and the products that are still being computed. `open_search` makes one."""

    def __init__(
        self, queries: np.ndarray, slices: Sequence[slice], backend: Backend, k: int, memory: int, first_row: int
    ):
        check_unit(queries, "query")
        self._slices, self._backend, self._k, self._next_row = slices, backend, k, first_row
        self._best = np.zeros((len(queries), k), np.uint64)
        self._queries = on_grid(queries)
        self._error = product_error(queries.shape[1])
        self._started: deque[_Pending] = deque()
        self._shortlisted: deque[tuple[_Pending, _Shortlist]] = deque()
        devices, per_row = backend.devices, backend.row_bytes
        self._spare = memory // 4
        height = (memory - self._spare) // per_row // devices * devices
        self._unit = min(128 * devices, height)
        if height == 0:
            needed = -(-per_row * devices * 4 // 3 // 2**20)
            raise ValueError(f"memory_mib={memory >> 20}: one row per device takes {needed} MiB, give at least that")
        self._pieces = Pieces(height // self._unit * self._unit, queries.shape[1])

    def add(self, block: np.ndarray) -> None:
        """Searches the next candidates, float32[rows, dim]; the block must not be changed. Raises as `top_k` does."""
        for piece in self._pieces.add(block):
            self._add(piece)

    def result(self) -> TopK:
        """The k best of all candidates that were added; nothing can be added afterwards."""
        for piece in self._pieces.rest():
            self._add(piece)
        self._advance(0, 0)
        return _unpack(self._best)

    def _add(self, piece: np.ndarray) -> None:
        """Starts to search the next piece, and finishes pieces before it while it is being multiplied."""
        if self._next_row + len(piece) > MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS:,} candidates: a row number has 32 bits, search in parts")
        # All full pieces have one shape. The last one's is rounded up, so that small corpora share compiled functions.
        height = -(-len(piece) // self._unit) * self._unit
        # The largest groups that leave 8 k of them, so that most of the k best are in different groups.
        group = 2 ** int(np.log2(np.clip(height / (8 * self._k), 1, 64)))
        multiply = self._backend.load(piece, height, math.gcd(height // self._backend.devices, group))
        for number, queries in enumerate(self._slices):
            self._started.append(_Pending(multiply(number), piece, self._next_row, queries))
            self._advance(self._backend.pending_products, self._backend.pending_gathers)
        self._next_row += len(piece)

    def _advance(self, pending_products: int, pending_gathers: int) -> None:
        while len(self._started) > pending_products:
            product = self._started.popleft()
            self._shortlisted.append((product, self._shortlist(product)))
        while len(self._shortlisted) > pending_gathers:
            self._update(*self._shortlisted.popleft())

    def _shortlist(self, pending: _Pending) -> _Shortlist:
        """Finds the groups whose maximum could be among the k best, and starts to fetch their scores."""
        _check_norms(pending.product.squared_norms(), pending.first_row)
        maxima, k = pending.product.maxima(), self._k
        threshold = self._threshold(pending.queries)
        query, group = _where(maxima, threshold)
        many = np.flatnonzero(np.bincount(query, minlength=len(maxima)) > k)
        if len(many):  # k rows of this piece score at least the k-th greatest maximum, so the k-th best does too
            kth = np.partition(maxima[many], -k, axis=1)[:, -k]
            threshold[many] = np.maximum(threshold[many], _below(kth.astype(np.float64) - 2 * self._error))
            query, group = _where(maxima, threshold)
        crowded = np.bincount(query, minlength=len(maxima)) > 2 * k
        query, group = query[~crowded[query]], group[~crowded[query]]
        return _Shortlist(threshold, query, group, pending.product.gather(query, group), np.flatnonzero(crowded))

    def _update(self, pending: _Pending, shortlist: _Shortlist) -> None:
        """Computes exact scores of what reaches the threshold, and adds them to the k best."""
        piece, first_row, queries = pending.piece, pending.first_row, pending.queries
        before = self._best[queries]
        best = before.copy()
        threshold = np.maximum(shortlist.threshold, self._threshold(queries))
        pair, member = _where(shortlist.scores(), threshold[shortlist.query])
        if len(pair):
            query, rows = shortlist.query[pair], pending.product.row_numbers(shortlist.group[pair], member)
            query, rows = query[rows < len(piece)], rows[rows < len(piece)]
            scores = pair_scores(self._queries[queries], piece, query, rows).astype(np.float32)
            changed, first, count = np.unique(query, return_index=True, return_counts=True)
            keys = np.zeros((len(changed), self._k + int(count.max(initial=0))), np.uint64)
            keys[:, : self._k] = before[changed]
            column = self._k + np.arange(len(query)) - np.repeat(first, count)
            keys[np.repeat(np.arange(len(changed)), count), column] = _pack(scores, rows + first_row)
            best[changed] = _greatest(keys, self._k)
        if len(shortlist.crowded):
            crowded = self._queries[queries][shortlist.crowded]
            best[shortlist.crowded] = self._all_rows(before[shortlist.crowded], crowded, piece, first_row)
        self._best[queries] = best

    def _threshold(self, queries: slice) -> np.ndarray:
        """float32[queries]: a product below it cannot have an exact score that reaches the k-th best so far."""
        return _below(_score(self._best[queries, -1]).astype(np.float64) - self._error)

    def _all_rows(self, before: np.ndarray, queries: np.ndarray, piece: np.ndarray, first_row: int) -> np.ndarray:
        """The k greatest keys among those from `before` and those of all rows of the piece."""
        best = before.copy()
        high = 64  # queries at a time
        wide = max(1, (self._spare - 24 * high * self._k) // (16 * piece.shape[1] + 32 * high))
        for b in range(0, len(piece), wide):
            rows = on_grid(piece[b : b + wide])
            numbers = first_row + b + np.arange(len(rows))
            for a in range(0, len(queries), high):
                keys = _pack((queries[a : a + high] @ rows.T).astype(np.float32), numbers)
                best[a : a + high] = _greatest(np.concatenate([best[a : a + high], keys], axis=1), self._k)
        return best


def _check_norms(squared_norms: np.ndarray, first_row: int) -> None:
    wrong = np.flatnonzero(~(np.abs(squared_norms - 1) < 2e-3))  # a comparison with NaN is false, so NaN is wrong too
    if len(wrong):
        raise ValueError(
            f"candidate {first_row + wrong[0]} has norm {np.sqrt(squared_norms[wrong[0]]):g} ({len(wrong)} of the "
            f"{len(squared_norms)} from {first_row} on are wrong): the encoder must return finite vectors of norm 1"
        )


def _below(values: np.ndarray) -> np.ndarray:
    """The values as float32 numbers that are not greater."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


def _where(scores: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the scores that reach their row's threshold, ordered by row."""
    flat = np.flatnonzero(scores >= threshold[:, None])  # several times faster than np.nonzero
    return flat // scores.shape[1], flat % scores.shape[1]


def _pack(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint64 keys whose ascending order is by ascending score, then descending row. Row -1 has key 0, the smallest."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    keys = (ordered.astype(np.uint64) << np.uint64(32)) | (MAX_ROWS - rows).astype(np.uint64)
    return np.where(rows < 0, np.uint64(0), keys)


def _score(keys: np.ndarray) -> np.ndarray:
    """The float32 scores in the keys; -inf for key 0."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> 31, ordered ^ np.uint32(1 << 31), ~ordered)
    return np.where(keys == 0, np.float32(-np.inf), bits.view(np.float32))


def _unpack(keys: np.ndarray) -> TopK:
    rows = MAX_ROWS - (keys & np.uint64(MAX_ROWS)).astype(np.int64)
    return TopK(np.where(keys == 0, -1, rows), _score(keys))


def _greatest(keys: np.ndarray, k: int) -> np.ndarray:
    """The k greatest keys of each row, greatest first."""
    if keys.shape[1] > 4 * k:
        keys = np.partition(keys, keys.shape[1] - k, axis=1)[:, -k:]
    return np.sort(keys, axis=1)[:, ::-1][:, :k]
