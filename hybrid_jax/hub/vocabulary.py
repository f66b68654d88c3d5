"""Pretrained weights with another vocabulary: the body's weights, and a new word embedding made from the old one.

A new token's row is the mean of the rows of the old tokens that make up its text. Where there are none, it is drawn
from the normal distribution of the old rows, dimension by dimension, rather than from that of an untrained model: the
body was trained on rows of that size.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jaxtyping import Array, Float

from hybrid_jax.hub.folders import Pretrained
from hybrid_jax.hub.weights import Shardings, load_parameters
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters


def load_with_new_words(
    pretrained: Pretrained,
    config: ModelConfig,
    sharding: Shardings,
    fresh: Parameters,
    old_tokens: Sequence[Sequence[int]],
    seed: int,
) -> Parameters:
    """What `load_parameters` gives, but for the word embedding: row i is the mean of the old rows `old_tokens[i]`.

    Rows without old tokens, and rows of `config` beyond the tokens, are drawn from `seed`: mean and standard deviation
    are those of the old rows. Raises PretrainedError as `load_tower` does.
    """
    rows = pretrained.model.encoder.vocab_size
    encoder = config.encoder.model_copy(update={"vocab_size": rows})
    parameters = load_parameters(pretrained, config.model_copy(update={"encoder": encoder}), sharding, fresh)
    towers = ["tower"] if config.tied else ["query_tower", "passage_tower"]
    for tower in towers:
        word = parameters[tower]["encoder"]["embeddings"]["word"]
        shape = config.encoder.vocab_size, word["embedding"].shape[1]
        word["embedding"] = _new_rows(word["embedding"], old_tokens, seed, shape, sharding(shape))
    return parameters


def _new_rows(
    old: Float[Array, "old_tokens hidden"],
    old_tokens: Sequence[Sequence[int]],
    seed: int,
    shape: tuple[int, int],
    sharding: Sharding,
) -> Float[Array, "tokens hidden"]:
    counts = np.zeros(shape[0], np.int32)
    counts[: len(old_tokens)] = [len(tokens) for tokens in old_tokens]
    parts = np.array([token for tokens in old_tokens for token in tokens], np.int32)

    @partial(jax.jit, out_shardings=sharding)
    def make(old: Array, parts: Array, row: Array, counts: Array) -> Array:
        means = jax.ops.segment_sum(old[parts], row, shape[0]) / jnp.maximum(counts, 1)[:, None]
        drawn = old.mean(axis=0) + old.std(axis=0) * jax.random.normal(jax.random.key(seed), shape)
        return jnp.where(counts[:, None] > 0, means, drawn)

    return make(old, parts, np.repeat(np.arange(shape[0], dtype=np.int32), counts), counts)
