"""Two backends that score queries against a piece of a corpus in float32, while the host does something else.

A single CPU device multiplies with numpy's BLAS, which is faster there than XLA: several threads have a piece each, so
that no thread waits for another. All other devices multiply with XLA, each its own rows. Both keep the scores where
they were computed. They return the maximum of each small group of rows, and all scores of single groups on request.
Rows whose numbers are equal modulo the number of groups form a group, so that the maxima are those of whole vectors.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float32, Int64
from threadpoolctl import threadpool_limits

from hybrid_jax.runtime.mesh import AXES, MeshConfig, batch_sharding, make_mesh, replicated

THREADS = 4
"""The most pieces that BLAS multiplies at a time, each on its share of the cores."""
GROUPS_AT_ONCE = 4096
"""Groups whose scores a device gathers in one call, which is compiled for this shape."""

Gathered = Callable[[], Float32[np.ndarray, "pairs size"]]
"""Waits for the scores of groups, and returns them."""


@runtime_checkable
class Product(Protocol):
    """The scores of a slice of the queries for a piece of the corpus, which may still be being computed."""

    def maxima(self) -> Float32[np.ndarray, "queries groups"]:
        """The maximum score of each group."""
        ...

    def squared_norms(self) -> Float32[np.ndarray, " rows"]:
        """The squared norm of each row of the piece."""
        ...

    def gather(self, query: Int64[np.ndarray, " pairs"], group: Int64[np.ndarray, " pairs"]) -> Gathered:
        """Starts to fetch all scores of single groups; call what it returns to wait for them. Padding scores -inf."""
        ...

    def row_numbers(
        self, group: Int64[np.ndarray, " pairs"], member: Int64[np.ndarray, " pairs"]
    ) -> Int64[np.ndarray, " pairs"]:
        """The row of the piece that is the given member of a group."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Multiplies slices of the queries with pieces of the corpus."""

    devices: int
    """The number of devices."""
    pending_products: int
    """How many products to start before waiting for the first one, so that the devices are never idle."""
    pending_gathers: int
    """How many requests for groups to leave open: their scores arrive only after the products started before them."""
    row_bytes: int
    """The memory that a row of a piece takes, in all products that exist at a time."""

    def load(self, piece: Float32[np.ndarray, "rows dim"], height: int, group: int) -> Callable[[int], Product]:
        """Moves a piece to the devices, padded to `height` rows, which must be a multiple of `group` * `devices`.

        Returns a function that starts the product with the slice of the queries of a given number, for groups of
        `group` rows.
        """
        ...


