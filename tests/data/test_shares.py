"""Sequences of choices keep their shares after any number of positions, and know each choice's count at any."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_jax.data.shares import MAX_CYCLE, CoinFlips, Curriculum, Quota, size_shares

FAR = 10**12
SHARES = st.lists(st.integers(1, 30), min_size=1, max_size=5).map(
    lambda weights: {f"choice {i}": weight for i, weight in enumerate(weights)}
)
POINTS = st.lists(
    st.tuples(st.integers(0, 40), st.fractions(0, 1, max_denominator=20)),
    min_size=2,
    max_size=4,
    unique_by=lambda p: p[0],
).map(sorted)


def _count_up(choices: Callable[[int], tuple[str, int]], positions: int) -> list[Counter[str]]:
    """The counts after 0, 1, 2, … positions; asserts that each answer tells its own choice's count so far."""
    counts = [Counter[str]()]
    for position in range(positions):
        choice, before = choices(position)
        assert before == counts[-1][choice]
        counts.append(counts[-1] + Counter([choice]))
    return counts


@settings(max_examples=25)
@given(SHARES)
def test_quota_is_within_one_of_its_shares_after_any_number_of_positions(shares: dict[str, int]):
    quota, total = Quota(shares), sum(shares.values())
    for n, counts in enumerate(_count_up(quota, 2 * total + 3)):
        for choice, share in shares.items():
            assert abs(counts[choice] - Fraction(n * share, total)) < 1


@settings(max_examples=25)
@given(SHARES, st.integers(FAR, 2 * FAR))
def test_quota_counts_as_well_far_away(shares: dict[str, int], position: int):
    choice, before = Quota(shares)(position)
    assert abs(before - Fraction(position * shares[choice], sum(shares.values()))) < 1


def test_quota_leaves_out_what_has_no_share():
    assert {Quota({"never": 0, "always": 3})(n)[0] for n in range(10)} == {"always"}


def test_quota_whose_shares_hardly_repeat_says_what_to_do():
    with pytest.raises(ValueError, match="round them to 4 decimals"):
        Quota({"a": Fraction("0.123456"), "b": Fraction("0.876544")})


@settings(max_examples=25)
@given(POINTS)
def test_curriculum_is_within_one_of_the_sum_of_its_shares(points: list[tuple[int, Fraction]]):
    steps, values = [step for step, _ in points], [share for _, share in points]
    due = Fraction(0)
    for n, counts in enumerate(_count_up(Curriculum("first", "second", points), steps[-1] + 30)):
        assert abs(counts["first"] - due) < 1
        assert counts.total() == n
        due += _interpolated(n, steps, values)


def _interpolated(step: int, steps: list[int], values: list[Fraction]) -> Fraction:
    if step <= steps[0]:
        return values[0]
    for (a, va), (b, vb) in pairwise(zip(steps, values, strict=True)):
        if step <= b:
            return va + (vb - va) * Fraction(step - a, b - a)
    return values[-1]


def test_curriculum_is_exact_long_after_its_last_point():
    curriculum = Curriculum("first", "second", [(0, Fraction(1)), (100, Fraction(1, 4))])
    due = sum(1 - Fraction(3 * s, 400) for s in range(100)) + Fraction(FAR - 100, 4)
    choice, before = curriculum(FAR)
    assert abs(before - (due if choice == "first" else FAR - due)) < 1


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_coin_flips_have_their_shares_and_no_memory(key: int):
    shares, n = {"a": 5, "b": 3, "never": 0, "c": 2}, 3000
    flips = list(map(CoinFlips(shares, key), range(n)))
    assert [position for _, position in flips] == list(range(n))
    counts = Counter(choice for choice, _ in flips)
    assert counts["never"] == 0
    for choice in "abc":
        share = shares[choice] / 10
        assert abs(counts[choice] - n * share) < 5 * np.sqrt(n * share * (1 - share))
    # Independent of the flip before: "a" follows "a" as often as it follows anything.
    after_a = [second for (first, _), (second, _) in pairwise(flips) if first == "a"]
    assert abs(after_a.count("a") - len(after_a) / 2) < 5 * np.sqrt(len(after_a) / 4)


def test_coin_flips_follow_their_key():
    shares = {"a": 1, "b": 1}
    flips = [[CoinFlips(shares, key)(n)[0] for n in range(64)] for key in (1, 1, 2)]
    assert flips[0] == flips[1] != flips[2]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
def test_proportional_shares_are_sizes_rounded_to_the_cycle(sizes: list[int]):
    named = {str(i): size for i, size in enumerate(sizes)}
    shares = size_shares(named, 1.0)
    assert sum(shares.values()) == MAX_CYCLE
    for name, size in named.items():
        assert abs(shares[name] - MAX_CYCLE * size / sum(sizes)) <= 1


def test_smoothed_shares_are_powers_of_sizes():
    assert size_shares({"large": 900, "small": 100}, 0.5) == {"large": 7500, "small": 2500}
    assert len(set(size_shares({"large": 900, "small": 1}, 0.0).values())) == 1


def test_the_smallest_choice_is_never_starved():
    shares = size_shares({"huge": 10**9, "tiny": 1, "small": 5}, 1.0)
    assert shares == {"huge": MAX_CYCLE - 2, "tiny": 1, "small": 1}
