"""The noise of dropout for rows of a test."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from hybrid_jax.model.dropout import Noise, make_noise


def noise_of(key: jax.Array, segments: ArrayLike, texts: ArrayLike | None = None) -> Noise:
    """Without `texts`, every segment of every row is another text of the batch."""
    rows = jnp.asarray(segments)
    every = jnp.arange(rows.size).reshape(rows.shape)
    return make_noise(key, every if texts is None else jnp.asarray(texts), rows)


def assert_dropout_is_the_same_packed(encode, tokens: np.ndarray, segments: np.ndarray) -> None:
    """`encode(tokens, segments, noise)` gives two texts the same hidden states alone and in one row, with dropout.

    `tokens` and `segments` are those of two rows of one text each.
    """
    key, (first, second) = jax.random.key(5), segments.sum(axis=1)
    alone = encode(tokens, segments, noise_of(key, segments, np.array([[4], [6]])))
    row = np.concatenate([tokens[1:, :second], tokens[:1, :first]], axis=1)
    row_segments = np.repeat([1, 2], [second, first])[None].astype(np.int32)
    packed = encode(row, row_segments, noise_of(key, row_segments, np.array([[6, 4]])))
    np.testing.assert_allclose(packed[0, :second], alone[1, :second], atol=1e-5)
    np.testing.assert_allclose(packed[0, second:], alone[0, :first], atol=1e-5)
    assert not np.allclose(alone, encode(tokens, segments, None), atol=0.1)
