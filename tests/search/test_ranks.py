"""Rank counting: equal to sorting exact integer scores, ties included, whatever the block size, in bounded memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_jax.search.ranks import rank_relevant
from hybrid_jax.search.scores import GRID, Ranks, on_grid


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def assert_same(actual: Ranks, expected: Ranks) -> None:
    for part, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(part, other)


def by_sorting(queries, candidates, relevance, languages, ids):
    """The definition, in Python integers, which do not round: by score, then by (language, id), all descending."""
    left, right = ([[round(float(x) * 2**26) for x in row] for row in side] for side in (queries, candidates))
    in_language, pooled, above = [], [], []
    for query, expected in relevance:
        scores = [sum(a * b for a, b in zip(left[query], row, strict=True)) for row in right]
        key = [(score, languages[i], ids[i]) for i, score in enumerate(scores)]
        pooled.append(1 + sum(other > key[expected] for other in key))
        same = [other for other in key if other[1] == languages[expected]]
        in_language.append(1 + sum(other > key[expected] for other in same))
        names = sorted(set(languages))
        above.append([sum(other > key[expected] for other in key if other[1] == name) for name in names])
    return in_language, pooled, above


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["dense", "repeated", "few values", "last bits", "one sentence"]))
def test_equal_to_sorting_exact_scores(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    queries, candidates = unit(rng.standard_normal((5, 7))), unit(rng.standard_normal((23, 7)))
    if kind == "repeated":  # the same sentence in several places, and a query that is itself a candidate
        candidates = candidates[rng.integers(0, 6, 23)]
        queries[0] = candidates[0]
    if kind == "few values":  # equal scores of different vectors
        queries, candidates = np.eye(8, dtype=np.float32)[:5], np.eye(8, dtype=np.float32)[rng.integers(0, 8, 23)]
    if kind == "last bits":  # scores that differ by less than a float32 product is certain of
        candidates = unit(candidates[:1] + 1e-6 * rng.standard_normal((23, 7)))
    if kind == "one sentence":
        candidates[:] = candidates[0]
    languages = [str(name) for name in rng.choice(["de", "en", "zh", "zh-Hant"], 23)]
    ids = [str(number) for number in rng.permutation(23)]
    relevance = np.argwhere(rng.random((5, 23)) < 0.3)
    rng.shuffle(relevance)
    actual = rank_relevant(queries, candidates, relevance, languages, ids)
    in_language, pooled, above = by_sorting(queries, candidates, relevance, languages, ids)
    np.testing.assert_array_equal(actual.pooled, pooled)
    np.testing.assert_array_equal(actual.in_language, in_language)
    if above:
        np.testing.assert_array_equal(actual.above, above)


@settings(max_examples=200)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8), st.sampled_from([np.float32, np.float64]))
def test_the_grid_is_the_nearest_multiple_in_any_type(values: list[float], dtype: type):
    actual = on_grid(np.array([values], dtype))
    assert actual.dtype == np.float64
    assert actual.tolist() == [[round(value * 2**26) / GRID for value in values]]  # Python's round is to even, as rint


@pytest.mark.parametrize("nearness", [1.0, 1e-3, 1e-6])
def test_no_block_size_changes_a_rank(nearness: float):
    """Nor whether candidates are far apart, so that float32 decides, or so near that all are scored exactly."""
    # Candidates repeated across the matrix: in a float32 product equal columns may differ in their last bits.
    rng = np.random.default_rng(0)
    distinct = unit(rng.standard_normal((1, 200)) + nearness * rng.standard_normal((60, 200)))
    candidates = distinct[rng.integers(0, 60, 1500)]
    queries = unit(distinct[rng.integers(0, 60, 90)] + 0.05 * rng.standard_normal((90, 200)))
    languages, ids = [f"l{i % 3}" for i in range(1500)], [str(i) for i in range(1500)]
    # More relevant candidates per query than are counted at once.
    picked = np.stack([rng.choice(1500, 70, replace=False) for _ in queries])
    relevance = np.stack([np.repeat(np.arange(90), 70), picked.ravel()], 1)
    full = rank_relevant(queries, candidates, relevance, languages, ids)
    for memory_mib in (1, 0):  # blocks of 29 of the 450 rows of scores, and of one row
        again = rank_relevant(queries, candidates, relevance, languages, ids, memory_mib=memory_mib)
        assert_same(again, full)
    alone = relevance[:, 0] == 17
    one = rank_relevant(queries[17:18], candidates, relevance[alone] * [0, 1], languages, ids)
    assert_same(one, Ranks(*(part[alone] for part in full)))


def test_the_order_of_the_candidates_changes_nothing():
    rng = np.random.default_rng(1)
    candidates, queries = unit(rng.integers(-2, 3, (40, 4)) + 0.5), unit(rng.integers(-2, 3, (6, 4)) + 0.5)
    languages, ids = [f"l{i % 4}" for i in range(40)], [f"c{i}" for i in range(40)]
    relevance = np.argwhere(rng.random((6, 40)) < 0.2)
    moved = rng.permutation(40)
    place = np.argsort(moved)
    again = rank_relevant(
        queries,
        candidates[moved],
        np.stack([relevance[:, 0], place[relevance[:, 1]]], 1),
        [languages[i] for i in moved],
        [ids[i] for i in moved],
    )
    assert_same(again, rank_relevant(queries, candidates, relevance, languages, ids))


@pytest.mark.parametrize(("side", "value"), [("query", np.nan), ("candidate", 0.0), ("candidate", 2.0)])
def test_vectors_that_are_not_unit_are_refused(side: str, value: float):
    good, bad = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    bad[1, 1] = value
    queries, candidates = (bad, good) if side == "query" else (good, bad)
    with pytest.raises(ValueError, match=rf"{side} embedding 1 has norm .*norm 1"):
        rank_relevant(queries, candidates, np.array([[0, 0]]), ["en"] * 3, list("abc"))


# VmHWM, not ru_maxrss: that one begins with what the process that started this one had.
AS_LARGE_AS_XQUAD_R = """
from pathlib import Path
import numpy as np
from hybrid_jax.search.ranks import rank_relevant
rng = np.random.default_rng(2)
per_language, questions = 1184, 1190
candidates = rng.standard_normal((11 * per_language, 256), dtype=np.float32)[:13_014]
queries = rng.standard_normal((11 * questions, 256), dtype=np.float32)
for rows in (candidates, queries):
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
languages = [f"l{i // per_language:02}" for i in range(len(candidates))]
question = np.repeat(np.arange(len(queries)), 11)
relevance = np.stack([question, np.tile(np.arange(11), len(queries)) * per_language + question % 1174], 1)
found = rank_relevant(queries, candidates, relevance, languages, [f"{i:05}" for i in range(len(candidates))])
status = Path('/proc/self/status').read_text()
print(status.split('VmHWM:')[1].split()[0])
print(found.pooled.mean(), found.in_language.mean())
"""


def test_as_large_as_xquad_r_in_two_gib():
    # A process of its own: the tests' eight devices share two cores and do without the compiler's optimization.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", AS_LARGE_AS_XQUAD_R],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    kibibytes, pooled, in_language = map(float, done.stdout.split())
    assert kibibytes < 2 * 2**20
    # Random vectors: ranks are uniform, so the mean of 143,990 is the middle of the pool to a fraction of a percent.
    assert pooled == pytest.approx((1 + 13_014) / 2, rel=0.01)
    assert in_language == pytest.approx((1 + 13_014 / 11) / 2, rel=0.01)
