"""Packed rows: which text of its row a token belongs to, and what follows from that.

`segments` [rows, length] is 1, 2, ... for the tokens of a row's first, second, ... text, from left to right, and 0 for
padding. Each text is computed as if it stood alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


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


def attends(segments: Int[Array, "rows length"], window: int | None = None) -> Bool[Array, "rows 1 length length"]:
    """The attention mask: True where two tokens belong to the same text of a row, and are at most `window` apart.

    Padding attends to padding, so no softmax is taken over an empty row; nothing reads the result.
    """
    mask = segments[:, None, :, None] == segments[:, None, None, :]
    if window is None:
        return mask
    # The tokens of a text stand side by side, so their distance in the row is their distance in the text.
    index = jnp.arange(segments.shape[1])
    return mask & (jnp.abs(index[:, None] - index) <= window)
