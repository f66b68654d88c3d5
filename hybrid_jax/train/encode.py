"""The model as the training step sees it: a batch of tokens in, the vectors of the global batch out."""

from collections.abc import Callable

import jax
from jax.sharding import Mesh

from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, abstract, bind
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
        queries = model.encode_queries(batch["query_tokens"], batch["query_segments"], dropout_key)
        passages = model.encode_passages(batch["passage_tokens"], batch["passage_segments"], dropout_key)
        # Each device encodes its own rows. Then all passages are gathered on every device: they are the negatives.
        queries = jax.lax.with_sharding_constraint(queries, batch_sharding(mesh))
        passages = jax.lax.with_sharding_constraint(passages, batch_sharding(mesh))
        passages = jax.lax.with_sharding_constraint(passages, replicated(mesh))
        return Vectors(queries, passages, model.temperature)

    return encode
