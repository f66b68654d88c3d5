"""The k best candidates of every query, exactly, over a corpus that streams past in blocks.

Knows: unit vectors, devices, a memory budget. Does not know: texts, ids, where blocks come from (`store.py`), metrics;
approximate search, which is faiss's.

Why no block size, device count or process count changes a result. A score is the exact dot product of two embeddings
rounded to a grid (see `scores.py`), rounded once to float32; a candidate is then one integer, its score's bits above
its row's, so that "score descending, row ascending" is an order without ties and the k greatest of a union are the k
greatest of its parts' k greatest.

Products (`backends.py`) only propose. They are made in float32, whose last bits depend on the shape of the block; how
far those scores can be off is bounded whatever the order of the additions (`product_error`). Every row whose score
could be among the k best within that bound is scored exactly. To find such rows without sorting all, a product gives
the greatest score of each small group of rows, and then all scores of the few groups that reach the k-th held score.
Where too many do (a corpus of near duplicates), all the block's rows are scored exactly for that query.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int64, UInt64

from hybrid_jax.search.backends import Multiplier, Picked, Product, multiplier
from hybrid_jax.search.scores import check_unit, on_grid, pair_scores, product_error

QUERIES_AT_ONCE = 1024
"""Queries that are multiplied with a block together; the corpus passes once, however many queries there are."""
MAX_ROWS = 2**32 - 1

Keys = UInt64[np.ndarray, "queries any"]


class Found(NamedTuple):
    """The best candidates of every query, the best first: their rows and scores; -1 and -inf where there are no more.

    Equal scores: the smaller row first.
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
) -> Found:
    """The k best of all candidates in `blocks`, which are numbered through in order from `first_row`.

    Every process searches its own blocks on its own `devices` (all that it has); processes that hold parts of one
    corpus say with `first_row` where theirs begins, and `merge` makes one result of theirs. `memory_mib` bounds the
    candidates, products and copies held at a time; the queries, the result and the caller's own block come on top. A
    block must not be changed after it was given.
    Raises ValueError for an embedding that is not a finite unit vector, a block of another shape or type, and a budget
    too small for one row per device.
    """
    if k < 1:
        raise ValueError(f"k={k}: ask for 1 candidate or more")
    count = max(1, -(-len(queries) // QUERIES_AT_ONCE))
    step = max(1, -(-len(queries) // count))
    slices = [slice(a, a + step) for a in range(0, len(queries), step)]
    with multiplier(queries, step, devices or jax.local_devices()) as multiply:
        search = _Search(queries, slices, multiply, k, memory_mib * 2**20, first_row)
        for piece in _pieces(blocks, search.height, queries.shape[1]):
            search.add(piece)
        return search.found()


def merge(*found: Found) -> Found:
    """One result of several for the same queries and k, each over its own part of the corpus (`first_row`)."""
    shapes = {part.rows.shape for part in found}
    if len(shapes) != 1:
        raise ValueError(f"results of shapes {sorted(shapes)} cannot be merged: give the same queries and k to all")
    k = found[0].rows.shape[1]
    return _unpack(_greatest(np.concatenate([_pack(part.scores, part.rows) for part in found], axis=1), k))


class _UnderWay(NamedTuple):
    """A product of a piece and a slice of the queries."""

    product: Product
    piece: np.ndarray
    first_row: int
    part: slice


class _Closer(NamedTuple):
    """Where a product's scores can reach the threshold: (query, group) pairs by query, and the groups' scores."""

    threshold: np.ndarray
    query: np.ndarray
    group: np.ndarray
    scores: Picked
    crowded: np.ndarray


class _Search:
    """The k best so far, and the products that are under way."""

    def __init__(
        self, queries: np.ndarray, slices: Sequence[slice], multiplier: Multiplier, k: int, memory: int, first_row: int
    ):
        check_unit(queries, "query")
        self._slices, self._multiplier, self._k, self._next_row = slices, multiplier, k, first_row
        self._held = np.zeros((len(queries), k), np.uint64)
        self._queries = on_grid(queries)
        self._error = product_error(queries.shape[1])
        self._started: deque[_UnderWay] = deque()
        self._looked: deque[tuple[_UnderWay, _Closer]] = deque()
        devices, per_row = multiplier.devices, multiplier.row_bytes
        self._spare = memory // 4
        height = (memory - self._spare) // per_row // devices * devices
        self._unit = min(128 * devices, height)
        if height == 0:
            needed = -(-per_row * devices * 4 // 3 // 2**20)
            raise ValueError(f"memory_mib={memory >> 20}: one row per device takes {needed} MiB, give at least that")
        self.height = height // self._unit * self._unit
        """Candidates of a piece."""

    def add(self, piece: np.ndarray) -> None:
        """Searches the next piece: it is being multiplied while products before it are settled."""
        if self._next_row + len(piece) > MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS:,} candidates: a row number has 32 bits, search in parts")
        # Full pieces share one shape; the last one gets its own, rounded so that small corpora share some.
        height = -(-len(piece) // self._unit) * self._unit
        # Groups as large as leaves 8 times as many as candidates are wanted: most of the k best lie in different ones.
        group = 2 ** int(np.log2(np.clip(height / (8 * self._k), 1, 64)))
        multiply = self._multiplier.load(piece, height, math.gcd(height // self._multiplier.devices, group))
        for number, part in enumerate(self._slices):
            self._started.append(_UnderWay(multiply(number), piece, self._next_row, part))
            self._advance(self._multiplier.ahead, self._multiplier.behind)
        self._next_row += len(piece)

    def found(self) -> Found:
        """The result, when all pieces were added."""
        self._advance(0, 0)
        return _unpack(self._held)

    def _advance(self, ahead: int, behind: int) -> None:
        while len(self._started) > ahead:
            before = self._started.popleft()
            self._looked.append((before, self._look_closer(before)))
        while len(self._looked) > behind:
            self._settle(*self._looked.popleft())

    def _look_closer(self, before: _UnderWay) -> _Closer:
        """Asks for the scores of all groups whose greatest could be among the k best."""
        _check_lengths(before.product.squares(), before.first_row)
        maxima, k = before.product.maxima(), self._k
        threshold = self._least(before.part)
        query, group = _where(maxima, threshold)
        many = np.flatnonzero(np.bincount(query, minlength=len(maxima)) > k)
        if len(many):  # k rows of this piece score at least the k-th maximum, so that the k-th best does
            kth = np.partition(maxima[many], -k, axis=1)[:, -k]
            threshold[many] = np.maximum(threshold[many], _below(kth.astype(np.float64) - 2 * self._error))
            query, group = _where(maxima, threshold)
        crowded = np.bincount(query, minlength=len(maxima)) > 2 * k
        query, group = query[~crowded[query]], group[~crowded[query]]
        return _Closer(threshold, query, group, before.product.pick(query, group), np.flatnonzero(crowded))

    def _settle(self, before: _UnderWay, closer: _Closer) -> None:
        """Scores exactly what reaches the threshold, and takes the k best of that and the held."""
        piece, first_row, part = before.piece, before.first_row, before.part
        held = self._held[part]
        best = held.copy()
        threshold = np.maximum(closer.threshold, self._least(part))
        pair, place = _where(closer.scores(), threshold[closer.query])
        if len(pair):
            query, rows = closer.query[pair], before.product.rows(closer.group[pair], place)
            query, rows = query[rows < len(piece)], rows[rows < len(piece)]
            scores = pair_scores(self._queries[part], piece, query, rows).astype(np.float32)
            asked, first, new = np.unique(query, return_index=True, return_counts=True)
            wide = np.zeros((len(asked), self._k + int(new.max(initial=0))), np.uint64)
            wide[:, : self._k] = held[asked]
            column = self._k + np.arange(len(query)) - np.repeat(first, new)
            wide[np.repeat(np.arange(len(asked)), new), column] = _pack(scores, rows + first_row)
            best[asked] = _greatest(wide, self._k)
        if len(closer.crowded):
            queries = self._queries[part][closer.crowded]
            best[closer.crowded] = self._all_rows(held[closer.crowded], queries, piece, first_row)
        self._held[part] = best

    def _least(self, part: slice) -> np.ndarray:
        """float32[queries]: what a product must reach for its score to reach the k-th held one."""
        return _below(_score(self._held[part, -1]).astype(np.float64) - self._error)

    def _all_rows(self, held: np.ndarray, queries: np.ndarray, piece: np.ndarray, first_row: int) -> np.ndarray:
        """The k best keys of the held ones and of all rows of the piece."""
        best = held.copy()
        high = 64  # queries at a time
        wide = max(1, (self._spare - 24 * high * self._k) // (16 * piece.shape[1] + 32 * high))
        for b in range(0, len(piece), wide):
            rows = on_grid(piece[b : b + wide])
            numbers = first_row + b + np.arange(len(rows))
            for a in range(0, len(queries), high):
                keys = _pack((queries[a : a + high] @ rows.T).astype(np.float32), numbers)
                best[a : a + high] = _greatest(np.concatenate([best[a : a + high], keys], axis=1), self._k)
        return best


def _pieces(blocks: Iterable[np.ndarray], height: int, dim: int) -> Iterator[np.ndarray]:
    """The blocks' rows in pieces of `height`, the last one shorter. A piece within a block is not copied."""
    waiting: list[np.ndarray] = []
    missing = height
    for number, block in enumerate(blocks):
        if block.ndim != 2 or block.shape[1] != dim or block.dtype != np.float32:
            raise ValueError(
                f"block {number} is {block.dtype}{list(block.shape)}: the queries ask for float32[rows, {dim}]"
            )
        start = 0
        while len(block) - start >= missing:
            end = block[start : start + missing]
            yield np.concatenate([*waiting, end]) if waiting else end
            start, missing, waiting = start + missing, height, []
        if start < len(block):
            waiting.append(block[start:])
            missing -= len(block) - start
    if waiting:
        yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]


def _check_lengths(squares: np.ndarray, first_row: int) -> None:
    wrong = np.flatnonzero(~(np.abs(squares - 1) < 2e-3))  # NaN compares false, so it is caught here as well
    if len(wrong):
        raise ValueError(
            f"candidate {first_row + wrong[0]} has norm {np.sqrt(squares[wrong[0]]):g} ({len(wrong)} of the "
            f"{len(squares)} from {first_row} on are wrong): the encoder must return finite vectors of norm 1"
        )


def _below(values: np.ndarray) -> np.ndarray:
    """float32s that are no greater."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


def _where(scores: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of what reaches its row's least, row by row. Found in a flat array, which numpy does fast."""
    flat = np.flatnonzero(scores >= least[:, None])
    return flat // scores.shape[1], flat % scores.shape[1]


def _pack(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint64 keys that sort as (score ascending, row descending); 0, less than any other, for row -1."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    keys = (ordered.astype(np.uint64) << np.uint64(32)) | (MAX_ROWS - rows).astype(np.uint64)
    return np.where(rows < 0, np.uint64(0), keys)


def _score(keys: np.ndarray) -> np.ndarray:
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> 31, ordered ^ np.uint32(1 << 31), ~ordered)
    return np.where(keys == 0, np.float32(-np.inf), bits.view(np.float32))


def _unpack(keys: np.ndarray) -> Found:
    rows = MAX_ROWS - (keys & np.uint64(MAX_ROWS)).astype(np.int64)
    return Found(np.where(keys == 0, -1, rows), _score(keys))


def _greatest(keys: np.ndarray, k: int) -> np.ndarray:
    """The k greatest of each row, the greatest first."""
    if keys.shape[1] > 4 * k:
        keys = np.partition(keys, keys.shape[1] - k, axis=1)[:, -k:]
    return np.sort(keys, axis=1)[:, ::-1][:, :k]
