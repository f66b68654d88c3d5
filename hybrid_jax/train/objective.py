"""What training minimises: a function of vectors and groups.

An objective sees no model, batch or device. It can therefore be swapped, wrapped (the same vectors cut to several
lengths) or differentiated apart from the encoder (cached gradients), and the training step stays as it is.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from hybrid_jax.data.batch import TeacherVectors
from hybrid_jax.train.consistency import parallel_divergence
from hybrid_jax.train.loss import LossConfig, Metrics, contrastive_loss, own_groups


class Vectors(NamedTuple):
    """A global batch, encoded."""

    queries: Float[Array, "rows dim"]
    """Unit vectors."""
    passages: Float[Array, "candidates dim"]
    """Unit vectors; with n = candidates / rows, row i's positive is passages[i * n] and its hard negatives follow."""
    temperature: Float[Array, ""]
    """What scores are divided by; it belongs to the model, which may learn it."""
    teacher: TeacherVectors | None = None
    """A teacher's vectors of the queries' and the positives' records, with distillation."""


class Groups(NamedTuple):
    """Which texts mean the same: a passage in the group of a query is not that query's negative (unless
    `loss.false_negatives` is kept), and with `loss.positives` all a positive of it."""

    queries: Int[Array, " rows"]
    passages: Int[Array, " candidates"]
    parallel: Int[Array, " rows"] | None = None
    """With `loss.parallel_weight`: the row of another query of each row's record, its own where there is none."""


Objective = Callable[[Vectors, Groups], tuple[Float[Array, ""], Metrics]]
"""Returns the loss and the metrics to log beside it, all float32 scalars."""


def make_objective(config: LossConfig, mesh: Mesh) -> Objective:
    """The contrastive loss that `config` describes, of rows that are split over all devices of `mesh`.

    No device holds all scores of a large batch: see `contrastive_loss` for what it holds.
    """
    shards = mesh.size if config.negatives == "local" else 1

    def objective(vectors: Vectors, groups: Groups) -> tuple[Float[Array, ""], Metrics]:
        query_groups, passage_groups = groups.queries, groups.passages
        if config.false_negatives == "kept":
            query_groups, passage_groups = own_groups(query_groups, passage_groups)
        loss, metrics = contrastive_loss(
            vectors.queries,
            vectors.passages,
            query_groups,
            passage_groups,
            vectors.temperature,
            config.directions,
            shards,
            mesh,
            positives=config.positives,
            reverse_weight=config.reverse_weight,
            kl_weight=config.kl_weight,
        )
        if not config.parallel_weight:
            return loss, metrics
        assert groups.parallel is not None
        texts = vectors.queries, vectors.passages, groups.parallel
        divergence, share = parallel_divergence(*texts, vectors.temperature, shards, mesh)
        more = jax.lax.stop_gradient({"parallel_divergence": divergence, "parallel": share})
        return loss + config.parallel_weight * divergence, {**metrics, **more}

    return objective
