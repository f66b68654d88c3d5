"""Draws and permutations that remember nothing: each is a pure function of a position, seekable in O(1).

A draw answers, for a position n in a sequence of choices: which choice is made at n, and at which position of its own
sequence does that choice now stand? Three draws, and a permutation of rows:

* `Quota`: after any n positions each choice's count is within 1 of n·share.
* `Curriculum`: the same for two choices whose shares change with n.
* `CoinFlips`: independent random choices; positions pass through, since flips cannot be counted unflipped.
* `permute`: a shuffled epoch, row by row, without shuffling the epoch.

Knows: integers. Does not know: kinds, datasets, languages.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b

import numpy as np

MAX_CYCLE = 10_000
"""The longest cycle of a `Quota`. Shares that come from sizes are rounded to multiples of 1/MAX_CYCLE."""


class Quota:
    """Choices in exact shares: for every n, |count of choice k in the first n positions − n·share_k| < 1.

    The order is Tijdeman's solution of the chairman assignment problem (Discrete Mathematics 32, 1980), which is
    periodic for rational shares: one cycle is computed, and a position looked up in it.
    """

    def __init__(self, shares: Mapping[str, Fraction | int]):
        self.choices = [name for name, share in shares.items() if share > 0]
        total = sum(Fraction(shares[name]) for name in self.choices)
        exact = [Fraction(shares[name]) / total for name in self.choices]
        self.cycle = math.lcm(*(share.denominator for share in exact))
        if self.cycle > MAX_CYCLE:
            raise ValueError(f"shares {dict(shares)} repeat only after {self.cycle} steps; round them to 4 decimals")
        self._weights = np.array([int(share * self.cycle) for share in exact])
        self._order, self._before = _tijdeman(self._weights)

    def __call__(self, position: int) -> tuple[str, int]:
        cycles, place = divmod(position, self.cycle)
        choice = self._order[place]
        return self.choices[choice], cycles * int(self._weights[choice]) + int(self._before[place])


def _tijdeman(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One cycle: the choice at each position, and how often that choice occurred before it in the cycle."""
    total, k = int(weights.sum()), len(weights)
    order, before = np.zeros(total, np.int64), np.zeros(total, np.int64)
    count = np.zeros(k, np.int64)
    slack = 2 * k - 2  # in units of 1/(total·slack), so that all of it is integer arithmetic
    for position in range(total):
        lag = (weights * (position + 1) - count * total) * max(slack, 1)
        due = lag >= total if k > 1 else lag >= 0
        deadline = np.where(due, (total * max(slack - 1, 1) - lag) / weights, np.inf)
        choice = int(np.argmin(deadline))
        order[position], before[position] = choice, count[choice]
        count[choice] += 1
    return order, before


class Curriculum:
    """Two choices, the first with a share that is a piecewise-linear function of the position; exact like `Quota`.

    `points` are (position, share): linear in between, constant before the first and after the last. The first choice's
    count after n positions is floor(∑_{s<n} share(s) + 1/2), in exact rational arithmetic.
    """

    def __init__(self, first: str, second: str, points: Sequence[tuple[int, Fraction]]):
        self.first, self.second = first, second
        self._starts = [0, *(step for step, _ in points)]
        shares = [points[0][1], *(share for _, share in points)]
        self._segments: list[tuple[int, Fraction, Fraction, Fraction]] = []  # start, share, slope, sum before the start
        total = Fraction(0)
        for i, start in enumerate(self._starts):
            last = i + 1 == len(self._starts)
            length = 0 if last else self._starts[i + 1] - start
            slope = (shares[i + 1] - shares[i]) / length if length else Fraction(0)
            self._segments.append((start, shares[i], slope, total))
            total += shares[i] * length + slope * (length * (length - 1) // 2)

    def _count(self, n: int) -> int:
        start, share, slope, total = self._segments[bisect_right(self._starts, n) - 1]
        steps = n - start
        return int(total + share * steps + slope * (steps * (steps - 1) // 2) + Fraction(1, 2))

    def __call__(self, position: int) -> tuple[str, int]:
        before, after = self._count(position), self._count(position + 1)
        return (self.first, before) if after > before else (self.second, position - before)


class CoinFlips:
    """An independent random choice at every position, by share. The position itself is handed on."""

    def __init__(self, shares: Mapping[str, Fraction | int], key: int):
        self.choices = [name for name, share in shares.items() if share > 0]
        self._bounds = np.cumsum([float(shares[name]) for name in self.choices])
        self._key = key

    def __call__(self, position: int) -> tuple[str, int]:
        uniform = hash_ints(self._key, position) / 2**64 * self._bounds[-1]
        choice = min(int(np.searchsorted(self._bounds, uniform, side="right")), len(self.choices) - 1)
        return self.choices[choice], position


def size_shares(sizes: Mapping[str, int], exponent: float) -> dict[str, int]:
    """Whole-number shares proportional to size^exponent: 1 gives proportional, 0 uniform, in between smoothed.

    They sum to MAX_CYCLE (largest remainders), and no choice gets less than one of them.
    """
    if exponent == 0:
        return dict.fromkeys(sizes, 1)
    powers = np.array([float(size) ** exponent for size in sizes.values()])
    exact = powers / powers.sum() * MAX_CYCLE
    shares = np.maximum(1, np.floor(exact).astype(int))
    while (short := MAX_CYCLE - int(shares.sum())) != 0:
        order = np.argsort(shares - exact, kind="stable")
        picked = order[:short] if short > 0 else [i for i in order[::-1] if shares[i] > 1][:-short]
        shares[picked] += 1 if short > 0 else -1
    return {name: int(share) for name, share in zip(sizes, shares, strict=True)}


def permute(positions: np.ndarray, size: int, key: int) -> np.ndarray:
    """uint64[n]: where a pseudo-random permutation of range(size), chosen by `key`, sends `positions`.

    A Feistel network over a grid of about √size × √size cells, walked until it lands inside the range (Black & Rogaway,
    "Ciphers with arbitrary finite domains", 2002): distinct positions give distinct values, at O(1) each.
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


def mix(values: np.ndarray) -> np.ndarray:
    """uint64[n]: SplitMix64's finaliser (Steele et al., 2014), a bijection whose outputs look random."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_ints(*parts: int | str | None) -> int:
    """A 64-bit hash of the parts, equal on every machine and Python."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")
