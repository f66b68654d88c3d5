"""Hashes that are equal on every machine, and permutations of huge ranges without a table."""

import math
from hashlib import blake2b

import numpy as np


def mix(values: np.ndarray) -> np.ndarray:
    """uint64[n]: SplitMix64's finaliser (Steele et al., 2014), a bijection whose outputs look random."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_ints(*parts: int | np.integer | str | None) -> int:
    """A 64-bit hash of the parts. Parts of different types differ: 1 is not "1". numpy's integers are Python's."""
    plain = tuple(int(part) if isinstance(part, np.integer) else part for part in parts)
    return int.from_bytes(blake2b(repr(plain).encode(), digest_size=8).digest(), "little")


def permute(positions: np.ndarray, size: int, key: int) -> np.ndarray:
    """uint64[n]: the images of `positions` under a pseudo-random permutation of range(size), chosen by `key`.

    Each position costs O(1) time and memory, so an epoch is shuffled without a list of its rows. Positions lie in
    range(size); distinct ones have distinct images.

    The permutation is a Feistel network over a grid of about √size × √size cells, applied again to images outside the
    range until they fall inside (Black & Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    width = np.uint64(max(1, math.isqrt(size - 1) + 1))
    height = np.uint64(-(-size // int(width)))
    keys = mix(np.arange(8, dtype=np.uint64) ^ np.uint64(key))
    values = positions.astype(np.uint64)
    outside = np.arange(len(values))
    while len(outside):
        row, column = np.divmod(values[outside], width)
        for even, odd in keys.reshape(-1, 2):
            row = (row + mix(column ^ even) % height) % height
            column = (column + mix(row ^ odd) % width) % width
        values[outside] = row * width + column
        outside = outside[values[outside] >= size]
    return values
