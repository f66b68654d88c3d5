"""loss.false_negatives "kept": translations of a positive are negatives, as in a plain cross-entropy over the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.contrastive import unit_vectors

from hybrid_jax.runtime.mesh import MeshConfig, make_mesh
from hybrid_jax.train.loss import LossConfig, own_groups
from hybrid_jax.train.objective import Groups, Vectors, make_objective

ROWS = 8
TRANSLATED = np.array([0, 1, 0, 2, 1, 0, 3, 4], np.int32)
"""Three texts of group 0 and two of group 1, so 3 x 2 + 2 x 1 = 8 passages mean what another row's query asks for."""


def objective_of(config: LossConfig, per_row: int, passage_group: np.ndarray):
    """(loss, metrics) of random unit vectors, over four devices."""
    random = np.random.default_rng(0)
    queries, passages = unit_vectors(random, ROWS), unit_vectors(random, ROWS * per_row)
    vectors = Vectors(jnp.array(queries), jnp.array(passages), jnp.float32(0.1))
    groups = Groups(jnp.array(TRANSLATED), jnp.array(passage_group))
    mesh = make_mesh(MeshConfig(), jax.devices()[:4])
    loss, metrics = jax.jit(make_objective(config, mesh))(vectors, groups)
    return vectors, float(loss), {name: float(value) for name, value in metrics.items()}


def cross_entropy(scores: np.ndarray, left_out: np.ndarray | None = None) -> float:
    """-log softmax of each row's own passage, in float64."""
    exponentials = np.exp(scores)
    if left_out is not None:
        exponentials[left_out] = 0
    own = np.arange(len(scores)) * (scores.shape[1] // len(scores))
    return float(-np.log(exponentials[np.arange(len(scores)), own] / exponentials.sum(axis=1)).mean())


def test_kept_is_the_plain_cross_entropy_and_masked_is_not():
    vectors, kept, metrics = objective_of(LossConfig(false_negatives="kept"), 1, TRANSLATED)
    scores = np.asarray(vectors.queries, np.float64) @ np.asarray(vectors.passages, np.float64).T / 0.1
    assert kept == pytest.approx(cross_entropy(scores), rel=1e-5)
    assert (metrics["negatives"], metrics["masked"]) == (ROWS - 1, 0)

    _, masked, metrics = objective_of(LossConfig(), 1, TRANSLATED)
    assert (metrics["negatives"], metrics["masked"]) == (ROWS - 2, 1)  # 8 of 8 x 7 are left out
    assert masked < kept - 0.01


def test_a_filling_is_left_out_for_its_own_query_only():
    filled = np.stack([TRANSLATED, 100 + np.arange(ROWS)], axis=1)
    filled[2, 1] = TRANSLATED[2]  # a filling of row 2, in the group of rows 0 and 5 as well
    vectors, kept, metrics = objective_of(LossConfig(false_negatives="kept"), 2, filled.ravel().astype(np.int32))
    scores = np.asarray(vectors.queries, np.float64) @ np.asarray(vectors.passages, np.float64).T / 0.1
    left_out = np.zeros_like(scores, bool)
    left_out[2, 5] = True
    assert kept == pytest.approx(cross_entropy(scores, left_out), rel=1e-5)
    assert metrics["masked"] == 1 / ROWS


def test_both_directions_keep_them():
    vectors, kept, _ = objective_of(LossConfig(false_negatives="kept", directions="both"), 1, TRANSLATED)
    scores = np.asarray(vectors.queries, np.float64) @ np.asarray(vectors.passages, np.float64).T / 0.1
    assert kept == pytest.approx((cross_entropy(scores) + cross_entropy(scores.T)) / 2, rel=1e-5)


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_groups_of_numpy_and_of_jax_are_the_same(array):
    queries, passages = own_groups(array([7, 8, 7]), array([[7, 7], [8, 1], [7, 8]]))
    np.testing.assert_array_equal(queries, [0, 1, 2])
    np.testing.assert_array_equal(passages, [[0, 0], [1, -1], [2, -1]])


def test_kept_and_several_positives_exclude_one_another():
    with pytest.raises(ValueError, match='negatives of what positives "all" makes positives: leave one out'):
        LossConfig(false_negatives="kept", positives="all")
