"""Exact ranks of the relevant candidates of every query, by counting: without sorting, and without a cut-off.

Most exact scores (`scores.py`) are never computed. A float32 product differs from the exact score by at most
`product_error`, so it decides every comparison of two scores that differ by more. The devices multiply in float32 and
count, in each small group of candidates, how many surely and how many possibly score higher than a relevant one. Where
the two counts differ, the host compares the exact scores of those candidates.
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
"""Candidates that are counted together. They are all in one language."""
RELEVANT_AT_ONCE = 16
"""Relevant candidates that share a row of scores. A query with more of them gets several rows."""
UNSURE_AT_ONCE = 2**14
"""Groups that the host decides at a time."""


def rank_relevant(
    queries: Float[np.ndarray, "queries dim"],
    candidates: Float[np.ndarray, "candidates dim"],
    relevance: Int[np.ndarray, "pairs 2"],
    languages: Sequence[str],
    ids: Sequence[str],
    *,
    memory_mib: int = 256,
) -> Ranks:
    """Ranks every relevant candidate among those of each language, and among all, in one pass over the score matrix.

    `relevance` holds (query row, candidate row) pairs in any order, and the ranks come in the same order. `languages`
    and `ids` give the language and id of each candidate. A rank is 1 + the number of candidates that score higher + the
    number that score the same and win the tie (`TIE_RULE`). `memory_mib` bounds the blocks of scores in memory; the
    float64 copies of the embeddings come on top.

    Raises ValueError for an embedding that is not a finite unit vector.
    """
    check_unit(queries, "query")
    check_unit(candidates, "candidate")
    mesh = make_mesh(MeshConfig(), jax.local_devices())
    order = tie_order(languages, ids)
    tie_position = np.argsort(order)
    layout = _lay_out(languages, order, mesh.size)
    left, right = on_grid(queries), on_grid(candidates)
    relevant_scores = pair_scores(left, right, relevance[:, 0], relevance[:, 1])
    slots = _slots(relevance[:, 0])
    row_queries = relevance[slots[:, 0], 0]
    # A row takes its float32 scores twice on the devices and once here, the counts, and maybe all scores in float64.
    height = max(1, min(len(row_queries), memory_mib * 2**20 // (24 * max(1, layout.candidate.size))))
    rows = np.where(layout.candidate.reshape(-1, 1) < 0, 0, candidates[layout.candidate.ravel()]).astype(np.float32)
    on_devices = jax.device_put((rows, layout.candidate >= 0), batch_sharding(mesh))
    bounds = _bounds(relevant_scores, slots, product_error(queries.shape[1]))
    own = layout.language[relevance[:, 1]]
    above = np.empty((len(relevance), len(layout.first_group)), np.int32)

    def multiply(start: int) -> tuple[jax.Array, ...]:
        block = slice(start, start + height)
        padding = height - len(row_queries[block])
        vectors = np.pad(queries[row_queries[block]].astype(np.float32), [(0, padding), (0, 0)])
        limits = np.pad(bounds[:, block], [(0, 0), (0, padding), (0, 0)], constant_values=np.inf)
        return _count(*jax.device_put((vectors, limits), replicated(mesh)), *on_devices, mesh)

    def decide(start: int, counted: tuple[jax.Array, ...]) -> None:
        scores, surely, possibly = (np.asarray(array) for array in counted)
        block = slice(start, start + height)
        by_group = surely.transpose(1, 2, 0, 3).reshape(*surely.shape[1:3], -1)
        counts = np.add.reduceat(by_group, layout.first_group, axis=2, dtype=np.int64)
        unsure = np.flatnonzero(surely != possibly)
        if len(unsure) > height * by_group.shape[2] // 2:  # near duplicates: computing all exact scores is cheaper
            relevant = relevance[slots[block], 1]
            exact = left[row_queries[block]] @ right[order].T
            counts = _count_all(exact, relevant_scores[slots[block]], tie_position[relevant], layout.language[order])
            unsure = unsure[:0]
        for a in range(0, len(unsure), UNSURE_AT_ONCE):
            device, row, slot, group = np.unravel_index(unsure[a : a + UNSURE_AT_ONCE], surely.shape)
            score = scores[device, row, :, group]
            low, high = bounds[1, start + row, slot, None], bounds[0, start + row, slot, None]
            which, member = np.nonzero((score >= low) & (score <= high))
            row, slot = row[which], slot[which]
            candidate = layout.candidate[device[which], member, group[which]]
            row, slot, candidate = (numbers[candidate >= 0] for numbers in (row, slot, candidate))
            pair = slots[start + row, slot]
            score = pair_scores(left, right, relevance[pair, 0], candidate)
            wins_tie = tie_position[candidate] < tie_position[relevance[pair, 1]]
            better = (score > relevant_scores[pair]) | ((score == relevant_scores[pair]) & wins_tie)
            np.add.at(counts, (row[better], slot[better], layout.language[candidate[better]]), 1)
        row, slot = np.nonzero(slots[block] >= 0)
        above[slots[start + row, slot]] = counts[row, slot]

    pending: deque[tuple[int, tuple[jax.Array, ...]]] = deque()
    for start in range(0, len(row_queries), height):
        pending.append((start, multiply(start)))
        if len(pending) > 1:  # the devices multiply a block while the host decides the one before
            decide(*pending.popleft())
    if pending:
        decide(*pending.popleft())
    pooled = 1 + above.sum(axis=1, dtype=np.int64)
    in_language = 1 + above[np.arange(len(own)), own].astype(np.int64)
    return Ranks(in_language, pooled, above[:, ::-1])  # languages are numbered from the last code to the first


class _Layout(NamedTuple):
    """How candidates are arranged on the devices: in groups, each of one language."""

    candidate: Int[np.ndarray, "devices GROUP groups"]
    """The row of each candidate; -1 is padding, at the end of a language's groups and of the devices."""
    language: Int[np.ndarray, " candidates"]
    """The number of each candidate's language; languages are numbered in tie order."""
    first_group: Int[np.ndarray, " languages"]
    """The first group of each language; groups are numbered through all devices."""


