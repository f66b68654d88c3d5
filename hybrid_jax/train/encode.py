"""The model as the training step sees it: packed rows of tokens in, the vectors of the global batch out."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.data.packing import PackedTexts
from hybrid_jax.model.dropout import make_noise
from hybrid_jax.model.dual_encoder import DualEncoder, ModelConfig, Parameters, Side, abstract, bind
from hybrid_jax.runtime.mesh import batch_sharding, replicated, seen_by_kernels
from hybrid_jax.train.objective import Vectors

Encode = Callable[[Parameters, PackedBatch, jax.Array | None], Vectors]
"""(parameters, batch, dropout key) -> vectors; no dropout where the key is None."""


def make_encode(config: ModelConfig, mesh: Mesh) -> Encode:
    """The dual encoder of `config` on `mesh`, to be called under `jax.jit`.

    Chunks of rows are encoded one after the other, and encoded again in the backward pass, so that only one chunk's
    activations exist at a time. The loss and its gradient with respect to the vectors are computed once, of all chunks:
    this is GradCache (Gao et al. 2021, arXiv 2101.06983), and exact. Nothing is encoded again where there is one chunk.
    """
    code, _ = abstract(config)

    def encode(parameters: Parameters, batch: PackedBatch, dropout_key: jax.Array | None) -> Vectors:
        model = bind(code, parameters)
        queries, passages = len(batch.query_group), len(batch.passage_group)
        sides: tuple[Side, ...] = ("queries",) if config.tied else ("queries", "passages")
        vectors = jnp.zeros((queries + passages, config.dim))
        for side, texts in zip(sides, batch.sides, strict=True):
            with seen_by_kernels(mesh):
                encoded = encode_chunks(partial(_encode_rows, model, side, dropout_key), texts)
            # Each device puts the vectors of its rows in their places; then all are added up on every device.
            vectors = vectors.at[texts.numbers].add(encoded, mode="drop")
        vectors = jax.lax.with_sharding_constraint(vectors, replicated(mesh))
        return Vectors(
            jax.lax.with_sharding_constraint(vectors[:queries], batch_sharding(mesh)),
            jax.lax.with_sharding_constraint(vectors[queries:], replicated(mesh)),
            model.temperature,
            batch.teacher,
        )

    return encode


def encode_chunks(
    encode: Callable[[PackedTexts], Float[Array, "rows slots dim"]], texts: PackedTexts
) -> Float[Array, "chunks rows slots dim"]:
    """The vectors of all chunks; with more than one, a chunk's activations are computed again in the backward pass."""
    if len(texts.tokens) == 1:
        return encode(jax.tree.map(lambda array: array[0], texts))[None]
    return jax.lax.map(jax.checkpoint(encode, prevent_cse=False), texts)  # the loop keeps the two computations apart


def _encode_rows(
    model: DualEncoder, side: Side, dropout_key: Key[Array, ""] | None, texts: PackedTexts
) -> Float[Array, "rows slots dim"]:
    noise = None if dropout_key is None else make_noise(dropout_key, texts.numbers, texts.segments)
    return model.encode_packed(side, texts.tokens, texts.segments, texts.numbers.shape[1], noise)
