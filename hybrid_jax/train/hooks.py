"""What a caller from Python can give a run that a config cannot say: an objective, and a callback per logged step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from hybrid_jax.train.loss import Metrics
from hybrid_jax.train.objective import Groups, Objective, Vectors

OwnObjective = Callable[[Vectors, Groups], Float[Array, ""] | tuple[Float[Array, ""], Metrics]]
"""(vectors, groups) of a global batch -> the loss, or the loss and metrics to log beside it: float32 scalars."""
OnStep = Callable[[Mapping[str, Any]], None]
"""Called on the first process with each line of metrics.jsonl: step, kind, loss, learning_rate, …"""


@dataclass(frozen=True)
class Hooks:
    """None of them by default."""

    objective: OwnObjective | None = None
    """Replaces the loss that the config describes. The config does not record it, so a run's sources name it: a
    resumed run must be given a function of the same name."""
    on_step: OnStep | None = None

    @property
    def objective_name(self) -> str | None:
        """The module and name of the objective; None if there is none."""
        if self.objective is None:
            return None
        return f"{self.objective.__module__}.{getattr(self.objective, '__qualname__', type(self.objective).__name__)}"

    @property
    def sources(self) -> dict[str, str]:
        """What a run that is resumed must be given again, by name."""
        return {} if self.objective_name is None else {"the objective": self.objective_name}


def completed(objective: OwnObjective) -> Objective:
    """The objective with those metrics added that every step logs: accuracy, negatives and masked, as `loss.py` says.

    Raises TypeError for an objective whose loss is no scalar.
    """

    def objective_and_metrics(vectors: Vectors, groups: Groups) -> tuple[Float[Array, ""], Metrics]:
        returned = objective(vectors, groups)
        loss, metrics = returned if isinstance(returned, tuple) else (returned, {})
        if getattr(loss, "shape", None) != ():
            raise TypeError(
                f"the objective returned a loss of shape {getattr(loss, 'shape', type(loss).__name__)}: return one "
                "float32 scalar, such as a mean over the queries"
            )
        return loss, {**_counts(vectors, groups), **metrics}

    return objective_and_metrics


def _counts(vectors: Vectors, groups: Groups) -> Metrics:
    rows, candidates = len(vectors.queries), len(vectors.passages)
    own = jnp.arange(candidates) == jnp.arange(rows)[:, None] * (candidates // rows)
    same = groups.queries[:, None] == groups.passages
    scores = jnp.where(same & ~own, -jnp.inf, jnp.matmul(vectors.queries, vectors.passages.T, precision="highest"))
    return {
        "accuracy": own[jnp.arange(rows), scores.argmax(axis=1)].mean(dtype=jnp.float32),
        "negatives": (~same & ~own).sum(axis=1).mean(dtype=jnp.float32),
        "masked": (same & ~own).sum(axis=1).mean(dtype=jnp.float32),
    }
