"""The loss equals its definition written as loops, and its mask leaves out the false negatives."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_jax.train.loss import contrastive_loss

Directions = Literal["query_to_passage", "both"]

LOSS = jax.jit(contrastive_loss, static_argnames=("directions", "shards"))
GRADIENT = jax.jit(jax.grad(contrastive_loss, has_aux=True), static_argnames=("directions", "shards"))


def by_loops(queries, passages, query_group, passage_group, temperature, directions, shards) -> dict[str, float]:
    """The docstring's equation, one pair at a time, in float64."""
    rows, per_row = len(queries), len(passages) // len(queries)
    candidates, compared, masked = 0, 0, 0
    forward, backward = 0.0, 0.0
    score = queries.astype(np.float64) @ passages.astype(np.float64).T / temperature

    def together(i: int, j: int) -> bool:
        return i // (rows // shards) == j // (rows // shards)

    for i in range(rows):
        terms = []
        for j in range(len(passages)):
            if j == i * per_row:
                terms.append(score[i, j])
            elif together(i, j // per_row):
                candidates += 1
                if query_group[i] == passage_group[j]:
                    masked += 1
                else:
                    compared += 1
                    terms.append(score[i, j])
        forward += math.log(sum(math.exp(t) for t in terms)) - score[i, i * per_row]
    for i in range(rows):
        column = i * per_row
        negatives = [j for j in range(rows) if together(i, j) and j != i and query_group[j] != passage_group[column]]
        terms = [score[j, column] for j in [i, *negatives]]
        backward += math.log(sum(math.exp(t) for t in terms)) - score[i, column]
    loss = forward / rows if directions == "query_to_passage" else (forward + backward) / rows / 2
    return {"loss": loss, "negatives": compared / rows, "masked": masked / rows, "masked_fraction": masked / candidates}


def random_batch(rows: int, hard_negatives: int, groups: int, seed: int = 0):
    random = np.random.default_rng(seed)
    per_row = 1 + hard_negatives

    def unit(count: int) -> np.ndarray:
        vectors = random.normal(size=(count, 6)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    query_group = random.integers(groups, size=rows).astype(np.int32)
    passage_group = random.integers(groups, size=rows * per_row).astype(np.int32)
    passage_group[::per_row] = query_group
    return unit(rows), unit(rows * per_row), query_group, passage_group


@pytest.mark.parametrize("directions", ["query_to_passage", "both"])
@pytest.mark.parametrize("hard_negatives", [0, 2])
@pytest.mark.parametrize("shards", [1, 4])
def test_equals_the_loops(directions: Directions, hard_negatives: int, shards: int):
    batch = random_batch(rows=8, hard_negatives=hard_negatives, groups=5)
    expected = by_loops(*batch, 0.05, directions, shards)
    loss, metrics = LOSS(*batch, jnp.float32(0.05), directions=directions, shards=shards)
    assert expected["masked"] > 0  # else this would not test the mask
    np.testing.assert_allclose(loss, expected.pop("loss"), rtol=1e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6, err_msg=name)


def test_two_rows_by_hand():
    # Positives score 1 and 0; the other row's passage scores 0 and 1, over a temperature of 0.5.
    queries = np.array([[1, 0], [1, 0]], np.float32)
    passages = np.array([[1, 0], [0, 1]], np.float32)
    groups = np.array([0, 1], np.int32)
    loss, metrics = LOSS(queries, passages, groups, groups, jnp.float32(0.5))
    np.testing.assert_allclose(loss, (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2, rtol=1e-6)
    assert metrics["accuracy"] == 0.5
    assert metrics["positive_score"] == metrics["negative_score"] == 0.5
    assert (metrics["negatives"], metrics["masked"]) == (1, 0)


@pytest.mark.parametrize("directions", ["query_to_passage", "both"])
def test_a_false_negative_has_no_influence_on_its_query(directions: Directions):
    queries, passages, query_group, passage_group = random_batch(rows=4, hard_negatives=1, groups=10_000)
    passage_group[5] = query_group[0]  # the hard negative of row 2 is a translation of row 0's positive
    moved = passages.copy()
    moved[5] = queries[0]  # and now scores highest of all with query 0
    gradients = [
        GRADIENT(queries, p, query_group, passage_group, jnp.float32(0.05), directions=directions)[0]
        for p in (passages, moved)
    ]
    np.testing.assert_array_equal(gradients[0][0], gradients[1][0])
    assert not np.array_equal(gradients[0][1], gradients[1][1])  # it is a true negative of the others


def test_a_tie_is_not_right():
    """Else a model that gives all texts one vector has accuracy 1."""
    same = np.tile(np.array([[1, 0]], np.float32), (4, 1))
    groups = np.arange(4, dtype=np.int32)
    loss, metrics = LOSS(same, same, groups, groups, jnp.float32(0.05), directions="both")
    assert metrics["accuracy"] == 0
    np.testing.assert_allclose(loss, math.log(4), rtol=1e-6)


def test_a_batch_of_one_group_has_no_negatives():
    queries, passages, _, _ = random_batch(rows=4, hard_negatives=0, groups=1)
    groups = np.zeros(4, np.int32)
    loss, metrics = LOSS(queries, passages, groups, groups, jnp.float32(0.05), directions="both")
    gradient, _ = GRADIENT(queries, passages, groups, groups, jnp.float32(0.05), directions="both")
    assert loss == 0
    assert metrics["masked_fraction"] == 1
    assert metrics["negatives"] == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(queries))


def test_the_order_of_rows_does_not_matter():
    queries, passages, query_group, passage_group = random_batch(rows=8, hard_negatives=0, groups=5)
    order = np.random.default_rng(1).permutation(8)
    shuffled = (queries[order], passages[order], query_group[order], passage_group[order])
    for directions in ("query_to_passage", "both"):
        first, _ = LOSS(queries, passages, query_group, passage_group, jnp.float32(0.05), directions=directions)
        second, _ = LOSS(*shuffled, jnp.float32(0.05), directions=directions)
        np.testing.assert_allclose(first, second, rtol=1e-6)


def test_local_negatives_are_fewer():
    batch = random_batch(rows=8, hard_negatives=1, groups=10_000)
    everywhere, one_shard = (LOSS(*batch, jnp.float32(0.05), shards=shards) for shards in (1, 4))
    assert everywhere[1]["negatives"] == 15
    assert one_shard[1]["negatives"] == 3
    assert one_shard[0] < everywhere[0]  # a sum over fewer passages


def test_uneven_batches_are_refused():
    queries, passages, query_group, passage_group = random_batch(rows=4, hard_negatives=1, groups=5)
    with pytest.raises(ValueError, match="7 passages for 4 queries"):
        LOSS(queries, passages[:7], query_group, passage_group[:7], jnp.float32(0.05))
    with pytest.raises(ValueError, match="4 rows cannot be split into 3 equal shards"):
        LOSS(queries, passages, query_group, passage_group, jnp.float32(0.05), shards=3)
