"""The optimizer: AdamW with warm-up and decay of the learning rate, gradient clipping and optional accumulation.

With `lazy_embeddings` AdamW and clipping are given a small table, the rows of the batch's tokens, in place of the word
embedding and of its gradient and moments. The state is the same as without it.

All step numbers here count the run's steps (batches), with or without accumulation.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

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
    lazy_embeddings: bool = False
    """Update only those rows of the word embedding whose token is in the batch (queries or passages, padding included).
    Other rows keep their value and their moments: nothing decays them. Bias correction counts all steps. This is the
    Adam of torch.optim.SparseAdam and TensorFlow's LazyAdam, with weight decay; a step no longer reads and writes the
    whole vocabulary, but rare tokens are updated differently than by AdamW. Needs `accumulate` 1."""


class Optimizer(NamedTuple):
    """How parameters are updated; both functions can be jitted."""

    init: Callable[[Any], Any]
    """(parameters) -> the state before the first step, a tree of arrays."""
    apply: Callable[[Any, Any, Any, Int[Array, "..."]], tuple[Any, Any, Float[Array, ""]]]
    """(parameters, gradients, state, the batch's token ids) -> (parameters, state, norm of the gradients before
    clipping). The token ids may have any shape; they are used with `lazy_embeddings` only."""


def check_steps(config: OptimizerConfig, total_steps: int) -> None:
    """Raises ValueError when a run is shorter than its warm-up or not a whole number of updates, or when
    `lazy_embeddings` would see the tokens of one batch and the gradient of several."""
    if config.lazy_embeddings and config.accumulate > 1:
        raise ValueError(
            f"optimizer.lazy_embeddings updates the rows of one batch, but optimizer.accumulate {config.accumulate}"
            f" makes one update of {config.accumulate} batches: set accumulate to 1, or lazy_embeddings to false"
        )
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


def left_out(state: optax.OptState) -> optax.OptState:
    """The optimizer's state after a batch that is left out: the learning rate moves on, and the moments do not."""

    def is_schedule(part: Any) -> bool:
        return isinstance(part, optax.ScaleByScheduleState)

    def moved(part: Any) -> Any:
        return part._replace(count=part.count + 1) if is_schedule(part) else part

    return jax.tree.map(moved, state, is_leaf=is_schedule)


def decays(parameters: optax.Params) -> optax.Params:
    """Which parameters decay: matrices (weights and embeddings), but not biases, LayerNorm and the temperature."""
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, parameters)


def make_optimizer(config: OptimizerConfig, total_steps: int) -> Optimizer:
    """Clipping, then AdamW with the learning rates of `make_schedule`, once per `accumulate` batches.

    The mean gradient of k batches equals the gradient of one batch k times as large only where the loss is a mean over
    independent rows. The contrastive loss is not: in the larger batch each query would have k times as many negatives.
    Accumulation makes the gradient less noisy; it does not replace a large batch.

    With `lazy_embeddings`, `apply` raises ValueError when no parameter is a word embedding. Donate what it is given:
    the tables are then written in place.

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

    def apply(parameters: Any, gradients: Any, state: Any, tokens: Int[Array, "..."]) -> tuple[Any, Any, Array]:
        updates, state = optimizer.update(gradients, state, parameters)
        return jax.tree.map(jnp.add, parameters, updates), state, optax.tree.norm(gradients)

    def lazy_apply(parameters: Any, gradients: Any, state: Any, tokens: Int[Array, "..."]) -> tuple[Any, Any, Array]:
        rows = _rows_with_a_token(parameters, tokens)
        # The rows left out have no gradient, so that the norm, too, is that of all.
        taken = apply(_take(parameters, rows), _take(gradients, rows), _take(state, rows), tokens)
        return _put(parameters, taken[0], rows), _put(state, taken[1], rows), taken[2]

    return Optimizer(optimizer.init, lazy_apply if config.lazy_embeddings else apply)


def _is_word_embedding(path: tuple[Any, ...]) -> bool:
    return [getattr(key, "key", None) for key in path[-3:]] == ["embeddings", "word", "embedding"]


def _rows_with_a_token(parameters: Any, tokens: Int[Array, "..."]) -> Int[Array, " rows"]:
    """The distinct tokens in increasing order, then the size of the vocabulary as often as is needed to fill up."""
    leaves = jax.tree_util.tree_leaves_with_path(parameters)
    sizes = {leaf.shape[0] for path, leaf in leaves if _is_word_embedding(path)}
    if len(sizes) != 1:
        raise ValueError(
            f"optimizer.lazy_embeddings needs word embeddings of one size, in parameters named"
            f" [...]['embeddings']['word']['embedding'], but found the sizes {sorted(sizes)}: set it to false"
        )
    vocabulary = sizes.pop()
    return jnp.unique(tokens, size=min(tokens.size, vocabulary), fill_value=vocabulary)


def _take(tree: Any, rows: Int[Array, " rows"]) -> Any:
    """`tree` with these rows instead of word embeddings (their moments, their gradients); rows beyond the end are 0."""

    def take(path: tuple[Any, ...], leaf: Array) -> Array:
        return leaf.at[rows].get(mode="fill", fill_value=0) if _is_word_embedding(path) else leaf

    return jax.tree_util.tree_map_with_path(take, tree)


def _put(tree: Any, changed: Any, rows: Int[Array, " rows"]) -> Any:
    """`changed` with the word embeddings of `tree`, these rows of them replaced; rows beyond the end are dropped."""

    def put(path: tuple[Any, ...], leaf: Array, new: Array) -> Array:
        return leaf.at[rows].set(new, mode="drop") if _is_word_embedding(path) else new

    return jax.tree_util.tree_map_with_path(put, tree, changed)
