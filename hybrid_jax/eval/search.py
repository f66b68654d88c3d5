"""The k best candidates of every query, exactly, over a corpus that streams past in blocks.

Knows: unit vectors, devices, a memory budget. Does not know: texts, ids, where blocks come from (`store.py`), metrics;
approximate search, which is faiss's.

Why no block size, device count or process count changes a result. A score is the exact dot product of two embeddings
rounded to a grid (see `scores.py`), rounded once to float32; a candidate is then one integer, its score's bits above
its row's, so that "score descending, row ascending" is an order without ties and the k greatest of a union are the k
greatest of its parts' k greatest.

Devices only propose. They multiply in float32, whose last bits depend on the shape of the block; how far those scores
can be off is bounded whatever the order of the additions (`product_error`). Every row whose score could be among the k
best within that bound is scored exactly on the host. To find such rows without sorting all, devices give the host the
greatest score of each small group of rows, and then all scores of the few groups that reach the k-th held score. Where
too many do (a corpus of near duplicates), the host scores all the block's rows for that query.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float32, Int64, UInt64

from hybrid_jax.eval.scores import check_unit, on_grid, product_error
from hybrid_jax.runtime.mesh import AXES, MeshConfig, batch_sharding, make_mesh, replicated

QUERIES_AT_ONCE = 1024
"""Queries that are multiplied with a block together; the corpus passes once, however many queries there are."""
IN_FLIGHT = 2
"""Products held at a time: the devices work on one while the host settles the one before."""
GROUPS_AT_ONCE = 4096
"""Groups whose scores a device gives in one call: one compiled shape."""
PAIRS_AT_ONCE = 64
"""Pairs whose float64 copies are held at a time: they fit in a core's cache."""
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
) -> Found:
    """The k best of all candidates in `blocks`, which are numbered through in order from `first_row`.

    Every process searches its own blocks on its own devices; processes that hold parts of one corpus say with
    `first_row` where theirs begins, and `merge` makes one result of theirs. `memory_mib` bounds the candidates,
    products and copies held at a time; the queries, the result and the caller's own block come on top. A block must not
    be changed after it was given.
    Raises ValueError for an embedding that is not a finite unit vector, a block of another shape or type, and a budget
    too small for one row per device.
    """
    if k < 1:
        raise ValueError(f"k={k}: ask for 1 candidate or more")
    search = _Search(queries, k, memory_mib * 2**20, first_row)
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


class _Product(NamedTuple):
    """The scores of a piece for some queries; arrays begin with an axis of devices, and stay on them."""

    piece: np.ndarray
    first_row: int
    part: slice
    scores: jax.Array
    maxima: jax.Array
    squares: jax.Array


class _Closer(NamedTuple):
    """Where a product's scores reach the threshold: per device (query, group) pairs, and the groups' scores."""

    threshold: np.ndarray
    at: list[tuple[np.ndarray, ...]]
    scores: list[jax.Array]
    crowded: np.ndarray


