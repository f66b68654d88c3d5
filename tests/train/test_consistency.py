"""The terms that make rankings agree equal their definitions, however they are split over devices and blocks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.contrastive import TEMPERATURE, unit_vectors

from hybrid_jax.data.batch import next_in_circle
from hybrid_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hybrid_jax.train.blocks import BLOCK_BYTES
from hybrid_jax.train.consistency import parallel_divergence, reverse_kl
from hybrid_jax.train.loss import LossConfig, contrastive_loss
from hybrid_jax.train.objective import Groups, Vectors, make_objective

ROWS, PER_ROW = 16, 2
GROUP = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 9, 0, 10], np.int32)
RECORDS = np.array([5, 5, 2, 3, 4, 4, 4, 7, 8, 9, 10, 11, 12, 12, 5, 13])
PARALLEL = [1, 14, 2, 3, 5, 6, 4, 7, 8, 9, 10, 11, 13, 12, 0, 15]
"""Of a record in two places, of one in three, and of others alone."""
SPLITS = [(1, 1, BLOCK_BYTES), (1, 2, 2 * 8 * ROWS), (8, 1, BLOCK_BYTES), (8, 2, 8 * ROWS)]
"""(devices, shards, block_bytes)"""


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum()


def kl(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum(one * np.log(one / other)))


def reverse_kl_by_definition(queries: np.ndarray, positives: np.ndarray, temperature: float, shards: int) -> float:
    total = 0.0
    for i in range(ROWS):
        together = [j for j in range(ROWS) if i * shards // ROWS == j * shards // ROWS]
        compared = [j for j in together if j == i or GROUP[j] != GROUP[i]]
        forward = softmax(np.array([queries[i] @ positives[j] for j in compared]) / temperature)
        reverse = softmax(np.array([positives[i] @ queries[j] for j in compared]) / temperature)
        total += kl(reverse, forward) / ROWS
    return total


def divergence_by_definition(queries: np.ndarray, passages: np.ndarray, temperature: float, shards: int) -> float:
    values = []
    for i, other in enumerate(PARALLEL):
        if other == i:
            continue
        compared = [j for j in range(len(passages)) if i * shards // ROWS == j // PER_ROW * shards // ROWS]
        one, two = (softmax(passages[compared] @ queries[row] / temperature) for row in (i, other))
        values.append((kl(one, (one + two) / 2) + kl(two, (one + two) / 2)) / 2)
    return float(np.mean(values))


def slopes(function: Callable[..., float], arrays: tuple[np.ndarray, ...], shards: int) -> list[np.ndarray]:
    """Central differences of `function` by each number of the arrays, in float64."""
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            before, step, values = array[place], 1e-5, []
            for sign in (1, -1):
                array[place] = before + sign * step
                values.append(function(*arrays, TEMPERATURE, shards))
            array[place] = before
            gradient[place] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def assert_equals(
    term: Callable[..., Any],
    definition: Callable[..., float],
    arrays: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    devices: int,
    shards: int,
    block_bytes: int,
) -> None:
    """`term(*arrays, rows, …)` and its gradients are those of the definition, computed in blocks if they are small."""
    mesh = make_mesh(MeshConfig(data=devices)) if devices > 1 else None
    placed: Any = (*arrays, rows)
    if mesh is not None:
        placed = jax.device_put(placed, (batch_sharding(mesh), replicated(mesh), batch_sharding(mesh)))

    def loss(queries, passages, rows):
        return term(queries, passages, rows, jnp.float32(TEMPERATURE), shards, mesh, block_bytes)

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(*placed).compile()
    assert (" while(" in str(step.as_text())) == (block_bytes < 2**20)
    value, gradients = jax.device_get(step(*placed))
    wide = tuple(array.astype(np.float64) for array in arrays)
    np.testing.assert_allclose(value, definition(*wide, TEMPERATURE, shards), rtol=1e-5)
    for gradient, other in zip(gradients, slopes(definition, wide, shards), strict=True):
        np.testing.assert_allclose(gradient, other, atol=2e-5 * np.abs(other).max())


@pytest.mark.parametrize(("devices", "shards", "block_bytes"), SPLITS)
def test_reverse_kl_equals_its_definition(devices: int, shards: int, block_bytes: int):
    random = np.random.default_rng(0)
    vectors = unit_vectors(random, ROWS), unit_vectors(random, ROWS)
    assert_equals(reverse_kl, reverse_kl_by_definition, vectors, GROUP, devices, shards, block_bytes)


@pytest.mark.parametrize(("devices", "shards", "block_bytes"), SPLITS)
def test_parallel_divergence_equals_its_definition(devices: int, shards: int, block_bytes: int):
    random = np.random.default_rng(1)
    vectors = unit_vectors(random, ROWS), unit_vectors(random, ROWS * PER_ROW)

    def divergence(*arguments):
        return parallel_divergence(*arguments)[0]

    parallel = next_in_circle(RECORDS)
    assert parallel.tolist() == PARALLEL
    assert_equals(divergence, divergence_by_definition, vectors, parallel, devices, shards, block_bytes * PER_ROW)
    queries, passages = map(jnp.array, vectors)
    assert parallel_divergence(queries, passages, jnp.array(parallel), jnp.float32(1))[1] == 8 / 16


def test_no_parallel_query_gives_no_loss_and_no_gradient():
    vectors = jnp.array(unit_vectors(np.random.default_rng(0), ROWS))
    alone = jnp.arange(ROWS)
    (loss, share), gradient = jax.value_and_grad(
        lambda queries: parallel_divergence(queries, vectors, alone, jnp.float32(0.1)), has_aux=True
    )(vectors)
    assert (loss, share) == (0, 0)
    assert not gradient.any()


def test_the_loss_is_the_sum_of_its_shares():
    random = np.random.default_rng(2)
    queries, passages = (jnp.array(unit_vectors(random, count)) for count in (ROWS, ROWS * PER_ROW))
    groups = jnp.array(GROUP), jnp.repeat(jnp.array(GROUP), PER_ROW).at[1::PER_ROW].add(100)
    temperature = jnp.float32(TEMPERATURE)

    def of(**options: Any) -> tuple[float, dict]:
        loss, metrics = contrastive_loss(queries, passages, *groups, temperature, **options)
        return float(loss), metrics

    forward, both = of()[0], of(directions="both")[0]
    reverse = 2 * both - forward
    kl_term = float(reverse_kl(queries, passages[::PER_ROW], groups[0], temperature))
    clear, metrics = of(directions="both", reverse_weight=0.4, kl_weight=0.2)
    assert clear == pytest.approx(0.4 * forward + 0.4 * reverse + 0.2 * kl_term, rel=1e-5)
    assert float(metrics["reverse_kl"]) == pytest.approx(kl_term, rel=1e-5)
    assert "reverse_kl" not in of(directions="both")[1]

    config = LossConfig(directions="both", reverse_weight=0.4, kl_weight=0.2, parallel_weight=3)
    parallel = jnp.array(PARALLEL)
    objective = make_objective(config, make_mesh(MeshConfig(data=1)))
    loss, metrics = objective(Vectors(queries, passages, temperature), Groups(*groups, parallel))
    divergence = float(parallel_divergence(queries, passages, parallel, temperature)[0])
    assert float(loss) == pytest.approx(clear + 3 * divergence, rel=1e-5)
    assert float(metrics["parallel_divergence"]) == pytest.approx(divergence, rel=1e-5)
    assert metrics["parallel"] == 0.5


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_the_next_in_a_circle_is_the_next_equal_value_or_the_first(values: list[int]):
    expected = []
    for place, value in enumerate(values):
        equal = [other for other, found in enumerate(values) if found == value]
        expected.append(next((other for other in equal if other > place), equal[0]))
    assert next_in_circle(np.array(values)).tolist() == expected
