"""Terms of a loss that make two rankings of the same candidates agree, rather than a positive come first.

    reverse_kl            a pair's: its passage among the passages, and its query among the queries         (CLEAR)
    parallel_divergence   a record's: the passages as ranked for its query in one language and in another

Both are computed in blocks of rows from vectors that are there already: no text is encoded for them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from hybrid_jax.train.blocks import BLOCK_BYTES, by_blocks

_NOTHING = -1e30
"""A score that has no share in a softmax; finite, so that no gradient is NaN."""


class _Pairs(NamedTuple):
    queries: Float[Array, "rows dim"]
    positives: Float[Array, "rows dim"]
    group: Int[Array, " rows"]
    shard: Int[Array, " rows"]
    number: Int[Array, " rows"]


def reverse_kl(
    queries: Float[Array, "rows dim"],
    positives: Float[Array, "rows dim"],
    group: Int[Array, " rows"],
    temperature: Float[Array, ""],
    shards: int = 1,
    mesh: Mesh | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Float[Array, ""]:
    """The mean over rows i of KL(r_i ‖ f_i), with j over i itself and the rows outside its group:

        f_i(j) = softmax over j of q_i·p_j / temperature        r_i(j) = softmax over j of p_i·q_j / temperature

    This is the last term of CLEAR (Lee et al. 2026, arXiv 2604.05821): both distributions have a gradient, as in its
    code. There the reverse task has negatives of its own and its query in another language; here both tasks have the
    batch's pairs, which are in two languages where the batch is cross-lingual. Hard negatives take no part.
    """
    rows = len(group)
    numbers = jnp.arange(rows)
    pairs = _Pairs(queries, positives, group, numbers // (rows // shards), numbers)

    def compare(block: _Pairs, whole: tuple[_Pairs, Array]) -> Float[Array, " block"]:
        others, temperature = whole
        own = block.number[:, None] == others.number
        compared = own | ((block.shard[:, None] == others.shard) & (block.group[:, None] != others.group))
        forward = _log_shares(block.queries, others.positives, temperature, compared)
        reverse = _log_shares(block.positives, others.queries, temperature, compared)
        return jnp.sum(jnp.where(compared, jnp.exp(reverse) * (reverse - forward), 0), axis=1)

    return jnp.mean(by_blocks(compare, pairs, (pairs, temperature), 8 * rows, mesh, block_bytes))


class _Parallel(NamedTuple):
    queries: Float[Array, "rows dim"]
    others: Float[Array, "rows dim"]
    shard: Int[Array, " rows"]


def parallel_divergence(
    queries: Float[Array, "rows dim"],
    passages: Float[Array, "candidates dim"],
    parallel: Int[Array, " rows"],
    temperature: Float[Array, ""],
    shards: int = 1,
    mesh: Mesh | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The Jensen-Shannon divergence (natural logarithm) of a query's distribution over all `passages` and that of its
    translation `parallel[i]`; mean over the queries that have one, 0 if none has.

    A query whose `parallel` is its own number has none. The distributions are softmaxes of scores. With k queries of a
    record, each is compared with the next, in a circle: for k = 2 this is the term of Hong et al. 2026 (arXiv
    2604.05684) over the batch's documents. Also returns the share of queries that have a translation.
    """
    rows, candidates = len(queries), len(passages)
    numbers = jnp.arange(rows)
    texts = _Parallel(queries, queries[parallel], numbers // (rows // shards))

    def compare(block: _Parallel, whole: tuple[Array, Array, Array]) -> Float[Array, " block"]:
        passages, shard, temperature = whole
        compared = block.shard[:, None] == shard
        one = _log_shares(block.queries, passages, temperature, compared)
        other = _log_shares(block.others, passages, temperature, compared)
        middle = jnp.logaddexp(one, other) - jnp.log(2.0)
        terms = jnp.exp(one) * (one - middle) + jnp.exp(other) * (other - middle)
        return jnp.sum(jnp.where(compared, terms, 0), axis=1) / 2

    whole = passages, jnp.arange(candidates) // (candidates // shards), temperature
    divergences = by_blocks(compare, texts, whole, 8 * candidates, mesh, block_bytes)
    has_translation = parallel != numbers
    count = has_translation.sum()
    return jnp.sum(jnp.where(has_translation, divergences, 0)) / jnp.maximum(count, 1), count / rows


def _log_shares(
    rows: Float[Array, "rows dim"],
    candidates: Float[Array, "candidates dim"],
    temperature: Float[Array, ""],
    compared: Bool[Array, "rows candidates"],
) -> Float[Array, "rows candidates"]:
    """Logarithms of each row's softmax over its candidates; far below zero where a candidate is not compared."""
    scores = jnp.matmul(rows, candidates.T, precision="highest") / temperature
    return jax.nn.log_softmax(jnp.where(compared, scores, _NOTHING), axis=1)
