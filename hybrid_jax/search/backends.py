"""Scores of a piece of a corpus in float32, worked out while the host does something else: by devices, or by BLAS.

Knows: vectors, devices, groups of rows. Does not know: which scores matter, or what they are exactly (`search.py`).

A single CPU device multiplies by numpy's BLAS, faster than by XLA: some threads with a piece each, of which none waits
for another. Anything else multiplies by XLA, every device its own rows. Both keep the scores where they are and give
the greatest of each small group of rows, and on demand all scores of single groups. Rows that are equal modulo the
number of groups make a group, so that the greatest is one of whole vectors.
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
"""At most so many pieces are multiplied at a time by BLAS, each on its share of the cores."""
GROUPS_AT_ONCE = 4096
"""Groups whose scores a device gives in one call: one compiled shape."""

Picked = Callable[[], Float32[np.ndarray, "pairs size"]]


@runtime_checkable
class Product(Protocol):
    """The scores of a piece for some queries, under way or done."""

    def maxima(self) -> Float32[np.ndarray, "queries groups"]:
        """The greatest score of each group."""
        ...

    def squares(self) -> Float32[np.ndarray, " rows"]:
        """The rows' squared lengths."""
        ...

    def pick(self, query: Int64[np.ndarray, " pairs"], group: Int64[np.ndarray, " pairs"]) -> Picked:
        """Asks for all scores of single groups; the call of what it returns waits for them. Padding scores -inf."""
        ...

    def rows(
        self, group: Int64[np.ndarray, " pairs"], place: Int64[np.ndarray, " pairs"]
    ) -> Int64[np.ndarray, " pairs"]:
        """Which row of the piece each place of a picked group is."""
        ...


@runtime_checkable
class Multiplier(Protocol):
    """Multiplies the queries, slice by slice, with pieces of a corpus."""

    devices: int
    ahead: int
    """Products to have under way before the maxima of the first are asked for: so the machine is never idle."""
    behind: int
    """Products whose groups were picked to leave waiting: their scores come after the products under way."""
    row_bytes: int
    """What a row of a piece takes, in all products that are held at a time."""

    def load(self, piece: Float32[np.ndarray, "rows dim"], height: int, group: int) -> Callable[[int], Product]:
        """Brings a piece to where it is multiplied, padded to `height` rows, which `group` times `devices` divides.

        What it returns starts the product with one slice of the queries, its rows in groups of `group`.
        """
        ...


@contextmanager
def multiplier(
    queries: Float32[np.ndarray, "queries dim"], at_once: int, devices: Sequence[Any]
) -> Iterator[Multiplier]:
    """What multiplies slices of `at_once` queries on these devices.

    With one CPU, all that the process computes by BLAS in the meantime has the threads' shares of the cores too.
    """
    if len(devices) == 1 and devices[0].platform == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = min(THREADS, cores)
        with threadpool_limits(cores // count, "blas"), ThreadPoolExecutor(count) as threads:
            yield _Blas(queries, at_once, threads, count)
    else:
        yield _Mesh(queries, at_once, devices)


class _Blas:
    """Threads that give numpy's BLAS one product each, on their shares of the cores."""

    devices = 1
    behind = 0

    def __init__(self, queries: np.ndarray, at_once: int, threads: ThreadPoolExecutor, count: int):
        self._queries, self._at_once, self._threads = queries, at_once, threads
        self.ahead = count
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
    """Scores float32[queries, size of a group, groups], maxima and squares."""

    def __init__(self, done: Future[tuple[np.ndarray, ...]]):
        self._done = done

    def maxima(self) -> np.ndarray:
        return self._done.result()[1]

    def squares(self) -> np.ndarray:
        return self._done.result()[2]

    def pick(self, query: np.ndarray, group: np.ndarray) -> Picked:
        return lambda: self._done.result()[0][query, :, group]

    def rows(self, group: np.ndarray, place: np.ndarray) -> np.ndarray:
        return place * self.maxima().shape[1] + group


class _Mesh:
    """Devices that hold all queries and a part of each piece, and do what they are asked in that order."""

    ahead = 1
    behind = 1

    def __init__(self, queries: np.ndarray, at_once: int, devices: Sequence[Any]):
        self.devices = len(devices)
        # Three pieces, here and there, and their products; and a copy of one where padding is masked.
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
            return _MeshProduct(self._mesh, self._lengths[number], len(piece), *arrays)

        return start


@dataclass
class _MeshProduct:
    """What `_multiply` gives, on the devices, and how many queries and rows of it are no padding."""

    mesh: Mesh
    queries: int
    length: int
    on_devices: jax.Array
    greatest: jax.Array
    squared: jax.Array

    def maxima(self) -> np.ndarray:
        return np.asarray(self.greatest)[:, : self.queries].transpose(1, 0, 2).reshape(self.queries, -1)

    def squares(self) -> np.ndarray:
        return np.asarray(self.squared)[: self.length]

    def pick(self, query: np.ndarray, group: np.ndarray) -> Picked:
        devices, _, groups = self.greatest.shape
        device, local = np.divmod(group, groups)
        counts = np.bincount(device, minlength=devices)
        order = np.argsort(device, kind="stable")
        place = np.empty(len(order), np.int64)  # among the pairs of the same device
        place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        calls = -(-int(counts.max()) // GROUPS_AT_ONCE)
        indices = np.zeros((2, devices, calls * GROUPS_AT_ONCE), np.int32)
        indices[:, device, place] = query, local
        asked = [
            _pick(self.on_devices, *jax.device_put(tuple(call), batch_sharding(self.mesh)), self.mesh, groups)
            for call in (np.split(indices, calls, axis=2) if calls else [])
        ]
        size = self.on_devices.shape[2] // groups

        def wait() -> np.ndarray:
            found = np.empty((len(query), size), np.float32)
            for number, scores in enumerate(asked):
                here = place // GROUPS_AT_ONCE == number
                found[here] = np.asarray(scores)[device[here], place[here] % GROUPS_AT_ONCE]
            return found

        return wait

    def rows(self, group: np.ndarray, place: np.ndarray) -> np.ndarray:
        device, local = np.divmod(group, self.greatest.shape[2])
        return device * self.on_devices.shape[2] + place * self.greatest.shape[2] + local


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


def _padded(rows: np.ndarray, height: int) -> np.ndarray:
    return rows if len(rows) == height else np.pad(rows, [(0, height - len(rows)), (0, 0)])
