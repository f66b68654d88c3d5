"""The noise of dropout for rows of a test."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from hybrid_jax.model.dropout import Noise, make_noise


def noise_of(key: jax.Array, segments: ArrayLike, texts: ArrayLike | None = None) -> Noise:
    """Without `texts`, every segment of every row is another text of the batch."""
    rows = jnp.asarray(segments)
    every = jnp.arange(rows.size).reshape(rows.shape)
    return make_noise(key, every if texts is None else jnp.asarray(texts), rows)
