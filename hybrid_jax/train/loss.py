"""The contrastive loss over a whole batch, without false negatives.

The passages of every device are negatives of every query. Scores are computed in blocks of rows, so that a batch of B
pairs does not need memory for B x B scores.
"""

from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybrid_jax.train.blocks import BLOCK_BYTES, by_blocks
from hybrid_jax.train.consistency import reverse_kl

Metrics = dict[str, Float[Array, ""]]
Positives = Literal["one", "all"]
Integers = TypeVar("Integers", Array, np.ndarray)


class LossConfig(BaseModel):
    """Which pairs are compared. The temperature is a field of the model, which may learn it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directions: Literal["query_to_passage", "both"] = "query_to_passage"
    """Find each query's passage among the passages; "both" also finds each passage's query, and averages the two."""
    negatives: Literal["global", "local"] = "global"
    """Passages of all devices, or of the query's own device only; "local" serves to measure what "global" gains."""
    positives: Positives = "one"
    """all: every row's passage that means the same as a query's own (a translation, a copy) is a positive of it, too,
    and none competes with another. one: such passages are left out. Aligned batches are made for "all"."""
    false_negatives: Literal["masked", "kept"] = "masked"
    """kept: translations and copies of a query's own passage count as its negatives, as in libraries that do not know
    which texts mean the same; it serves to measure what masking them gains."""
    reverse_weight: float = Field(default=0.5, ge=0, le=1)
    """α of (1-α-β)·query_to_passage + α·passage_to_query + β·kl, with directions both."""
    kl_weight: float = Field(default=0.0, ge=0, le=1)
    """β, with directions both: the share of the divergence of a query's ranking of the passages from its passage's
    ranking of the queries. CLEAR (arXiv 2604.05821) has α 0.4 and β 0.2."""
    parallel_weight: float = Field(default=0.0, ge=0)
    """Adds this times the Jensen-Shannon divergence between the rankings of the batch's passages for a query and for
    its translation in the batch (arXiv 2604.05684). Only aligned batches have translations of a query."""

    @model_validator(mode="after")
    def _check(self) -> "LossConfig":
        if self.directions != "both" and (self.kl_weight or self.reverse_weight != 0.5):
            raise ValueError(
                f"reverse_weight {self.reverse_weight} and kl_weight {self.kl_weight} are for directions both, but "
                f"directions is {self.directions}: set it to both"
            )
        if self.false_negatives == "kept" and self.positives == "all":
            raise ValueError(
                'false_negatives "kept" makes negatives of what positives "all" makes positives: leave one out'
            )
        if self.reverse_weight + self.kl_weight > 1:
            raise ValueError(
                f"reverse_weight {self.reverse_weight} and kl_weight {self.kl_weight} leave nothing to "
                f"query_to_passage: lower them to at most 1 together"
            )
        return self


class Texts(NamedTuple):
    """Some texts, their groups and their numbers: a text's partner has the same number; a hard negative has -1."""

    vectors: Float[Array, "texts dim"]
    group: Int[Array, " texts"]
    shard: Int[Array, " texts"]
    """Only texts of the same shard are compared."""
    number: Int[Array, " texts"]


class RowResults(NamedTuple):
    """What comparing a text with all candidates gives. Only `loss` has a gradient."""

    loss: Float[Array, " rows"]
    """-log softmax of a positive's score among it and the negatives, mean over positives."""
    correct: Float[Array, " rows"]
    """The share of the positives that score above every negative."""
    positives: Int[Array, " rows"]
    negatives: Int[Array, " rows"]
    masked: Int[Array, " rows"]
    """How many candidates were left out: neither positives nor negatives."""
    positive: Float[Array, " rows"]
    """Score (cosine / temperature) of the positives, mean."""
    negative: Float[Array, " rows"]
    """Sum of the cosines of the negatives."""


def own_groups(queries: Integers, passages: Integers) -> tuple[Integers, Integers]:
    """Groups in which no row has a passage of another row: with them `contrastive_loss` masks no translations.

    `queries` (rows) and `passages` (rows x n, flat or not) are the groups of the batch, as jax or numpy arrays. A hard
    negative in its own query's group stays in it, since most are fillings: copies of the row's positive.
    """
    array = queries.__array_namespace__()
    rows = array.arange(len(queries))
    of_row = passages.reshape(len(queries), -1)
    own = array.where(of_row == queries[:, None], rows[:, None], -1)
    return rows, own.reshape(passages.shape)


