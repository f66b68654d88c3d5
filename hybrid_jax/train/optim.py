"""The optimizer: AdamW with warm-up and decay of the learning rate, gradient clipping and optional accumulation.

All step numbers here count the run's steps (batches), with or without accumulation.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field

Schedule = Callable[[int | Int[Array, ""]], Float[Array, ""]]
"""The learning rate of a step, counted from 0."""


class OptimizerConfig(BaseModel):
    """AdamW (Loshchilov & Hutter 2019), as implemented by optax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(default=3e-4, gt=0)
    """The highest learning rate, reached at the end of the warm-up."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls from the end of the warm-up to the run's last step; "constant" keeps it."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of matrices; biases, LayerNorm and the temperature are not decayed."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the running mean of the gradient."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the running mean of the squared gradient."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the square root of the second moment, which divides the update."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """The largest global norm of the gradient: larger gradients are scaled down to it; none = no clipping."""
    accumulate: int = Field(default=1, ge=1)
    """Average the gradients of this many batches before each update. This is NOT a larger batch: a query is still
    compared with the negatives of its own batch only."""


def check_steps(config: OptimizerConfig, total_steps: int) -> None:
    """Raises ValueError when a run is shorter than its warm-up, or not a whole number of updates."""
    if config.warmup_steps > total_steps:
        raise ValueError(
            f"optimizer.warmup_steps {config.warmup_steps} exceeds the run's {total_steps} steps:"
            f" set it to at most {total_steps}"
        )
    if total_steps % config.accumulate:
        nearest = max(total_steps // config.accumulate, 1) * config.accumulate
        raise ValueError(
            f"steps {total_steps} is not a multiple of optimizer.accumulate {config.accumulate}, so the last batches"
            f" would never be used: run {nearest} steps"
        )


def make_schedule(config: OptimizerConfig, total_steps: int) -> Schedule:
    """The learning rate of each step of a run of `total_steps`.

    No step has a learning rate of 0: warm-up begins at learning_rate / warmup_steps, and the last step is still above
    the decay's end. Under accumulation, all batches of an update share the rate of the first of them.

    Raises ValueError as `check_steps` does.
    """
    check_steps(config, total_steps)

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
    """Which parameters decay: matrices (weights and embeddings), but not biases, LayerNorm and the temperature."""
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, parameters)


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """Clipping, then AdamW with the learning rates of `make_schedule`, once per `accumulate` batches.

    The mean gradient of k batches equals the gradient of one batch k times as large only where the loss is a mean over
    independent rows. The contrastive loss is not: in the larger batch each query would have k times as many negatives.
    Accumulation makes the gradient less noisy; it does not replace a large batch.

    Raises ValueError as `check_steps` does.
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
