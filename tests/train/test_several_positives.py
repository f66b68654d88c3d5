"""The loss with several positives equals its definition, written as loops and as dense scores, however it is split."""

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.contrastive import TEMPERATURE, Arrays, Directions, assert_loss_equals, unit_vectors

from hybrid_jax.runtime.mesh import MeshConfig, make_mesh
from hybrid_jax.train.loss import BLOCK_BYTES, LossConfig, contrastive_loss
from hybrid_jax.train.objective import Groups, Vectors, make_objective

LOSS = jax.jit(contrastive_loss, static_argnames=("directions", "shards", "positives"))
GRADIENT = jax.jit(jax.grad(contrastive_loss, has_aux=True), static_argnames=("directions", "shards", "positives"))


def random_batch(query_group: list[int], hard_negatives: int) -> Arrays:
    """Random unit vectors; some of the hard negatives are in a group of the queries."""
    random = np.random.default_rng(0)
    rows, per_row = len(query_group), 1 + hard_negatives

    passage_group = np.arange(1000, 1000 + rows * per_row)
    passage_group[1::4] = random.choice(query_group, len(passage_group[1::4]))
    passage_group[::per_row] = query_group
    vectors = unit_vectors(random, rows), unit_vectors(random, rows * per_row)
    return *vectors, np.array(query_group, np.int32), passage_group.astype(np.int32)