@contextmanager
def open_backend(
    queries: Float32[np.ndarray, "queries dim"], at_once: int, devices: Sequence[Any]
) -> Iterator[Backend]:
    """A backend for these devices that multiplies slices of `at_once` queries.

    On a single CPU, everything else in the process that uses BLAS is limited to one thread's share of the cores until
    the block ends.
    """
    if len(devices) == 1 and devices[0].platform == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = min(THREADS, cores)
        with threadpool_limits(cores // count, "blas"), ThreadPoolExecutor(count) as threads:
            yield _Blas(queries, at_once, threads, count)
    else:
        yield _Xla(queries, at_once, devices)


class _Blas:
    """Threads that compute a product each with numpy's BLAS, on their share of the cores."""

    devices = 1
    pending_gathers = 0

    def __init__(self, queries: np.ndarray, at_once: int, threads: ThreadPoolExecutor, count: int):
        self._queries, self._at_once, self._threads = queries, at_once, threads
        self.pending_products = count
        self.row_bytes = 4 * (count + 1) * (queries.shape[1] + at_once)

    def load(self, piece: np.ndarray, height: int, group: int) -> Callable[[int], Product]:
        def multiply(queries: np.ndarray) -> tuple[np.ndarray, ...]:
            scores = np.empty((len(queries), height), np.float32)
            np.matmul(queries, piece.T, out=scores[:, : len(piece)])
            scores[:, len(piece) :] = -np.inf
            scores = scores.reshape(len(queries), group, height // group)
            return scores, scores.max(axis=1), np.einsum("rd,rd->r", piece, piece)

        return lambda number: _BlasProduct(
            self._threads.submit(multiply, self._queries[number * self._at_once :][: self._at_once])
        )


class _BlasProduct:
    """The future holds the scores, float32[queries, members of a group, groups], the maxima and the squared norms."""

    def __init__(self, product: Future[tuple[np.ndarray, ...]]):
        self._product = product

    def maxima(self) -> np.ndarray:
        return self._product.result()[1]

    def squared_norms(self) -> np.ndarray:
        return self._product.result()[2]

    def gather(self, query: np.ndarray, group: np.ndarray) -> Gathered:
        return lambda: self._product.result()[0][query, :, group]

    def row_numbers(self, group: np.ndarray, member: np.ndarray) -> np.ndarray:
        return member * self.maxima().shape[1] + group


class _Xla:
    """Devices that hold all queries and a part of each piece. They work through requests in order."""

    pending_products = 1
    pending_gathers = 1

    def __init__(self, queries: np.ndarray, at_once: int, devices: Sequence[Any]):
        self.devices = len(devices)
        # Three pieces, on the host and on the devices, and their products; and a copy of one product, to mask padding.
        self.row_bytes = 4 * (3 * (2 * queries.shape[1] + at_once) + at_once)
        self._mesh = make_mesh(MeshConfig(), devices)
        slices = [queries[a : a + at_once] for a in range(0, len(queries), at_once)]
        self._lengths = [len(part) for part in slices]
        self._slices = [jax.device_put(_padded(part, at_once), replicated(self._mesh)) for part in slices]

    def load(self, piece: np.ndarray, height: int, group: int) -> Callable[[int], Product]:
        rows = jax.device_put(_padded(piece, height), batch_sharding(self._mesh))

        def start(number: int) -> Product:
            arrays = _multiply(
                self._slices[number], rows, jnp.int32(len(piece)), self._mesh, group, height > len(piece)
            )
            return _XlaProduct(self._mesh, self._lengths[number], len(piece), *arrays)

        return start


@dataclass
class _XlaProduct:
    """The arrays that `_multiply` returns, on the devices, and how many of their queries and rows are not padding."""

    mesh: Mesh
    queries: int
    rows: int
    scores: jax.Array
    group_maxima: jax.Array
    squares: jax.Array

    def maxima(self) -> np.ndarray:
        return np.asarray(self.group_maxima)[:, : self.queries].transpose(1, 0, 2).reshape(self.queries, -1)

    def squared_norms(self) -> np.ndarray:
        return np.asarray(self.squares)[: self.rows]

    def gather(self, query: np.ndarray, group: np.ndarray) -> Gathered:
        devices, _, groups = self.group_maxima.shape
        device, local = np.divmod(group, groups)
        counts = np.bincount(device, minlength=devices)
        order = np.argsort(device, kind="stable")
        position = np.empty(len(order), np.int64)  # among the pairs of the same device
        position[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        calls = -(-int(counts.max()) // GROUPS_AT_ONCE)
        indices = np.zeros((2, devices, calls * GROUPS_AT_ONCE), np.int32)
        indices[:, device, position] = query, local
        requests = [
            _gather(self.scores, *jax.device_put(tuple(call), batch_sharding(self.mesh)), self.mesh, groups)
            for call in (np.split(indices, calls, axis=2) if calls else [])
        ]
        size = self.scores.shape[2] // groups

        def wait() -> np.ndarray:
            gathered = np.empty((len(query), size), np.float32)
            for number, scores in enumerate(requests):
                here = position // GROUPS_AT_ONCE == number
                gathered[here] = np.asarray(scores)[device[here], position[here] % GROUPS_AT_ONCE]
            return gathered

        return wait

    def row_numbers(self, group: np.ndarray, member: np.ndarray) -> np.ndarray:
        device, local = np.divmod(group, self.group_maxima.shape[2])
        return device * self.scores.shape[2] + member * self.group_maxima.shape[2] + local


@partial(jax.jit, static_argnames=("mesh", "group", "padded"))
def _multiply(
    queries: jax.Array, rows: jax.Array, valid: jax.Array, mesh: Mesh, group: int, padded: bool
) -> tuple[jax.Array, ...]:
    """The scores of each device's own rows, float32[devices, queries, local rows]; the maxima of their groups of
    `group` rows, float32[devices, queries, groups]; and the squared norms, float32[rows]. Rows from `valid` on are
    padding.
    """

    def on_one_device(queries: jax.Array, rows: jax.Array, valid: jax.Array) -> tuple[jax.Array, ...]:
        scores = jnp.dot(queries, rows.T, precision=lax.Precision.HIGHEST)
        if padded:
            row = lax.axis_index(AXES) * rows.shape[0] + jnp.arange(rows.shape[0])
            scores = jnp.where(row < valid, scores, -jnp.inf)
        maxima = scores.reshape(len(scores), group, -1).max(axis=1)
        return scores[None], maxima[None], jnp.sum(rows * rows, axis=1)

    every, split = replicated(mesh).spec, batch_sharding(mesh).spec
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(every, split, every), out_specs=(split, split, split), check_vma=False
    )(queries, rows, valid)


@partial(jax.jit, static_argnames=("mesh", "groups"))
def _gather(scores: jax.Array, query: jax.Array, group: jax.Array, mesh: Mesh, groups: int) -> jax.Array:
    """Each device's scores for its own (query, group) pairs: float32[devices, pairs, members of a group]."""

    def on_one_device(scores: jax.Array, query: jax.Array, group: jax.Array) -> jax.Array:
        return scores.reshape(scores.shape[1], -1, groups)[query[0], :, group[0]][None]

    split = batch_sharding(mesh).spec
    return jax.shard_map(on_one_device, mesh=mesh, in_specs=(split, split, split), out_specs=split, check_vma=False)(
        scores, query, group
    )


def _padded(rows: np.ndarray, height: int) -> np.ndarray:
    return rows if len(rows) == height else np.pad(rows, [(0, height - len(rows)), (0, 0)])
