"""What encoders of all families are built from: attention within each text of a row, dropout, linear and normal layers.

Functions of arrays, and makers of Flax layers. Two conventions run through all of them:

- `segments` [rows, length] says which text of its row a token belongs to: 1, 2, ... from left to right, 0 for padding.
  A row may hold several texts ("packing"). Each is computed as if it stood alone.
- Dropout takes its key as an argument. `fold` derives a key for each place in the model, so the same key gives the same
  masks on any number of devices, and there is no counter to save. (An `nnx.Dropout` counter does not advance under
  `jax.grad` inside `jax.jit`: it would draw the same mask at every step.)
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

DropoutKey = Key[Array, ""] | None
"""A typed key (`jax.random.key`), or None for no dropout."""


def fold(key: DropoutKey, place: int) -> DropoutKey:
    """The dropout key for one place in the model, derived from `key`. Returns None when `key` is None."""
    return None if key is None else jax.random.fold_in(key, place)


def dropout(values: Float[Array, "*shape"], rate: float, key: DropoutKey) -> Float[Array, "*shape"]:
    """Sets a share `rate` of `values` to zero and scales up the rest to keep the mean. Does nothing without a key.

    `rate` is rounded to a multiple of 1/65536: each random 32-bit word decides two values, which halves the cost. On a
    CPU, drawing random numbers is most of what dropout costs.
    """
    if key is None or rate == 0:
        return values
    *leading, last = values.shape
    words = jax.random.bits(key, (*leading, (last + 1) // 2), jnp.uint32)
    bits = jnp.concatenate([words >> 16, words & 0xFFFF], axis=-1)[..., :last]
    kept = round((1 - rate) * 65536)
    return jnp.where(bits < kept, values * (65536 / kept), 0).astype(values.dtype)


def positions(segments: Int[Array, "rows length"]) -> Int[Array, "rows length"]:
    """Each token's position within its own text, counted from 0. Padding has position 0.

    The tokens of a text must stand side by side.
    """
    index = jnp.arange(segments.shape[1])
    starts = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    start = jax.lax.cummax(jnp.where(starts, index, 0), axis=1)
    return jnp.where(segments > 0, index - start, 0)


def positions_between_padding_tokens(
    tokens: Int[Array, "rows length"], segments: Int[Array, "rows length"], padding_id: int
) -> Int[Array, "rows length"]:
    """Each token's position within its own text as RoBERTa counts: tokens whose id is `padding_id` are not counted.

    A text may contain that token: the name of the padding token as a literal is read as one. Its own position is -1.
    Other tokens have the number of counted tokens before them in their text. Padding, which
    belongs to no text, has position 0. Without such a token in a text, these are `positions`.

    Source: `create_position_ids_from_input_ids` of transformers' RoBERTa, whose positions are these + `padding_id` + 1.
    """
    counted = (tokens != padding_id) & (segments > 0)
    until = jnp.cumsum(counted, axis=1)
    starts = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    before_text = jax.lax.cummax(jnp.where(starts, until - counted, 0), axis=1)
    return jnp.where(counted, until - before_text - 1, jnp.where(segments > 0, -1, 0))


def same_text(segments: Int[Array, "rows length"]) -> Bool[Array, "rows 1 length length"]:
    """The attention mask: True where two tokens belong to the same text of a row.

    Padding attends to padding, so no softmax is taken over an empty row; nothing reads the result.
    """
    return segments[:, None, :, None] == segments[:, None, None, :]


def split_heads(values: Float[Array, "rows length hidden"], heads: int) -> Float[Array, "rows heads length size"]:
    """Splits the last axis into heads and moves them before the positions.

    Attention is then plain batched matrix products. On CPU these are faster than an einsum over
    [rows, length, heads, size] and than `jax.nn.dot_product_attention`, which has no dropout either.
    """
    rows, length, width = values.shape
    return values.reshape(rows, length, heads, width // heads).transpose(0, 2, 1, 3)


def attend(
    query: Float[Array, "rows heads length size"],
    key: Float[Array, "rows heads length size"],
    value: Float[Array, "rows heads length size"],
    mask: Bool[Array, "rows 1 length length"],
    rate: float,
    dropout_key: DropoutKey,
) -> Float[Array, "rows length hidden"]:
    """Scaled dot-product attention, with the heads concatenated in the result.

    `mask[row, 0, i, j]` is True where token i attends to token j; every token must attend to at least one. Scores and
    softmax are float32. `rate` is the share of attention weights that are dropped.
    """
    rows, heads, length, size = query.shape
    scores = jnp.matmul(query, key.swapaxes(2, 3), preferred_element_type=jnp.float32) / math.sqrt(size)
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(jnp.float32).min), axis=-1)
    weights = dropout(weights.astype(value.dtype), rate, dropout_key)
    return (weights @ value).transpose(0, 2, 1, 3).reshape(rows, length, heads * size)


def check_length(tokens: Int[Array, "rows length"], max_length: int) -> None:
    """Raises ValueError when rows are longer than the encoder's `max_length`."""
    if tokens.shape[1] > max_length:
        raise ValueError(
            f"rows of {tokens.shape[1]} tokens, but the encoder has max_length {max_length}:"
            f" set max_length to at least {tokens.shape[1]}, or shorten the texts"
        )


def linear(
    inputs: int, outputs: int, *, dtype: str, init: nnx.Initializer, rngs: nnx.Rngs, bias: bool = True
) -> nnx.Linear:
    """A linear layer that multiplies in `dtype` and keeps its parameters in float32."""
    return nnx.Linear(
        inputs, outputs, use_bias=bias, dtype=jnp.dtype(dtype), param_dtype=jnp.float32, kernel_init=init, rngs=rngs
    )


def layer_norm(width: int, epsilon: float, rngs: nnx.Rngs, bias: bool = True) -> nnx.LayerNorm:
    """LayerNorm in float32. The variance is computed in two passes: E[x^2] - E[x]^2 would lose digits."""
    return nnx.LayerNorm(width, epsilon=epsilon, use_bias=bias, dtype=jnp.float32, use_fast_variance=False, rngs=rngs)