def _lay_out(languages: Sequence[str], order: Int[np.ndarray, " candidates"], devices: int) -> _Layout:
    names = np.array([languages[row] for row in order])
    starts = np.r_[True, names[1:] != names[:-1]][: len(names)]
    first = np.flatnonzero(starts)
    number = np.cumsum(starts) - 1
    groups = -(-np.diff(np.r_[first, len(names)]) // GROUP)
    first_group = np.cumsum(groups) - groups
    width = -(-int(groups.sum()) // devices)
    within = np.arange(len(names)) - first[number]
    group, member = first_group[number] + within // GROUP, within % GROUP
    candidate = np.full((devices, GROUP, width), -1, np.int64)
    candidate[group // width if width else group, member, group % width if width else group] = order
    language = np.empty(len(names), np.int64)
    language[order] = number
    return _Layout(candidate, language, first_group)


def _slots(query: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, "rows slots"]:
    """Arranges the relevant pairs in rows, each of one query: the numbers of its pairs, then -1 as padding."""
    pairs = np.argsort(query, kind="stable")
    _, first, count = np.unique(query[pairs], return_index=True, return_counts=True)
    within = np.arange(len(query)) - np.repeat(first, count)
    width = min(RELEVANT_AT_ONCE, int(count.max(initial=1)))
    rows = -(-count // width)
    slots = np.full((int(rows.sum()), width), -1, np.int64)
    slots[np.repeat(np.cumsum(rows) - rows, count) + within // width, within % width] = pairs
    return slots


def _bounds(
    relevant_scores: Float64[np.ndarray, " pairs"], slots: Int[np.ndarray, "rows slots"], error: float
) -> Float32[np.ndarray, "2 rows slots"]:
    """A float32 product above the first bound surely scores higher than the pair, below the second surely lower."""
    rounded = np.stack(
        [
            np.nextafter((relevant_scores + error).astype(np.float32), np.float32(np.inf)),
            np.nextafter((relevant_scores - error).astype(np.float32), np.float32(-np.inf)),
        ]
    )
    return np.where(slots < 0, np.float32(np.inf), rounded[:, slots])


@partial(jax.jit, static_argnames="mesh")
def _count(
    queries: jax.Array, bounds: jax.Array, rows: jax.Array, real: jax.Array, mesh: Mesh
) -> tuple[jax.Array, ...]:
    """Scores, float32[devices, rows, GROUP, groups]; and how many of each group are above the first bound, and how many
    are at or above the second, both uint8[devices, rows, slots, groups].
    """

    def on_one_device(queries: jax.Array, bounds: jax.Array, rows: jax.Array, real: jax.Array) -> tuple[jax.Array, ...]:
        scores = jnp.dot(queries, rows.T, precision=lax.Precision.HIGHEST).reshape(len(queries), GROUP, -1)

        def add(member: jax.Array, counts: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            score = jnp.where(real[0, member], scores[:, member], -jnp.inf)[:, None]
            above, not_below = score > bounds[0, :, :, None], score >= bounds[1, :, :, None]
            return counts[0] + above.astype(jnp.uint8), counts[1] + not_below.astype(jnp.uint8)

        # Looping over the members of the groups makes each step a comparison of whole vectors.
        zeros = jnp.zeros((*bounds.shape[1:], scores.shape[2]), jnp.uint8)
        surely, possibly = lax.fori_loop(0, GROUP, add, (zeros, zeros))
        return scores[None], surely[None], possibly[None]

    whole, split = replicated(mesh).spec, batch_sharding(mesh).spec
    return jax.shard_map(
        on_one_device, mesh=mesh, in_specs=(whole, whole, split, split), out_specs=split, check_vma=False
    )(queries, bounds, rows, real)


def _count_all(
    scores: Float64[np.ndarray, "rows candidates"],
    relevant_scores: Float64[np.ndarray, "rows slots"],
    tie_positions: Int[np.ndarray, "rows slots"],
    language: Int[np.ndarray, " candidates"],
) -> Int[np.ndarray, "rows slots languages"]:
    """How many candidates of each language rank before the relevant one of each slot. Candidates are in tie order."""
    first, column = np.searchsorted(language, np.arange(language[-1] + 1)), np.arange(len(language))
    counts = []
    for score, position in zip(relevant_scores.T[:, :, None], tie_positions.T[:, :, None], strict=True):
        better = (scores > score) | ((scores == score) & (column < position))
        counts.append(np.add.reduceat(better, first, axis=1, dtype=np.int64))
    return np.stack(counts, axis=1)
