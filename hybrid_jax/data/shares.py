"""Sequences of choices: which kind, dataset or language stands at position n, in given shares, without any state.

A sequence is called with a position n and returns the choice made there, with the position at which that choice
continues its own sequence. Both are computed from n alone in O(1), so any position can be asked for at any time.

* `Quota`: after any n positions, each choice's count is within 1 of n·share.
* `Curriculum`: the same for two choices whose shares change with n.
* `CoinFlips`: an independent random choice at every position.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from hybrid_jax.data.hashing import hash_ints

MAX_CYCLE = 10_000
"""The longest cycle of a `Quota`. Shares that come from sizes are rounded to multiples of 1/MAX_CYCLE."""


class Quota:
    """Choices in exact shares: for every n, |count of choice k in the first n positions − n·share_k| < 1.

    `quota(n)` returns the choice at position n and how often it was made before. The order is Tijdeman's solution of
    the chairman assignment problem (Discrete Mathematics 32, 1980). For rational shares it is periodic: one cycle is
    computed, and positions are looked up in it.

    Raises ValueError for shares whose cycle is longer than MAX_CYCLE.
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
    """One cycle of a `Quota`: the choice at each position, and how often the cycle had it before."""
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
    """Two choices, where the share of the first is a piecewise-linear function of the position; exact like `Quota`.

    `points` are (position, share): linear between them, constant before the first and after the last. The first
    choice's count after n positions is floor(∑_{s<n} share(s) + 1/2), in exact rational arithmetic. A call returns the
    choice at a position and how often it was made before.
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
    """An independent random choice at every position, by share, determined by `key`.

    How often a choice was made before cannot be known in O(1), so a call returns the position itself in its place.
    """

    def __init__(self, shares: Mapping[str, Fraction | int], key: int):
        self.choices = [name for name, share in shares.items() if share > 0]
        self._bounds = np.cumsum([float(shares[name]) for name in self.choices])
        self._key = key

    def __call__(self, position: int) -> tuple[str, int]:
        uniform = hash_ints(self._key, position) / 2**64 * self._bounds[-1]
        choice = min(int(np.searchsorted(self._bounds, uniform, side="right")), len(self.choices) - 1)
        return self.choices[choice], position


def size_shares(sizes: Mapping[str, int], exponent: float) -> dict[str, int]:
    """Integer shares proportional to size^exponent: exponent 1 is proportional, 0 uniform, smoothed in between.

    They are at least 1 and sum to MAX_CYCLE (rounded by largest remainders); for exponent 0 each is 1.
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


def interpolated(points: Sequence[tuple[int, Fraction]], step: int) -> Fraction:
    """The value at `step` on the line through (step, value) points, without rounding; beyond their ends, theirs."""
    after = bisect_right(points, step, key=lambda point: point[0])
    first, value = points[max(after - 1, 0)]
    if not 0 < after < len(points):
        return value
    last, next_value = points[after]
    return value + (next_value - value) * Fraction(step - first, last - first)
