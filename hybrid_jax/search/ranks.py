"""Exact ranks of the relevant candidates, by counting: no sort, no cut-off.

Knows: unit vectors, which candidate belongs to which language, which are relevant, devices. Does not know: texts,
benchmarks, metrics, models.

Most exact scores (`scores.py`) are never computed: a float32 product is off by at most `product_error`, whatever the
order of its additions, so that it settles every comparison of two scores that differ by more. The devices multiply in
float32 and count, for each small group of candidates, how many surely and how many possibly score higher than a
relevant one; where the two differ, the host compares those candidates' exact scores.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float, Float32, Float64, Int

from hybrid_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hybrid_jax.search.scores import Ranks, check_unit, on_grid, pair_scores, product_error, tie_order

GROUP = 32
"""Candidates that are counted together; all of one language."""
RELEVANT_AT_ONCE = 16
"""Relevant candidates that share a row of scores; a query that has more gets several rows."""
UNSURE_AT_ONCE = 2**14
"""Groups that the host looks into at a time."""


def rank_relevant(
    queries: Float[np.ndarray, "queries dim"],
    candidates: Float[np.ndarray, "candidates dim"],
    relevance: Int[np.ndarray, "pairs 2"],
    languages: Sequence[str],
    ids: Sequence[str],
    *,
    memory_mib: int = 256,
) -> Ranks:
    """Ranks every relevant candidate among those of its language, and among all, in one pass over the score matrix.

    `relevance` holds (query row, candidate row) pairs in any order; `languages` and `ids` name the candidates;
    `memory_mib` bounds the blocks of scores held at a time (the float64 copies of the embeddings come on top).
    Rank = 1 + how many score higher + how many score the same and win the tie (`TIE_RULE`).
    Raises ValueError for an embedding that is not a finite unit vector.
    """
    check_unit(queries, "query")
    check_unit(candidates, "candidate")
    mesh = make_mesh(MeshConfig(), jax.local_devices())
    order = tie_order(languages, ids)
    place = np.argsort(order)
    lay = _lay_out(languages, order, mesh.size)
    left, right = on_grid(queries), on_grid(candidates)
    wanted = pair_scores(left, right, relevance[:, 0], relevance[:, 1])
    slots = _slots(relevance[:, 0])
    asked = relevance[slots[:, 0], 0]
    # For each row two times float32 scores on the devices, a copy here, the counts, and maybe all scores in float64.
    height = max(1, min(len(asked), memory_mib * 2**20 // (24 * max(1, lay.candidate.size))))
    rows = np.where(lay.candidate.reshape(-1, 1) < 0, 0, candidates[lay.candidate.ravel()]).astype(np.float32)
    on_devices = jax.device_put((rows, lay.candidate >= 0), batch_sharding(mesh))
    bounds = _bounds(wanted, slots, product_error(queries.shape[1]))
    in_language, pooled = np.empty(len(relevance), np.int64), np.empty(len(relevance), np.int64)

    def multiply(start: int) -> tuple[jax.Array, ...]:
        block = slice(start, start + height)
        missing = height - len(asked[block])
        vectors = np.pad(queries[asked[block]].astype(np.float32), [(0, missing), (0, 0)])
        limits = np.pad(bounds[:, block], [(0, 0), (0, missing), (0, 0)], constant_values=np.inf)
        return _count(*jax.device_put((vectors, limits), replicated(mesh)), *on_devices, mesh)

    def settle(start: int, products: tuple[jax.Array, ...]) -> None:
        scores, surely, possibly = (np.asarray(array) for array in products)
        block = slice(start, start + height)
        by_group = surely.transpose(1, 2, 0, 3).reshape(*surely.shape[1:3], -1)
        counts = np.add.reduceat(by_group, lay.first_group, axis=2, dtype=np.int64)
        unsure = np.flatnonzero(surely != possibly)
        if len(unsure) > height * by_group.shape[2] // 2:  # near duplicates: it costs less to score all
            relevant = relevance[slots[block], 1]
            exact = left[asked[block]] @ right[order].T
            counts = _count_all(exact, wanted[slots[block]], place[relevant], lay.language[order])
            unsure = unsure[:0]
        for a in range(0, len(unsure), UNSURE_AT_ONCE):
            device, row, slot, group = np.unravel_index(unsure[a : a + UNSURE_AT_ONCE], surely.shape)
            score = scores[device, row, :, group]
            low, high = bounds[1, start + row, slot, None], bounds[0, start + row, slot, None]
            which, at = np.nonzero((score >= low) & (score <= high))
            row, slot = row[which], slot[which]
            other = lay.candidate[device[which], at, group[which]]
            row, slot, other = (numbers[other >= 0] for numbers in (row, slot, other))
            pair = slots[start + row, slot]
            score = pair_scores(left, right, relevance[pair, 0], other)
            tie = (score == wanted[pair]) & (place[other] < place[relevance[pair, 1]])
            better = tie | (score > wanted[pair])
            np.add.at(counts, (row[better], slot[better], lay.language[other[better]]), 1)
        row, slot = np.nonzero(slots[block] >= 0)
        pair = slots[start + row, slot]
        pooled[pair] = 1 + counts[row, slot].sum(axis=1)
        in_language[pair] = 1 + counts[row, slot, lay.language[relevance[pair, 1]]]

    under_way: deque[tuple[int, tuple[jax.Array, ...]]] = deque()
    for start in range(0, len(asked), height):
        under_way.append((start, multiply(start)))
        if len(under_way) > 1:  # the devices multiply the one while the host settles the other
            settle(*under_way.popleft())
    if under_way:
        settle(*under_way.popleft())
    return Ranks(in_language, pooled)


class _Layout(NamedTuple):
    """Where candidates lie on the devices: in groups of one language each."""

    candidate: Int[np.ndarray, "devices GROUP groups"]
    """Candidate rows; -1 fills up a language's groups, and the devices."""
    language: Int[np.ndarray, " candidates"]
    """Languages' numbers, in tie order."""
    first_group: Int[np.ndarray, " languages"]
    """By language; groups are counted through all devices."""


