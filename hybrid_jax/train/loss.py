"""The contrastive loss over a whole batch, without false negatives.

It is written for one device. Under `jax.jit` over a mesh the same code computes the loss of the global batch: the
passages of every device are negatives of every query.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from pydantic import BaseModel, ConfigDict

Metrics = dict[str, Float[Array, ""]]


class LossConfig(BaseModel):
    """Which pairs are compared. The temperature is a field of the model, which may learn it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directions: Literal["query_to_passage", "both"] = "query_to_passage"
    """Find each query's passage among the passages; "both" also finds each passage's query, and averages the two."""
    negatives: Literal["global", "local"] = "global"
    """Passages of all devices, or of the query's own device only; "local" serves to measure what "global" gains."""


def contrastive_loss(
    queries: Float[Array, "rows dim"],
    passages: Float[Array, "candidates dim"],
    query_group: Int[Array, " rows"],
    passage_group: Int[Array, " candidates"],
    temperature: Float[Array, ""],
    directions: Literal["query_to_passage", "both"] = "query_to_passage",
    shards: int = 1,
) -> tuple[Float[Array, ""], Metrics]:
    """The InfoNCE loss over all `passages`, without false negatives; and metrics.

    With s(i, j) = q_i . p_j / temperature and p_i+ the positive of row i, the mean over rows i of

        -log( exp s(i, i+) / sum over j in C(i) of exp s(i, j) )

    where C(i) holds the row's own positive and every passage of the batch, positive or hard negative of any row, whose
    group is not that of query i. This is van den Oord et al. 2018 (arXiv 1807.03748, eq. 4). Elmahdy et al. (arXiv
    2408.10536, eq. 1) print only the rows' hard negatives in the denominator; the positives of other rows are added
    here, as is usual. A row's own hard negative is a false negative, too, if it is in the query's group.

    `directions` "both" averages this with the loss of finding the query, as in CLIP: positive i+ is compared with all
    queries outside its group. Hard negatives have no query and take no part in it.

    `queries` are unit vectors; row i's positive is `passages[i * n]` with n = candidates / rows, its hard negatives
    follow. With `shards` > 1 the rows form that many equal blocks, and each query is compared with its own block only
    ("local" negatives). Everything is computed in float32.

    Metrics: `accuracy` (fraction of rows whose positive scores above every negative), `negatives` and `masked` (mean
    number per query of passages compared with it, and of false negatives left out), `masked_fraction` (masked /
    (negatives + masked)), `positive_score` and `negative_score` (mean cosines).

    Raises ValueError when candidates is not a multiple of rows, or rows not a multiple of shards.
    """
    rows, candidates = queries.shape[0], passages.shape[0]
    if candidates % rows:
        raise ValueError(f"{candidates} passages for {rows} queries: every query needs equally many")
    if rows % shards:
        raise ValueError(f"{rows} rows cannot be split into {shards} equal shards: change the batch size")
    per_row = candidates // rows
    queries, passages = queries.astype(jnp.float32), passages.astype(jnp.float32)

    row = jnp.arange(rows)[:, None]
    candidate = jnp.arange(candidates)[None, :]
    own = candidate == row * per_row
    same_shard = row * shards // rows == candidate * shards // candidates
    same_group = query_group[:, None] == passage_group[None, :]
    false_negative = same_group & same_shard & ~own
    negative = same_shard & ~same_group & ~own

    # By default a GPU or TPU multiplies float32 matrices with fewer bits than "highest".
    cosines = jnp.matmul(queries, passages.T, precision="highest")
    scores = cosines / temperature
    positive = jnp.sum(jnp.where(own, scores, 0), axis=1)
    loss = _mean_cross_entropy(scores, positive, own | negative)
    if directions == "both":
        # The columns of the positives, transposed: each positive against the queries, under the same mask.
        passage_scores, passage_compared = scores[:, ::per_row].T, (own | negative)[:, ::per_row].T
        loss = (loss + _mean_cross_entropy(passage_scores, positive, passage_compared)) / 2

    negatives, masked = negative.sum(), false_negative.sum()
    hardest = jnp.max(jnp.where(negative, scores, -jnp.inf), axis=1)
    metrics = {
        "accuracy": jnp.mean(positive > hardest),
        "negatives": negatives / rows,
        "masked": masked / rows,
        "masked_fraction": masked / jnp.maximum(negatives + masked, 1),
        "positive_score": jnp.mean(positive) * temperature,
        "negative_score": jnp.sum(jnp.where(negative, cosines, 0)) / jnp.maximum(negatives, 1),
    }
    return loss, jax.lax.stop_gradient(metrics)


def _mean_cross_entropy(
    scores: Float[Array, "rows columns"], positive: Float[Array, " rows"], compared: Bool[Array, "rows columns"]
) -> Float[Array, ""]:
    """Mean over rows of logsumexp over the compared columns (the positive included) minus the positive's score."""
    return jnp.mean(jax.nn.logsumexp(jnp.where(compared, scores, -jnp.inf), axis=1) - positive)
