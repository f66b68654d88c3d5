"""Rows compared with all candidates, block by block, so that no device holds the scores of all its rows at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hybrid_jax.runtime.mesh import batch_sharding, replicated

BLOCK_BYTES = 16 * 2**20
"""The most float32 scores that a device computes at a time. Batches with fewer are one block, without a loop."""

Results = TypeVar("Results")


def by_blocks(
    compare: Callable[[Any, Any], Results],
    rows: Any,
    whole: Any,
    row_bytes: int,
    mesh: Mesh | None,
    block_bytes: int = BLOCK_BYTES,
) -> Results:
    """`compare(rows, whole)`, in one go, or each device its own rows, block by block.

    `rows` is a tree of arrays with equal first axes, which are split over the devices of `mesh`; `whole` is a tree that
    every block needs. `compare` returns a tree of arrays with one element for each row, each computed from that row and
    `whole` alone; with more than one block it is computed again in the backward pass. A block has at most `block_bytes`
    of scores, `row_bytes` a row, but at least one row.
    """
    count = len(jax.tree.leaves(rows)[0]) // (1 if mesh is None else mesh.size)
    blocks = _number_of_blocks(count, max(block_bytes // row_bytes, 1))
    if blocks == 1:
        return compare(rows, whole)
    if mesh is None:
        return _one_after_another(compare, rows, whole, blocks)
    axes = mesh.axis_names

    # By shard_map, so that no block has rows of another device.
    def on_device(rows: Any, whole: Any) -> Results:
        # Varying before the loop, not in it: devices then add up their gradients once, not in every block.
        whole = jax.lax.pcast(whole, axes, to="varying")
        return _one_after_another(compare, rows, whole, blocks)

    split = batch_sharding(mesh).spec
    return jax.shard_map(on_device, mesh=mesh, in_specs=(split, replicated(mesh).spec), out_specs=split)(rows, whole)


def _number_of_blocks(rows: int, most_rows: int) -> int:
    """The fewest equal blocks of at most `most_rows`."""
    return next(blocks for blocks in range(-(-rows // most_rows), rows + 1) if rows % blocks == 0)


def _one_after_another(compare: Callable[[Any, Any], Results], rows: Any, whole: Any, blocks: int) -> Results:
    @partial(jax.checkpoint, prevent_cse=False)  # the loop itself keeps the two computations apart
    def of_block(block: Any) -> Results:
        return compare(block, whole)

    results = jax.lax.map(of_block, jax.tree.map(lambda array: array.reshape(blocks, -1, *array.shape[1:]), rows))
    return jax.tree.map(jnp.ravel, results)
