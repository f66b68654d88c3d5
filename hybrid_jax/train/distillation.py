"""Distillation: a query and its passage regress to a teacher's vectors of their record in one language.

This is how a model of one language is made multilingual: the student's vectors of a sentence and of its translation
are drawn to the teacher's vector of the sentence (Reimers & Gurevych 2020, arXiv 2004.09813).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hybrid_jax.data.languages import language_tag
from hybrid_jax.train.loss import LossConfig, Metrics
from hybrid_jax.train.objective import Groups, Objective, Vectors


class DistillationConfig(BaseModel):
    """Regression to a teacher's vectors (Reimers & Gurevych 2020, arXiv 2004.09813); off unless it has a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str | None = None
    """The folder of the teacher's vectors, which `python -m hybrid_jax.eval embed` makes of the corpus that
    `python -m hybrid_jax.data texts` writes (docs/hybrid_batches.md). They have the model's dimensions. None: no
    teacher."""
    query_store: str | None = None
    """A second store, for the queries, of a teacher that encodes queries differently (embed's --side queries)."""
    language: str = "en"
    """The teacher's language: a text regresses to the vector that its record's text has in this language."""
    form: Literal["mse", "cosine"] = "mse"
    """mse: squared distances, a query's plus its passage's, mean over pairs, as in Reimers & Gurevych. cosine: 1 -
    cosine, mean over both, as in MIMO (arXiv 2605.31171). All vectors have length 1, so mse is 4 times cosine, which
    matters for `weight` and for clipping."""
    weight: float = Field(default=1.0, gt=0, le=1)
    """Share w of this loss: (1-w)·contrastive + w·distillation. 1: no contrastive loss (Reimers & Gurevych); 0.8 is
    MIMO's."""

    @field_validator("language")
    @classmethod
    def _tag(cls, value: str) -> str:
        return language_tag(value)

    @model_validator(mode="after")
    def _check(self) -> "DistillationConfig":
        if self.query_store is not None and self.store is None:
            raise ValueError(f"query_store {self.query_store!r} without store: passages need a teacher, too, set store")
        return self


def check_has_teacher(config: DistillationConfig) -> None:
    """Raises ValueError for a field that says how to distil where there is no teacher, so that it would do nothing.

    A whole config is checked, not its parts: the file may set the weight, and the command line the store.
    """
    if config.store is not None:
        return
    for name in ("language", "form", "weight"):
        value, default = getattr(config, name), DistillationConfig.model_fields[name].default
        if value != default:
            raise ValueError(
                f"distillation.{name} {value} without distillation.store does nothing: set distillation.store to a "
                f"teacher's vectors, or leave {name} out"
            )


def check_trained(
    config: DistillationConfig, loss: LossConfig, learn_temperature: bool, objective: str | None = None
) -> None:
    """Raises ValueError for what is asked for and not trained, because distillation has all the weight.

    `objective` names a function that replaces the contrastive loss.
    """
    if config.store is None or config.weight < 1:
        return
    untrained = {
        f"loss.parallel_weight {loss.parallel_weight}": (loss.parallel_weight > 0, "set it to 0"),
        f"loss.kl_weight {loss.kl_weight}": (loss.kl_weight > 0, "set it to 0"),
        "model.learn_temperature true": (learn_temperature, "set it to false"),
        f"the objective {objective}": (objective is not None, "leave it out"),
    }
    for name, (is_set, fix) in untrained.items():
        if is_set:
            raise ValueError(
                f"{name} trains nothing with distillation.weight 1, where the teacher's vectors are the whole loss: "
                f"{fix}, or set distillation.weight below 1, such as 0.8"
            )


def with_teacher(objective: Objective, config: DistillationConfig) -> Objective:
    """`objective` and the distillation of `config` in its shares; `objective` itself without a store.

    The metrics are those of both: see `distillation_loss`. A batch must have the teacher's vectors. With weight 1
    `objective` is measured only, and has no gradient.
    """
    if config.store is None:
        return objective

    def distilled(vectors: Vectors, groups: Groups) -> tuple[Float[Array, ""], Metrics]:
        alone = config.weight == 1
        loss, metrics = objective(jax.lax.stop_gradient(vectors) if alone else vectors, groups)
        distance, more = distillation_loss(vectors, config.form)
        return distance if alone else (1 - config.weight) * loss + config.weight * distance, {**metrics, **more}

    return distilled


def distillation_loss(vectors: Vectors, form: Literal["mse", "cosine"]) -> tuple[Float[Array, ""], Metrics]:
    """How far the student's vectors s are from the teacher's t; and metrics.

    With Q the queries and P the positives that have a teacher's vector, all vectors of length 1:

        mse:     mean over Q of |s - t|²  +  mean over P of |s - t|²              (arXiv 2004.09813, section 2)
        cosine:  ½ [ mean over Q of (1 - s·t)  +  mean over P of (1 - s·t) ]      (MIMO, arXiv 2605.31171, without its
                                                                                   projection P of the student)

    A text whose record lacks the teacher's language has a zero vector in `vectors.teacher`, and is left out; so are
    hard negatives. Metrics: `distillation_loss`; `taught`, the share of the texts that have a teacher's vector; and
    `teacher_cosine`, their mean cosine with it.

    Raises ValueError for a batch without a teacher's vectors.
    """
    teacher = vectors.teacher
    if teacher is None:
        raise ValueError("distillation needs the teacher's vectors of the batch, and it has none")
    positives = vectors.passages[:: len(vectors.passages) // len(vectors.queries)]
    losses, cosines, counts = [], [], []
    for student, target in ((vectors.queries, teacher.queries), (positives, teacher.passages)):
        has_target = jnp.any(target != 0, axis=1)
        count = has_target.sum()
        cosine = jnp.sum(student * target, axis=1)
        distance = jnp.sum((student - target) ** 2, axis=1) if form == "mse" else (1 - cosine) / 2
        losses.append(jnp.sum(jnp.where(has_target, distance, 0)) / jnp.maximum(count, 1))
        cosines.append(jnp.sum(jnp.where(has_target, cosine, 0)))
        counts.append(count)
    loss, taught = losses[0] + losses[1], counts[0] + counts[1]
    metrics = {
        "distillation_loss": loss,
        "taught": taught / (2 * len(vectors.queries)),
        "teacher_cosine": (cosines[0] + cosines[1]) / jnp.maximum(taught, 1),
    }
    return loss, jax.lax.stop_gradient(metrics)
