"""Dropout whose masks belong to the texts, not to the rows that hold them.

A mask is a hash of (the step's key, the place in the model, the text's place in the batch, the token's position in its
text, the feature). So a text loses the same values however the batch is packed into rows, cut into microbatches or
split over devices, and there is no counter to save. (An `nnx.Dropout` counter does not advance under `jax.grad` inside
`jax.jit`: it would draw the same mask at every step.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from hybrid_jax.model.segments import positions


class Noise(NamedTuple):
    """Where the masks of a batch come from."""

    key: UInt32[Array, ""]
    """Differs from step to step, and with `fold` from place to place in the model."""
    token: UInt32[Array, "rows length"]
    """A word for each token: a hash of its text's place in the batch and of its position in the text."""
    position: Int[Array, "rows length"]
    """The token's position in its text."""


def make_noise(key: Key[Array, ""], texts: Int[Array, "rows slots"], segments: Int[Array, "rows length"]) -> Noise:
    """The noise of packed rows: `texts[row, n]` is the place in the batch of the text whose segment is n + 1."""
    position = positions(segments)
    text = jnp.take_along_axis(texts, jnp.maximum(segments - 1, 0), axis=1)
    token = _mix(_mix(text.astype(jnp.uint32)) + position.astype(jnp.uint32))
    return Noise(jax.random.bits(key, (), jnp.uint32), token, position)


def fold(noise: Noise | None, place: int) -> Noise | None:
    """The noise for one place in the model. None stays None: no dropout."""
    return None if noise is None else noise._replace(key=_mix(noise.key + np.uint32(place + 1)))


def dropout(values: Float[Array, "rows length width"], rate: float, noise: Noise | None) -> Float[Array, "..."]:
    """Sets a share `rate` of `values` to zero and scales up the rest to keep the mean. Does nothing without noise."""
    if noise is None or rate == 0:
        return values
    feature = _stored(_mix(jnp.arange(values.shape[-1], dtype=jnp.uint32)))
    kept = _kept(_stored(_mix(noise.token ^ noise.key))[:, :, None] ^ feature, rate)
    # In float32, as 1 / (1 - rate) in bfloat16 would be .2 % off.
    return jnp.where(kept, values.astype(jnp.float32) * (1 / (1 - rate)), 0).astype(values.dtype)


def kept_weights(heads: int, rate: float, noise: Noise | None) -> Bool[Array, "rows heads length length"] | None:
    """Which attention weights dropout keeps, [row, head, from, to]: a share 1 - `rate`. None: all of them."""
    if noise is None or rate == 0:
        return None
    head = _mix(jnp.arange(heads, dtype=jnp.uint32))
    start = _mix((noise.token ^ noise.key)[:, None, :] ^ head[:, None])
    end = _mix(noise.position.astype(jnp.uint32) ^ noise.key)
    return _kept(_stored(start)[..., None] ^ _stored(end)[:, None, None, :], rate)


def _kept(words: UInt32[Array, "*shape"], rate: float) -> Bool[Array, "*shape"]:
    return _mix(words) >= np.uint32(round(rate * 2**32))


def _stored(words: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """`words`, in memory: XLA would fuse their hash into the loop over features or pairs of tokens, and compute a
    token's word again for each. What a gather reads and returns is stored; XLA drops optimization barriers on a CPU."""
    return words.reshape(-1)[jnp.arange(words.size)].reshape(words.shape)


def _mix(word: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A hash of 32 bits to 32 bits: every input bit changes every output bit half of the time.

    Source: "lowbias32" of Chris Wellons, https://nullprogram.com/blog/2018/07/31/.
    """
    word = (word ^ (word >> 16)) * np.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * np.uint32(0x846CA68B)
    return word ^ (word >> 16)