class _Search:
    """The k best so far, and the product that is under way."""

    def __init__(self, queries: np.ndarray, k: int, memory: int, first_row: int):
        check_unit(queries, "query")
        self._k, self._next_row = k, first_row
        self._mesh = make_mesh(MeshConfig(), jax.local_devices())
        self._held = np.zeros((len(queries), k), np.uint64)
        self._queries = on_grid(queries)
        self._error = product_error(queries.shape[1])
        self._under_way: _Product | None = None
        count = max(1, -(-len(queries) // QUERIES_AT_ONCE))
        step = max(1, -(-len(queries) // count))
        self._slices = [slice(a, min(a + step, len(queries))) for a in range(0, len(queries), step)]
        self._on_device = [
            jax.device_put(_padded(queries[part], step), replicated(self._mesh)) for part in self._slices
        ]
        # Candidates: IN_FLIGHT pieces, here and on the devices. Products: as many, and a copy where padding is masked.
        per_row = 4 * IN_FLIGHT * (2 * queries.shape[1] + 2 * step)
        self._spare = memory // 4
        height = (memory - self._spare) // per_row // self._mesh.size * self._mesh.size
        self._unit = min(128 * self._mesh.size, height)
        if height == 0:
            needed = -(-per_row * self._mesh.size * 4 // 3 // 2**20)
            raise ValueError(f"memory_mib={memory >> 20}: one row per device takes {needed} MiB, give at least that")
        self.height = height // self._unit * self._unit
        """Candidates of a piece."""

    def add(self, piece: np.ndarray) -> None:
        """Searches the next piece: the devices multiply it while the product before is settled."""
        if self._next_row + len(piece) > MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS:,} candidates: a row number has 32 bits, search in parts")
        # Full pieces share one shape; the last one gets its own, rounded so that small corpora share some.
        rows = -(-len(piece) // self._unit) * self._unit
        on_device = jax.device_put(_padded(piece, rows), batch_sharding(self._mesh))
        # Groups as large as leaves 8 times as many as candidates are wanted: most of the k best lie in different ones.
        group = math.gcd(rows // self._mesh.size, 2 ** int(np.log2(np.clip(rows / (8 * self._k), 1, 64))))
        for part, queries in zip(self._slices, self._on_device, strict=True):
            before = self._under_way
            closer = None if before is None else self._look_closer(before)
            arrays = _multiply(queries, on_device, jnp.int32(len(piece)), self._mesh, group, rows > len(piece))
            self._under_way = _Product(piece, self._next_row, part, *arrays)
            if before is not None and closer is not None:
                self._settle(before, closer)
        self._next_row += len(piece)

    def found(self) -> Found:
        """The result, when all pieces were added."""
        if self._under_way is not None:
            self._settle(self._under_way, self._look_closer(self._under_way))
            self._under_way = None
        return _unpack(self._held)

    def _look_closer(self, product: _Product) -> _Closer:
        """Asks the devices for the scores of all groups whose greatest could be among the k best."""
        _check_lengths(np.asarray(product.squares)[: len(product.piece)], product.first_row)
        part, k = product.part, self._k
        maxima = np.asarray(product.maxima)[:, : part.stop - part.start].transpose(1, 0, 2)
        queries, devices, groups = maxima.shape
        maxima = maxima.reshape(queries, devices * groups)
        threshold = _score(self._held[part, -1]).astype(np.float64) - self._error
        many = np.flatnonzero(np.count_nonzero(maxima >= threshold[:, None], axis=1) > k)
        if len(many):  # k rows of this piece score at least the k-th maximum, so that the k-th best does
            kth = np.partition(maxima[many], -k, axis=1)[:, -k]
            threshold[many] = np.maximum(threshold[many], kth.astype(np.float64) - 2 * self._error)
        chosen = maxima >= threshold[:, None]
        crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > 2 * k)
        chosen[crowded] = False

        at = [np.nonzero(chosen[:, d * groups : (d + 1) * groups]) for d in range(devices)]
        calls = -(-max(len(query) for query, _ in at) // GROUPS_AT_ONCE)
        indices = np.zeros((2, devices, calls * GROUPS_AT_ONCE), np.int32)
        for d, pairs in enumerate(at):
            indices[:, d, : len(pairs[0])] = pairs
        scores = []
        for call in np.split(indices, calls, axis=2) if calls else []:
            query, group = jax.device_put(tuple(call), batch_sharding(self._mesh))
            scores.append(_pick(product.scores, query, group, self._mesh, groups))
        return _Closer(threshold, at, scores, crowded)

    def _settle(self, product: _Product, closer: _Closer) -> None:
        """Scores exactly what reaches the threshold, and takes the k best of that and the held."""
        piece, first_row, part = product.piece, product.first_row, product.part
        held = self._held[part]
        best = held.copy()
        found = []
        for call, scores in enumerate(closer.scores):
            for d, of_groups in enumerate(np.asarray(scores)):
                query, group = (every[call * GROUPS_AT_ONCE :][:GROUPS_AT_ONCE] for every in closer.at[d])
                pair, place = np.nonzero(of_groups[: len(query)] >= closer.threshold[query, None])
                rows = d * product.scores.shape[2] + place * product.maxima.shape[2] + group[pair]
                found.append(np.stack([query[pair], rows])[:, rows < len(piece)])
        if found:
            query, rows = np.concatenate(found, axis=1)
            query, rows = (numbers[np.argsort(query, kind="stable")] for numbers in (query, rows))
            keys = _pack(self._exact(query + part.start, piece, rows), rows + first_row)
            asked, first, new = np.unique(query, return_index=True, return_counts=True)
            wide = np.zeros((len(asked), self._k + int(new.max(initial=0))), np.uint64)
            wide[:, : self._k] = held[asked]
            wide[np.repeat(np.arange(len(asked)), new), self._k + np.arange(len(query)) - np.repeat(first, new)] = keys
            best[asked] = _greatest(wide, self._k)
        if len(closer.crowded):
            queries = self._queries[part][closer.crowded]
            best[closer.crowded] = self._all_rows(held[closer.crowded], queries, piece, first_row)
        self._held[part] = best

    def _exact(self, query: np.ndarray, piece: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float32[pairs]: the scores of single pairs."""
        scores = np.empty(len(query), np.float32)
        for a in range(0, len(query), PAIRS_AT_ONCE):
            pairs = slice(a, a + PAIRS_AT_ONCE)
            scores[pairs] = np.einsum("pd,pd->p", self._queries[query[pairs]], on_grid(piece[rows[pairs]]))
        return scores

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


@partial(jax.jit, static_argnames=("mesh", "group", "padded"))
def _multiply(
    queries: jax.Array, rows: jax.Array, valid: jax.Array, mesh: Mesh, group: int, padded: bool
) -> tuple[jax.Array, ...]:
    """Scores of each device's own rows: float32[devices, queries, local rows]; the greatest of each group of `group`:
    float32[devices, queries, groups]; squared lengths: float32[rows]. Rows from `valid` on are padding.

    Rows that are equal modulo the number of groups make a group: so the maximum is one of whole vectors.
    """

    def on_one_device(queries: jax.Array, rows: jax.Array, valid: jax.Array) -> tuple[jax.Array, ...]:
        scores = jnp.dot(queries, rows.T, precision=lax.Precision.HIGHEST)
        if padded:
            row = lax.axis_index(AXES) * rows.shape[0] + jnp.arange(rows.shape[0])
            scores = jnp.where(row < valid, scores, -jnp.inf)
        maxima = scores.reshape(len(scores), group, -1).max(axis=1)
        return scores[None], maxima[None], jnp.sum(rows * rows, axis=1)

    whole, split = replicated(mesh).spec, batch_sharding(mesh).spec
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(whole, split, whole), out_specs=(split, split, split), check_vma=False
    )(queries, rows, valid)


@partial(jax.jit, static_argnames=("mesh", "groups"))
def _pick(scores: jax.Array, query: jax.Array, group: jax.Array, mesh: Mesh, groups: int) -> jax.Array:
    """float32[devices, pairs, rows of a group]: each device's scores of its own (query, group) pairs."""

    def on_one_device(scores: jax.Array, query: jax.Array, group: jax.Array) -> jax.Array:
        return scores.reshape(scores.shape[1], -1, groups)[query[0], :, group[0]][None]

    split = batch_sharding(mesh).spec
    return jax.shard_map(on_one_device, mesh=mesh, in_specs=(split, split, split), out_specs=split, check_vma=False)(
        scores, query, group
    )


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


def _padded(rows: np.ndarray, height: int) -> np.ndarray:
    return rows if len(rows) == height else np.pad(rows, [(0, height - len(rows)), (0, 0)])


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