def contrastive_loss(
    queries: Float[Array, "rows dim"],
    passages: Float[Array, "candidates dim"],
    query_group: Int[Array, " rows"],
    passage_group: Int[Array, " candidates"],
    temperature: Float[Array, ""],
    directions: Literal["query_to_passage", "both"] = "query_to_passage",
    shards: int = 1,
    mesh: Mesh | None = None,
    block_bytes: int = BLOCK_BYTES,
    positives: Positives = "one",
    reverse_weight: float = 0.5,
    kl_weight: float = 0.0,
) -> tuple[Float[Array, ""], Metrics]:
    """The InfoNCE loss over all `passages`, without false negatives; and metrics.

    With s(i, j) = q_i . p_j / temperature and p_i+ the positive of row i, the mean over rows i of

        -log( exp s(i, i+) / sum over j in C(i) of exp s(i, j) )

    where C(i) holds the row's own positive and every passage of the batch, positive or hard negative of any row, whose
    group is not that of query i. This is van den Oord et al. 2018 (arXiv 1807.03748, eq. 4). Elmahdy et al. (arXiv
    2408.10536, eq. 1) print only the rows' hard negatives in the denominator; the positives of other rows are added
    here, as is usual. A row's own hard negative is a false negative, too, if it is in the query's group.

    `directions` "both" averages this with the loss of finding the query, as in CLIP: positive i+ is compared with all
    queries outside its group. Hard negatives have no query and take no part in it. More generally, with α
    `reverse_weight` and β `kl_weight`, the loss is (1-α-β) · forward + α · reverse + β · `reverse_kl` (see there), as
    in CLEAR (Lee et al. 2026, arXiv 2604.05821).

    With `positives` "all", the positives P(i) of query i are the positives of all rows in its group: its own, its
    translations, its copies. With N(i) the passages outside its group, the row's loss is the mean over j in P(i) of

        log( 1 + sum over n in N(i) of exp( s(i, n) - s(i, j) ) )

    so no positive competes with another, and a query with one positive has the loss above. A hard negative in its
    query's group is left out as before, not made a positive: most are fillings, copies of a row's own positive.
    With "both", likewise, positive i+ has all queries of its group. Several translations as positives are MPCL's (Zhao
    et al. 2023, arXiv 2309.08929), the mean over positives outside the logarithm is SupCon's (Khosla et al. 2020, arXiv
    2004.11362, eq. 2), where the others are in the denominator; that none competes is ours.

    `queries` are unit vectors; row i's positive is `passages[i * n]` with n = candidates / rows, its hard negatives
    follow. With `shards` > 1 the rows form that many equal blocks, and each query is compared with its own block only
    ("local" negatives). Everything is computed in float32.

    Metrics: `accuracy` (fraction of positives that score above every negative of their query, mean over queries),
    `negatives` and `masked` (mean number per query of passages compared with it, and of those left out),
    `masked_fraction` (masked / (negatives + masked)), `positive_score` and `negative_score` (mean cosines; of positives
    first the mean per query), with `positives` "all" also `positives` (mean number per query), and with `kl_weight`
    also `reverse_kl`.

    Memory: give `mesh` where rows are split over its devices. Each device holds all passages and their gradient
    (candidates x dim x 4 bytes each; for "both", also the queries and theirs) and compares its own rows with them in
    equal blocks of at most `block_bytes` of scores, but at least one row; about seven arrays of that size exist at a
    time. The backward pass computes a block's scores again. With 65,536 pairs on 64 devices this is 16 MiB instead of
    256 MiB of a device's scores, or 16 GiB of all. A device's number of rows should have small factors.

    Raises ValueError when candidates is not a multiple of rows, or rows not a multiple of shards or of the devices.
    """
    rows, candidates = queries.shape[0], passages.shape[0]
    devices = 1 if mesh is None else mesh.size
    if candidates % rows:
        raise ValueError(f"{candidates} passages for {rows} queries: every query needs equally many")
    if rows % shards:
        raise ValueError(f"{rows} rows cannot be split into {shards} equal shards: change the batch size")
    if rows % devices:
        raise ValueError(f"{rows} rows cannot be split over {devices} devices: change the batch size")
    per_row = candidates // rows

    row, candidate = jnp.arange(rows), jnp.arange(candidates)
    number = jnp.where(candidate % per_row == 0, candidate // per_row, -1)
    query_texts = Texts(queries.astype(jnp.float32), query_group, row // (rows // shards), row)
    passage_texts = Texts(passages.astype(jnp.float32), passage_group, candidate // (candidates // shards), number)

    def compare(texts: Texts, candidates: Texts) -> RowResults:
        def of_block(block: Texts, whole: tuple[Texts, Array]) -> RowResults:
            return _compare_block(block, *whole, positives)

        return by_blocks(of_block, texts, (candidates, temperature), 4 * len(candidates.number), mesh, block_bytes)

    results = compare(query_texts, passage_texts)
    loss, divergence = jnp.mean(results.loss), None
    if directions == "both":
        own = jax.tree.map(lambda array: array[::per_row], passage_texts)
        reverse = jnp.mean(compare(own, query_texts).loss)
        loss = (1 - reverse_weight - kl_weight) * loss + reverse_weight * reverse
        if kl_weight:
            vectors = query_texts.vectors, own.vectors
            divergence = reverse_kl(*vectors, query_group, temperature, shards, mesh, block_bytes)
            loss += kl_weight * divergence

    negatives, masked = results.negatives.sum(), results.masked.sum()
    metrics = {
        "accuracy": jnp.mean(results.correct),
        "negatives": negatives / rows,
        "masked": masked / rows,
        "masked_fraction": masked / jnp.maximum(negatives + masked, 1),
        "positive_score": jnp.mean(results.positive) * temperature,
        "negative_score": results.negative.sum() / jnp.maximum(negatives, 1),
    }
    if positives == "all":
        metrics["positives"] = results.positives.sum() / rows
    if divergence is not None:
        metrics["reverse_kl"] = divergence
    return loss, jax.lax.stop_gradient(metrics)


def _compare_block(texts: Texts, candidates: Texts, temperature: Float[Array, ""], positives: Positives) -> RowResults:
    own = texts.number[:, None] == candidates.number
    same_shard = texts.shard[:, None] == candidates.shard
    same_group = texts.group[:, None] == candidates.group
    positive = own
    if positives == "all":
        positive = own | (same_group & same_shard & (candidates.number >= 0))
    negative = same_shard & ~same_group & ~own
    left_out = same_group & same_shard & ~positive

    # By default a GPU or TPU multiplies float32 matrices with fewer bits than "highest".
    cosines = jnp.matmul(texts.vectors, candidates.vectors.T, precision="highest")
    scores = cosines / temperature
    count = positive.sum(axis=1)
    mean_score = jnp.sum(jnp.where(positive, scores, 0), axis=1) / count
    if positives == "one":
        loss = jax.nn.logsumexp(jnp.where(positive | negative, scores, -jnp.inf), axis=1) - mean_score
    else:
        # The least float32 and not -inf, whose gradient would be NaN in a row without negatives.
        total = jax.nn.logsumexp(jnp.where(negative, scores, jnp.finfo(scores.dtype).min), axis=1, keepdims=True)
        loss = jnp.sum(jnp.where(positive, jax.nn.softplus(total - scores), 0), axis=1) / count
    cosines, scores, mean_score = jax.lax.stop_gradient((cosines, scores, mean_score))
    best_negative = jnp.max(jnp.where(negative, scores, -jnp.inf), axis=1, keepdims=True)
    return RowResults(
        loss=loss,
        correct=jnp.sum(positive & (scores > best_negative), axis=1) / count,
        positives=count,
        negatives=negative.sum(axis=1),
        masked=left_out.sum(axis=1),
        positive=mean_score,
        negative=jnp.sum(jnp.where(negative, cosines, 0), axis=1),
    )
