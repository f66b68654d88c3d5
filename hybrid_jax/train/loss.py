"""The contrastive loss over a whole batch, and the masking of false negatives.

Knows: vectors of queries and passages, and which of them mean the same. Does not know: models, texts, devices (under
`jax.jit` over a mesh the same code sees the global batch: every device's passages are every query's negatives).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from pydantic import BaseModel, ConfigDict

Metrics = dict[str, Float[Array, ""]]


class LossConfig(BaseModel):
    """Which pairs are compared. The temperature belongs to the model (it may be learned)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directions: Literal["query_to_passage", "both"] = "query_to_passage"
    """Find the passage among passages; "both" also finds the query among queries, and averages the two losses."""
    negatives: Literal["global", "local"] = "global"
    """Passages of every device, or only of the query's own device. "local" is there to measure what "global" brings."""


def contrastive_loss(
    queries: Float[Array, "rows dim"],
    passages: Float[Array, "candidates dim"],
    query_group: Int[Array, " rows"],
    passage_group: Int[Array, " candidates"],
    temperature: Float[Array, ""],
    directions: Literal["query_to_passage", "both"] = "query_to_passage",
    shards: int = 1,
) -> tuple[Float[Array, ""], Metrics]:
    """InfoNCE over all of `passages`, without the false negatives.

    With s(i, j) = q_i . p_j / temperature and p_i+ the positive of row i, the mean over rows i of

        -log( exp s(i, i+) / sum over j in C(i) of exp s(i, j) )

    where C(i) holds the row's own positive and every passage of the batch, positive or hard negative of any row, whose
    group is not that of query i. This is van den Oord et al. 2018 (arXiv 1807.03748, eq. 4). Elmahdy et al. (arXiv
    2408.10536, eq. 1) as printed compare with the rows' hard negatives only; the other rows' positives are added here,
    as everyone does. A row's own hard negative of the query's group is a false negative too.

    `directions` "both" averages this with the loss of finding the query: positive i+ against all queries that are not
    of its group, as in CLIP; hard negatives have no query, so they take no part.

    `queries` are unit vectors; row i's positive is `passages[i * n]` with n = candidates / rows, its hard negatives
    follow. `shards` > 1 compares each query with its own of `shards` equal blocks of rows only ("local" negatives).
    Everything is float32.

    Metrics: `accuracy` (rows whose positive scores above every negative), `negatives` and `masked` (per query: passages
    it was compared with; false negatives left out), `masked_fraction` (masked / (negatives + masked)), `positive_score`
    and `negative_score` (mean cosine).

    Raises ValueError when candidates are not a multiple of rows, or rows not of shards.
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
    seen = row * shards // rows == candidate * shards // candidates
    same = query_group[:, None] == passage_group[None, :]
    false_negative = same & seen & ~own
    negative = seen & ~same & ~own

    # "highest": left to itself, a GPU or TPU multiplies float32 matrices with fewer bits.
    cosines = jnp.matmul(queries, passages.T, precision="highest")
    scores = cosines / temperature
    positive = jnp.sum(jnp.where(own, scores, 0), axis=1)
    loss = _mean_cross_entropy(scores, positive, own | negative)
    if directions == "both":
        # The columns of the positives, turned: each positive against the queries, under the same mask.
        turned_scores, turned_compared = scores[:, ::per_row].T, (own | negative)[:, ::per_row].T
        loss = (loss + _mean_cross_entropy(turned_scores, positive, turned_compared)) / 2

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
    """Mean of logsumexp over the compared columns minus the positive's score; `compared` includes the positive."""
    return jnp.mean(jax.nn.logsumexp(jnp.where(compared, scores, -jnp.inf), axis=1) - positive)
