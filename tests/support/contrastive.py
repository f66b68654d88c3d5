"""The contrastive loss as a training step runs it, beside a reference in float64."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hybrid_jax.train.loss import contrastive_loss

Directions = Literal["query_to_passage", "both"]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Vectors of queries and of passages, groups of queries and of passages."""
TEMPERATURE = 0.1


def unit_vectors(random: np.random.Generator, count: int) -> np.ndarray:
    """float32[count, 5] of length 1."""
    vectors = random.normal(size=(count, 5)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def assert_loss_equals(
    expected: tuple[Any, tuple[Any, ...], dict[str, Any]],
    batch: Arrays,
    directions: Directions,
    shards: int,
    devices: int,
    block_bytes: int,
    positives: Literal["one", "all"],
    in_blocks: bool,
    gradient_atol: float,
) -> None:
    """Loss, gradients (queries, passages, temperature) and metrics are the expected ones, to float32's rounding.

    `in_blocks` says whether the compiled program must loop over blocks of rows; `gradient_atol` is relative to the
    largest element of each gradient.
    """
    mesh = make_mesh(MeshConfig(data=devices // 2, fsdp=2)) if devices > 1 else None

    def loss_fn(queries, passages, temperature, query_group, passage_group):
        options = directions, shards, mesh, block_bytes, positives
        return contrastive_loss(queries, passages, query_group, passage_group, temperature, *options)

    queries, passages, query_group, passage_group = batch
    arguments = queries, passages, jnp.float32(TEMPERATURE), query_group, passage_group
    if mesh is not None:
        split, whole = batch_sharding(mesh), replicated(mesh)
        arguments = jax.device_put(arguments, (split, whole, whole, split, split))
    step = jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1, 2), has_aux=True)).lower(*arguments).compile()
    assert (" while(" in str(step.as_text())) == in_blocks
    (loss, metrics), gradients = jax.device_get(step(*arguments))

    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    for one, other in zip(gradients, expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=gradient_atol * np.abs(other).max())
    assert metrics.keys() == expected[2].keys()
    for name, value in expected[2].items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
