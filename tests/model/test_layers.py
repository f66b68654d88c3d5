"""What the families share: positions, which start again with each text, and dropout."""

import jax
import numpy as np

from hybrid_jax.model.layers import dropout, positions, positions_between_padding_tokens


def test_positions_start_again_with_each_text():
    segments = np.array([[1, 1, 1, 2, 2, 0, 0], [1, 2, 3, 3, 3, 3, 3], [0, 0, 0, 0, 0, 0, 0]], np.int32)
    expected = [[0, 1, 2, 0, 1, 0, 0], [0, 0, 0, 1, 2, 3, 4], [0] * 7]
    np.testing.assert_array_equal(jax.jit(positions)(segments), expected)


def test_padding_tokens_inside_a_text_are_not_counted():
    tokens = np.array([[5, 1, 6, 1, 1, 7, 1, 1], [8, 9, 1, 5, 6, 1, 1, 7]], np.int32)
    segments = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 2, 2, 2]], np.int32)
    expected = [[0, -1, 1, -1, -1, 2, 0, 0], [0, 1, -1, 0, 1, -1, -1, 2]]
    counted_positions = jax.jit(positions_between_padding_tokens, static_argnums=2)
    np.testing.assert_array_equal(counted_positions(tokens, segments, 1), expected)
    without = np.where(segments > 0, 5, 1)
    np.testing.assert_array_equal(counted_positions(without, segments, 1), jax.jit(positions)(segments))


@jax.jit
def dropped(key, values):
    return dropout(values, 0.25, key)


def test_dropout_drops_its_share_and_keeps_the_mean():
    values = np.ones((64, 257), np.float32)
    result = np.asarray(dropped(jax.random.key(0), values))
    assert set(np.unique(result)) == {np.float32(0), np.float32(1 / 0.75)}
    # 16,448 values: the share's deviation is 0.0034; five of them.
    assert abs((result == 0).mean() - 0.25) < 0.017
    halves = (result == 0)[:, :128], (result == 0)[:, 129:]  # decided by the same random words: yet independent
    assert abs(np.corrcoef(*(half.ravel() for half in halves))[0, 1]) < 0.055