def pairs_of(query_group, passage_group, shards: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """bool[rows, candidates] three times: positives, negatives and candidates of the shard that are neither."""
    rows, candidates = len(query_group), len(passage_group)
    positive, negative, left_out = (np.zeros((rows, candidates), bool) for _ in range(3))
    for i in range(rows):
        for j in range(candidates):
            owner, place = divmod(j, candidates // rows)
            if i * shards // rows != owner * shards // rows:
                continue
            if query_group[i] != passage_group[j]:
                negative[i, j] = True
            elif place == 0:
                positive[i, j] = True
            else:
                left_out[i, j] = True
    return positive, negative, left_out


def one_direction(scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss of the rows, positive by positive, and its gradient by the scores."""
    loss, gradient = 0.0, np.zeros_like(scores)
    for i in range(len(scores)):
        of_positives = np.flatnonzero(positive[i])
        for j in of_positives:
            terms = np.where(negative[i], np.exp(scores[i] - scores[i, j]), 0)
            share = 1 / len(of_positives) / len(scores)
            loss += share * math.log(1 + terms.sum())
            gradient[i] += share * terms / (1 + terms.sum())
            gradient[i, j] -= share * terms.sum() / (1 + terms.sum())
    return loss, gradient


def by_definition(batch: Arrays, directions: Directions, shards: int):
    """Loss, gradients (queries, passages, temperature) and metrics in float64."""
    queries, passages = batch[0].astype(np.float64), batch[1].astype(np.float64)
    positive, negative, left_out = pairs_of(*batch[2:], shards)
    cosines = queries @ passages.T
    scores = cosines / TEMPERATURE
    loss, gradient = one_direction(scores, positive, negative)
    if directions == "both":
        own = np.arange(len(queries)) * (len(passages) // len(queries))
        back, back_gradient = one_direction(*(array[:, own].T for array in (scores, positive, negative)))
        loss, gradient = (loss + back) / 2, gradient / 2
        gradient[:, own] += back_gradient.T / 2
    gradients = (
        gradient @ passages / TEMPERATURE,
        gradient.T @ queries / TEMPERATURE,
        -np.sum(gradient * scores) / TEMPERATURE,
    )
    best = np.where(negative, scores, -np.inf).max(axis=1)
    rows = range(len(queries))
    metrics = {
        "accuracy": np.mean([np.mean(scores[i, positive[i]] > best[i]) for i in rows]),
        "positives": positive.sum() / len(queries),
        "negatives": negative.sum() / len(queries),
        "masked": left_out.sum() / len(queries),
        "masked_fraction": left_out.sum() / (negative.sum() + left_out.sum()),
        "positive_score": np.mean([cosines[i, positive[i]].mean() for i in rows]),
        "negative_score": cosines[negative].mean(),
    }
    return loss, gradients, metrics


ALIGNED = [row // 4 for row in range(24)]
ODD = [0, 1, 1, 2, 3, 3, 3, 4, 5, 6, 7, 7, 7, 7, 7, 8, 9, 1, 0, 10, 11, 2, 12, 13]
"""Groups of one to five rows, some apart from one another, so that devices and shards cut them."""
DENSE, TWO_ROWS = BLOCK_BYTES, 2 * 4 * 24


@pytest.mark.parametrize("directions", ["query_to_passage", "both"])
@pytest.mark.parametrize(("groups", "hard_negatives"), [(ALIGNED, 0), (ODD, 2)])
@pytest.mark.parametrize(("devices", "shards"), [(1, 1), (1, 2), (8, 1), (8, 8)])
@pytest.mark.parametrize("block_bytes", [DENSE, TWO_ROWS])
def test_equals_the_definition(
    directions: Directions, groups: list[int], hard_negatives: int, devices: int, shards: int, block_bytes: int
):
    batch = random_batch(groups, hard_negatives)
    assert_loss_equals(
        by_definition(batch, directions, shards),
        batch,
        directions,
        shards,
        devices,
        block_bytes * (1 + hard_negatives),
        "all",
        in_blocks=block_bytes == TWO_ROWS,
        gradient_atol=2e-6,
    )


def test_a_group_of_two_by_hand():
    # Query 0 has cosines 1 and 0 with the passages of its group and 0 with the other: log(1 + e^-2) and log(1 + e^0)
    # at a temperature of 0.5. Query 1 has 0 and 1, and -1 with the other. Query 2 has one positive, and 0 and -1.
    queries = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    groups = np.array([0, 0, 1], np.int32)
    loss, metrics = LOSS(queries, queries, groups, groups, jnp.float32(0.5), positives="all")

    def term(positive: float, *negatives: float) -> float:
        return math.log(1 + sum(math.exp((negative - positive) / 0.5) for negative in negatives))

    rows = [(term(1, 0) + term(0, 0)) / 2, (term(0, -1) + term(1, -1)) / 2, term(1, 0, -1)]
    np.testing.assert_allclose(loss, sum(rows) / 3, rtol=1e-6)
    # A positive that scores as the negative does is not above it.
    np.testing.assert_allclose(metrics["accuracy"], (0.5 + 1 + 1) / 3, rtol=1e-6)
    np.testing.assert_allclose(metrics["positives"], 5 / 3, rtol=1e-6)
    assert metrics["masked"] == 0


@pytest.mark.parametrize("directions", ["query_to_passage", "both"])
def test_equals_the_ordinary_loss_where_each_query_has_one_positive(directions: Directions):
    """Also with hard negatives that are in the group of a query: both losses leave them out."""
    batch = random_batch(list(range(24)), hard_negatives=2)
    one, several = (
        GRADIENT(*batch, jnp.float32(TEMPERATURE), directions=directions, positives=positives)
        for positives in ("one", "all")
    )
    np.testing.assert_allclose(several[0], one[0], rtol=1e-5, atol=1e-6 * np.abs(one[0]).max())
    assert several[1].pop("positives") == 1
    assert one[1]["masked"] > 0
    for name, value in one[1].items():
        np.testing.assert_allclose(several[1][name], value, rtol=1e-6, err_msg=name)


def test_no_positive_competes_with_another():
    """Wherever the other positive of its queries lies, the gradient of a passage is the same."""
    queries, passages, query_group, passage_group = random_batch([0, 0], hard_negatives=2)
    by_passages = jax.jit(jax.grad(partial(contrastive_loss, positives="all"), argnums=1, has_aux=True))

    def gradient_of_second(first: np.ndarray) -> np.ndarray:
        moved = np.concatenate([first[None], passages[1:]])
        gradient, _ = by_passages(queries, moved, query_group, passage_group, jnp.float32(TEMPERATURE))
        return np.asarray(gradient[3])

    for near in (queries[0], -queries[0]):
        np.testing.assert_allclose(gradient_of_second(near), gradient_of_second(passages[0]), rtol=1e-6)


@pytest.mark.parametrize("directions", ["query_to_passage", "both"])
def test_a_batch_of_one_group_teaches_nothing_and_is_finite(directions: Directions):
    queries, passages, groups, _ = random_batch([0] * 4, hard_negatives=0)
    arguments = (queries, passages, groups, groups, jnp.float32(TEMPERATURE))
    loss, metrics = LOSS(*arguments, directions=directions, positives="all")
    gradient, _ = GRADIENT(*arguments, directions=directions, positives="all")
    assert (loss, metrics["positives"], metrics["negatives"]) == (0, 4, 0)
    np.testing.assert_array_equal(gradient, np.zeros_like(queries))


@pytest.mark.parametrize("negatives", ["global", "local"])
def test_the_config_chooses_it(negatives: Literal["global", "local"]):
    queries, passages, query_group, passage_group = random_batch(ODD, hard_negatives=0)
    mesh = make_mesh(MeshConfig(data=4))
    vectors = Vectors(jnp.asarray(queries), jnp.asarray(passages), jnp.float32(TEMPERATURE))
    groups = Groups(jnp.asarray(query_group), jnp.asarray(passage_group))
    loss, _ = jax.jit(make_objective(LossConfig(positives="all", negatives=negatives), mesh))(vectors, groups)
    expected, *_ = by_definition(
        (queries, passages, query_group, passage_group), "query_to_passage", {"global": 1, "local": 4}[negatives]
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
