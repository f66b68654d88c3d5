"""A trained run as an encoder of texts: token ids sorted by length, padded to a few shapes, spread over the mesh.

Knows: a run's folder, tokenizer and model. Does not know: tasks, metrics.
"""

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from hybrid_jax.data.pipeline import DataConfig
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, abstract, bind, initialize
from hybrid_jax.runtime import checkpoint
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding, put_batch

TOKENS_PER_BATCH = 16_384
"""Rows of a batch = this / row length: every shape costs about the same time and memory."""


class RunEncoder:
    """`encode_queries(texts)` and `encode_passages(texts)`, float32[texts, dim], unit norm, as the run was trained.

    Attributes: `step` (0 when untrained). Raises CheckpointError when the run has no usable checkpoint.
    """

    def __init__(self, run: Path, data: DataConfig, model: ModelConfig, step: int | None, warn: Callable[[str], None]):
        self._data = data
        self._mesh: Mesh = make_mesh(MeshConfig())
        self._tokenizer = Tokenizer(run / "tokenizer")
        self._code, shapes = abstract(model)
        self.step, self._parameters = _restore(run, shapes, step, self._mesh, warn)
        self._encode = {
            side: jax.jit(lambda p, t, s, side=side: getattr(bind(self._code, p), f"encode_{side}")(t, s))
            for side in ("queries", "passages")
        }

    def untrained(self, model: ModelConfig, seed: int) -> "RunEncoder":
        """The same encoder as it was before its first step."""
        before = copy(self)
        before.step, before._parameters = 0, jax.jit(initialize, static_argnums=0)(model, seed)
        return before

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._run("queries", texts, self._data.query_prefix, self._data.max_query_length)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._run("passages", texts, self._data.passage_prefix, self._data.max_passage_length)

    def _run(self, side: str, texts: Sequence[str], prefix: str, limit: int) -> np.ndarray:
        ids, _ = self._tokenizer.encode([prefix + text for text in texts], limit)
        lengths = np.array([len(row) for row in ids])
        order = np.argsort(-lengths, kind="stable")
        vectors: list[np.ndarray] = []
        with tqdm(total=len(texts), desc=f"encoding {side}", unit="text", disable=None, leave=False) as bar:
            start = 0
            while start < len(order):
                length = self._data.bucket(int(lengths[order[start]]), limit)
                rows = -(-max(1, TOKENS_PER_BATCH // length) // self._mesh.size) * self._mesh.size
                chosen = order[start : start + rows]
                tokens = np.full((rows, length), self._tokenizer.pad_id, np.int32)
                segments = np.zeros((rows, length), np.int32)
                for row, text in enumerate(chosen):
                    tokens[row, : lengths[text]] = ids[text]
                    segments[row, : lengths[text]] = 1
                batch = put_batch(self._mesh, {"tokens": tokens, "segments": segments})
                found = self._encode[side](self._parameters, batch["tokens"], batch["segments"])
                vectors.append(np.asarray(found)[: len(chosen)])
                start += len(chosen)
                bar.update(len(chosen))
        result = np.empty((len(texts), vectors[0].shape[1]), np.float32)
        result[order] = np.concatenate(vectors)
        return result


def _restore(
    run: Path, shapes: Parameters, step: int | None, mesh: Mesh, warn: Callable[[str], None]
) -> tuple[int, Parameters]:
    def placed(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=parameter_sharding(mesh, leaf.shape))

    step, found = checkpoint.restore(run / "checkpoints", {"parameters": jax.tree.map(placed, shapes)}, warn, step)
    return step, found["parameters"]
