"""Permutations are bijections of their range that send rows anywhere, and hashes tell their parts apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_jax.data.hashing import hash_ints, permute


@settings(max_examples=60)
@given(st.integers(1, 700), st.integers(0, 2**64 - 1))
def test_permute_is_a_bijection(size: int, key: int):
    image = permute(np.arange(size, dtype=np.uint64), size, key)
    assert np.array_equal(np.sort(image), np.arange(size))


@pytest.mark.parametrize("size", [2**31 + 11, 10**12])
def test_permute_keeps_positions_of_huge_ranges_apart(size: int):
    positions = np.concatenate([np.arange(5000), size - 1 - np.arange(5000)]).astype(np.uint64)
    image = permute(positions, size, key=3)
    assert len(np.unique(image)) == len(positions)
    assert image.max() < size


def test_integers_of_numpy_are_those_of_python():
    assert hash_ints("row", np.int64(5)) == hash_ints("row", np.uint64(5)) == hash_ints("row", 5) != hash_ints("row", 6)


def test_permute_sends_every_row_anywhere():
    """Over many keys, each of 12 rows lands on each of 12 places about equally often."""
    size, keys = 12, 900
    landed = np.zeros((size, size), int)
    for key in range(keys):
        landed[np.arange(size), permute(np.arange(size, dtype=np.uint64), size, key)] += 1
    expected = keys / size
    assert np.abs(landed - expected).max() < 5 * np.sqrt(expected)


def test_hashes_of_different_parts_differ():
    parts = [(1, "a"), ("1", "a"), (1, None), ("1a",), (1, "a", 0), (11, "a")]
    assert len({hash_ints(*part) for part in parts}) == len(parts)
