"""The model as the training step sees it: a batch of tokens in, the vectors of the global batch out."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from hybrid_jax.model.dropout import make_noise
from hybrid_jax.model.dual_encoder import DualEncoder, ModelConfig, Parameters, Side, abstract, bind
from hybrid_jax.runtime.mesh import batch_sharding, replicated
from hybrid_jax.train.objective import Vectors

Batch = dict[str, jax.Array]
"""query_tokens and query_segments (int32[rows, length]), query_group (int32[rows]), and the same for passage_."""

Encode = Callable[[Parameters, Batch, jax.Array | None], Vectors]
"""(parameters, batch, dropout key) -> vectors; no dropout where the key is None."""


def make_encode(config: ModelConfig, mesh: Mesh) -> Encode:
    """The dual encoder of `config` on `mesh`, to be called under `jax.jit`."""
    code, _ = abstract(config)

    def encode(parameters: Parameters, batch: Batch, dropout_key: jax.Array | None) -> Vectors:
        model = bind(code, parameters)
        rows = len(batch["query_tokens"])
        queries = one_per_row(model, "queries", batch["query_tokens"], batch["query_segments"], 0, dropout_key)
        passages = one_per_row(model, "passages", batch["passage_tokens"], batch["passage_segments"], rows, dropout_key)
        # Each device encodes its own rows. Then all passages are gathered on every device: they are the negatives.
        queries = jax.lax.with_sharding_constraint(queries, batch_sharding(mesh))
        passages = jax.lax.with_sharding_constraint(passages, batch_sharding(mesh))
        passages = jax.lax.with_sharding_constraint(passages, replicated(mesh))
        return Vectors(queries, passages, model.temperature)

    return encode


def one_per_row(
    model: DualEncoder,
    side: Side,
    tokens: Int[Array, "rows length"],
    segments: Int[Array, "rows length"],
    first: int,
    dropout_key: Key[Array, ""] | None,
) -> Float[Array, "rows dim"]:
    """The vectors of one side, a text per row; for dropout, row i is text `first` + i of the batch."""
    places = first + jnp.arange(len(tokens))[:, None]
    noise = None if dropout_key is None else make_noise(dropout_key, places, segments)
    return model.encode_packed(side, tokens, segments, 1, noise)[:, 0]
