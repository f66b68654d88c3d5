"""Cuts an encoder's vectors to their first numbers (Matryoshka representations, arXiv 2205.13147).

The cut is part of the model: its last layer gives fewer numbers. So everything that tells one model from another (a
store's identity, an export, mteb's revision) tells one cut from another too.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.model.dual_encoder import Parameters
from hybrid_jax.runtime.mesh import parameter_sharding


def truncated(encoder: TextEncoder, truncate_dim: int) -> TextEncoder:
    """The encoder whose vectors are the first `truncate_dim` numbers of those of `encoder`, scaled to length 1 again.

    A projection keeps its first outputs, since its activation acts on each number; a model without one gets a
    projection that picks them. Raises ValueError for less than 1 number and for more than the encoder gives.
    """
    if not 1 <= truncate_dim <= encoder.dim:
        raise ValueError(
            f"truncate_dim {truncate_dim}: the vectors of {encoder.origin.name} have {encoder.dim} numbers: choose "
            f"from 1 to {encoder.dim}"
        )
    if truncate_dim == encoder.dim:
        return encoder
    has_projection = encoder.model.projection_dim is not None

    def cut(tower: Parameters) -> Parameters:
        layer: dict[str, Any] = tower["projection"] if has_projection else {"kernel": np.eye(encoder.dim)}
        first = {name: np.asarray(values)[..., :truncate_dim].astype(np.float32) for name, values in layer.items()}
        return {**tower, "projection": {name: place(values) for name, values in first.items()}}

    def place(values: np.ndarray) -> jax.Array:
        sharding = parameter_sharding(encoder.mesh, values.shape)
        return jax.make_array_from_callback(values.shape, sharding, values.__getitem__)

    towers = {name: cut(tree) if name.endswith("tower") else tree for name, tree in encoder.parameters.items()}
    bias = has_projection and encoder.model.projection_bias
    return replace(
        encoder,
        model=encoder.model.model_copy(update={"projection_dim": truncate_dim, "projection_bias": bias}),
        parameters=towers,
        origin=encoder.origin.model_copy(update={"truncate_dim": truncate_dim}),
    )
