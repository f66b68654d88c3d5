"""What tells one encoder from another: by all that decides its vectors, or in short by where it came from."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import jax
import numpy as np

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.origin import Origin


def embedding_identity(encoder: TextEncoder) -> dict[str, Any]:
    """Everything that decides the vector of a text, as plain JSON values, wherever the encoder's folder is.

    Reads and hashes all parameters. Two encoders with equal identities give equal vectors.
    """
    digest = sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(encoder.parameters):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.asarray(leaf).tobytes())
    return {
        "parameters_sha256": digest.hexdigest(),
        "tokenizer_sha256": encoder.tokenizer.digest,
        "architecture": encoder.model.model_dump(mode="json"),
        "texts": asdict(encoder.rules),
    }


def model_identity(origin: Origin) -> dict[str, Any]:
    """A run's step and the hash of its config, or the hash of a model's weights and its pooling; and `truncate_dim`.

    Costs nothing, but does not notice prompts or length limits that the caller changed.
    """
    config = origin.config
    digest = None if config is None else sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    values = {"step": origin.step, "config_sha256": digest, "weights_sha256": origin.weights_sha256}
    values |= {"pooling": origin.pooling, "truncate_dim": origin.truncate_dim}
    return {name: value for name, value in values.items() if value is not None}
