"""The optimizer: AdamW with warm-up and decay of the learning rate, clipping, optional accumulation.

Knows: trees of gradients and the number of steps of a run. Does not know: models, losses, batches.
All step numbers here count the run's steps (batches), with accumulation or without.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field

Schedule = Callable[[int | Int[Array, ""]], Float[Array, ""]]
"""The run's step, from 0 -> the learning rate it uses."""


class OptimizerConfig(BaseModel):
    """AdamW (Loshchilov & Hutter 2019) as optax has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(default=3e-4, gt=0)
    """The highest learning rate, reached at the end of the warm-up."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps over which the learning rate rises in a line."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls from the end of the warm-up to the run's last step; "constant" = it does not."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of matrices; biases, LayerNorm and the temperature are not decayed."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Memory of the gradient's mean."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Memory of the gradient's square."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Gradients of a greater norm, over all parameters together, are scaled down to it; none = never."""
    accumulate: int = Field(default=1, ge=1)
    """Average the gradients of this many batches before each update. This is NOT the bigger batch: a query still sees
    only the negatives of its own batch."""


def make_schedule(config: OptimizerConfig, total_steps: int) -> Schedule:
    """The learning rate of every step of a run of `total_steps`.

    No step is wasted on a rate of 0: warm-up starts at 1/warmup_steps of the highest rate, and the last step still has
    a little left. Under accumulation all batches of one update share the rate of the first of them.

    Raises ValueError when the run is shorter than its warm-up or not a whole number of updates.
    """
    if config.warmup_steps > total_steps:
        raise ValueError(
            f"optimizer.warmup_steps {config.warmup_steps} is more than the run's {total_steps} steps:"
            f" set it to at most {total_steps}"
        )
    if total_steps % config.accumulate:
        raise ValueError(
            f"{total_steps} steps are not a multiple of optimizer.accumulate {config.accumulate}: the last batches"
            f" would never be used; run {total_steps - total_steps % config.accumulate} steps"
        )

    def schedule(step: int | Int[Array, ""]) -> Float[Array, ""]:
        first = jnp.asarray(step) // config.accumulate * config.accumulate
        warmup = jnp.minimum((first + 1) / max(config.warmup_steps, 1), 1.0)
        done = jnp.clip((first - config.warmup_steps) / max(total_steps - config.warmup_steps, 1), 0.0, 1.0)
        match config.schedule:
            case "linear":
                decay = 1 - done
            case "cosine":
                decay = (1 + jnp.cos(jnp.pi * done)) / 2
            case "constant":
                decay = jnp.ones_like(done)
        return (config.learning_rate * warmup * decay).astype(jnp.float32)

    return schedule


def decays(parameters: optax.Params) -> optax.Params:
    """True for matrices (weights and embeddings), False for vectors and scalars: biases, LayerNorm, the temperature."""
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, parameters)


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """Clipping, then AdamW at the rate of `make_schedule`; every `accumulate` batches, on their mean gradient.

    The mean of k batches' gradients is the gradient of a k times larger batch only for losses that are means over
    independent rows. The contrastive loss is not: each query would have seen k times as many negatives. Accumulation
    smooths the gradient; it does not replace a large batch.
    """
    schedule = make_schedule(config, total_steps)
    optimizer = optax.adamw(
        lambda update: schedule(jnp.asarray(update) * config.accumulate),
        b1=config.beta1,
        b2=config.beta2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decays,
    )
    if config.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    if config.accumulate > 1:
        optimizer = optax.MultiSteps(optimizer, config.accumulate).gradient_transformation()
    return optimizer