def _lay_out(languages: Sequence[str], order: Int[np.ndarray, " candidates"], devices: int) -> _Layout:
    names = np.array([languages[row] for row in order])
    new = np.r_[True, names[1:] != names[:-1]][: len(names)]
    first = np.flatnonzero(new)
    number = np.cumsum(new) - 1
    groups = -(-np.diff(np.r_[first, len(names)]) // GROUP)
    first_group = np.cumsum(groups) - groups
    width = -(-int(groups.sum()) // devices)
    within = np.arange(len(names)) - first[number]
    group, at = first_group[number] + within // GROUP, within % GROUP
    candidate = np.full((devices, GROUP, width), -1, np.int64)
    candidate[group // width if width else group, at, group % width if width else group] = order
    language = np.empty(len(names), np.int64)
    language[order] = number
    return _Layout(candidate, language, first_group)


def _slots(query: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, "rows slots"]:
    """Pairs' numbers, those of a row all of one query; -1 where there are no more."""
    pairs = np.argsort(query, kind="stable")
    _, first, count = np.unique(query[pairs], return_index=True, return_counts=True)
    within = np.arange(len(query)) - np.repeat(first, count)
    width = min(RELEVANT_AT_ONCE, int(count.max(initial=1)))
    rows = -(-count // width)
    slots = np.full((int(rows.sum()), width), -1, np.int64)
    slots[np.repeat(np.cumsum(rows) - rows, count) + within // width, within % width] = pairs
    return slots


def _bounds(
    wanted: Float64[np.ndarray, " pairs"], slots: Int[np.ndarray, "rows slots"], error: float
) -> Float32[np.ndarray, "2 rows slots"]:
    """A float32 product above the first surely scores higher than the pair, below the second surely lower."""
    rounded = np.stack(
        [
            np.nextafter((wanted + error).astype(np.float32), np.float32(np.inf)),
            np.nextafter((wanted - error).astype(np.float32), np.float32(-np.inf)),
        ]
    )
    return np.where(slots < 0, np.float32(np.inf), rounded[:, slots])


@partial(jax.jit, static_argnames="mesh")
def _count(
    queries: jax.Array, bounds: jax.Array, rows: jax.Array, real: jax.Array, mesh: Mesh
) -> tuple[jax.Array, ...]:
    """float32[devices, rows, GROUP, groups]: scores; how many of each group lie above the first bounds, and at or above
    the second: uint8[devices, rows, slots, groups]."""

    def on_one_device(queries: jax.Array, bounds: jax.Array, rows: jax.Array, real: jax.Array) -> tuple[jax.Array, ...]:
        scores = jnp.dot(queries, rows.T, precision=lax.Precision.HIGHEST).reshape(len(queries), GROUP, -1)

        def add(member: jax.Array, counts: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            score = jnp.where(real[0, member], scores[:, member], -jnp.inf)[:, None]
            above, not_below = score > bounds[0, :, :, None], score >= bounds[1, :, :, None]
            return counts[0] + above.astype(jnp.uint8), counts[1] + not_below.astype(jnp.uint8)

        # A loop over the groups' members, so that each step compares whole vectors.
        none = jnp.zeros((*bounds.shape[1:], scores.shape[2]), jnp.uint8)
        surely, possibly = lax.fori_loop(0, GROUP, add, (none, none))
        return scores[None], surely[None], possibly[None]

    whole, split = replicated(mesh).spec, batch_sharding(mesh).spec
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(whole, whole, split, split), out_specs=split, check_vma=False
    )(queries, bounds, rows, real)


def _count_all(
    scores: Float64[np.ndarray, "rows candidates"],
    wanted: Float64[np.ndarray, "rows slots"],
    at: Int[np.ndarray, "rows slots"],
    language: Int[np.ndarray, " candidates"],
) -> Int[np.ndarray, "rows slots languages"]:
    """How many candidates of each language rank before the one `at` each slot; all in tie order."""
    first, column = np.searchsorted(language, np.arange(language[-1] + 1)), np.arange(len(language))
    counts = []
    for score, place in zip(wanted.T[:, :, None], at.T[:, :, None], strict=True):
        better = (scores > score) | ((scores == score) & (column < place))
        counts.append(np.add.reduceat(better, first, axis=1, dtype=np.int64))
    return np.stack(counts, axis=1)
