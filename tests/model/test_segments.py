"""Positions start again with each text of a packed row."""

import jax
import numpy as np

from hybrid_jax.model.segments import positions, positions_between_padding_tokens


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
