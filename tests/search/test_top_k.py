"""Exact search: equal to sorting exact scores, ties by row, however the corpus is cut, held, spread or shared."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from hybrid_jax.search import top_k as search
from hybrid_jax.search.scores import product_error
from hybrid_jax.search.top_k import TopK, merge, top_k

TIMEOUT = 120


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def score(query: np.ndarray, candidate: np.ndarray) -> np.float32:
    """The definition, in Python integers, which do not round: on the grid of 2^-26, rounded once at the end."""
    whole = sum(round(float(a) * 2**26) * round(float(b) * 2**26) for a, b in zip(query, candidate, strict=True))
    return np.float32(whole / 2**52)


def by_sorting(queries: np.ndarray, candidates: np.ndarray, k: int) -> TopK:
    scores = np.array([[score(query, row) for row in candidates] for query in queries], np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    missing = [(0, 0), (0, k - order.shape[1])]
    best = np.take_along_axis(scores, order, axis=1)
    return TopK(np.pad(order, missing, constant_values=-1), np.pad(best, missing, constant_values=-np.inf))


def cut(rows: np.ndarray, *at: int) -> list[np.ndarray]:
    return np.split(rows, sorted(at))


def assert_same(found: TopK, expected: TopK) -> None:
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def corpus(kind: str, rng: np.random.Generator, queries: int, rows: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    asked, held = unit(rng.standard_normal((queries, dim))), unit(rng.standard_normal((rows, dim)))
    if kind == "repeated":  # the same sentence in several places, and a query that is itself a candidate
        held = held[rng.integers(0, max(1, rows // 4), rows)]
        asked[0] = held[-1]
    if kind == "one sentence":
        held[:] = held[0]
    if kind == "last bits":  # scores that differ by less than a float32 product is certain of
        held = unit(held[:1] + 1e-6 * rng.standard_normal((rows, dim)))
        asked = unit(held[:1] + 1e-2 * rng.standard_normal((queries, dim)))
    if kind == "opposite":  # only negative scores, below the zeros of padding
        held, asked = np.abs(held), -np.abs(asked)
    if kind == "few values":  # equal scores of different vectors
        asked, held = (np.eye(dim, dtype=np.float32)[rng.integers(0, dim, size)] for size in (queries, rows))
    return asked, held


DEVICES = st.sampled_from([1, 2, 8])
"""One CPU multiplies by BLAS, several by XLA."""
KINDS = ("dense", "repeated", "one sentence", "last bits", "opposite", "few values")


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from([1, 5, 40]), DEVICES, st.data())
def test_equal_to_sorting_exact_scores(seed: int, kind: str, k: int, devices: int, data: st.DataObject):
    queries, candidates = corpus(kind, np.random.default_rng(seed), 3, 37, 6)
    blocks = cut(candidates, *data.draw(st.lists(st.integers(0, 37), max_size=4)))
    found = top_k(queries, blocks, k, devices=jax.devices()[:devices])
    assert_same(found, by_sorting(queries, candidates, k))


@pytest.mark.parametrize("kind", KINDS)
def test_no_budget_no_block_and_no_device_changes_a_bit(kind: str):
    rng = np.random.default_rng(3)
    queries, candidates = corpus(kind, rng, 40, 3000, 64)
    whole = top_k(queries, [candidates], 10)
    # In 1 MiB the corpus is 9 pieces of 45 rows for each of 8 devices, or some pieces of several hundred for one CPU.
    assert_same(top_k(queries, [candidates], 10, memory_mib=1), whole)
    assert_same(top_k(queries, [candidates], 10, devices=jax.devices()[:1]), whole)
    assert_same(top_k(queries, cut(candidates, 30, 999), 10, memory_mib=1, devices=jax.devices()[:1]), whole)
    assert_same(top_k(queries, cut(candidates, 1, 700, 701, 2950), 10, memory_mib=1), whole)
    assert_same(top_k(queries[7:9], [candidates], 10), TopK(*(part[7:9] for part in whole)))
    assert_same(TopK(whole.rows[:2], whole.scores[:2]), by_sorting(queries[:2], candidates, 10))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.lists(st.integers(0, 37), min_size=1, max_size=3))
def test_parts_merge_to_the_whole_in_any_order(seed: int, kind: str, at: list[int]):
    rng = np.random.default_rng(seed)
    queries, candidates = corpus(kind, rng, 3, 37, 6)
    parts = cut(candidates, *at)
    first = np.cumsum([0, *map(len, parts)]).tolist()
    found = [top_k(queries, [part], 8, first_row=row) for part, row in zip(parts, first, strict=False)]
    shuffled = [found[i] for i in rng.permutation(len(found))]
    assert_same(merge(*shuffled), top_k(queries, [candidates], 8))
    assert_same(merge(merge(*shuffled[:1]), *shuffled[1:]), merge(*found))


def problem() -> tuple[np.ndarray, np.ndarray]:
    queries, candidates = corpus("repeated", np.random.default_rng(5), 20, 1501, 48)
    return queries, candidates


def worker(folder: Path) -> None:
    """What each of two processes runs: the search of its own half, in several blocks, on its own three devices."""
    import jax

    from hybrid_jax.runtime.processes import start_distributed

    start_distributed()
    assert (jax.process_count(), jax.local_device_count(), jax.device_count()) == (2, 3, 6)
    queries, candidates = problem()
    halves, number = cut(candidates, 800), jax.process_index()
    found = top_k(queries, cut(halves[number], 33, 500), 12, memory_mib=1, first_row=800 * number)
    np.savez(folder / f"found{number}.npz", allow_pickle=False, rows=found.rows, scores=found.scores)


@pytest.mark.timeout(TIMEOUT + 60)
def test_two_processes_with_three_devices_find_what_one_with_eight_does(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=3 --xla_backend_optimization_level=0",
        "HYBRID_JAX_COORDINATOR": f"localhost:{port}",
        "HYBRID_JAX_NUM_PROCESSES": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(tmp_path)],
            env={**environment, "HYBRID_JAX_PROCESS_ID": str(number)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        queries, candidates = problem()
        expected = top_k(queries, [candidates], 12)
        for process in processes:
            _, errors = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    found = []
    for number in range(2):
        with np.load(tmp_path / f"found{number}.npz") as part:
            found.append(TopK(part["rows"], part["scores"]))
    assert_same(merge(*found), expected)


# VmHWM, not ru_maxrss: that one begins with what the process that started this one had.
STREAM = """
import sys
from pathlib import Path
import numpy as np
from hybrid_jax.search.top_k import top_k
rng = np.random.default_rng(0)
block = rng.standard_normal((4096, 256), dtype=np.float32)
block /= np.linalg.norm(block, axis=1, keepdims=True)
peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) // 1024
before = peak()
top_k(block[:64], (block for _ in range(int(sys.argv[1]))), 10, memory_mib=64)
print(before, peak())
"""


@pytest.mark.parametrize("devices", [1, 8])
def test_memory_stays_within_the_budget_however_long_the_corpus(devices: int):
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, "-c", STREAM, "150"]
    done = subprocess.run(
        command, env={**os.environ, **flags}, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    # 600 MiB passed through. Besides the 64 of the budget: jax's start and the compilation.
    assert after - before < 64 + 200


@pytest.mark.parametrize("dim", [3, 64, 768, 4096])
def test_the_bound_holds_for_the_worst_order_of_additions(dim: int):
    rng = np.random.default_rng(dim)
    rows = np.stack([rng.standard_normal(dim), np.ones(dim), rng.random(dim) ** 8, np.geomspace(1e-4, 1, dim)])
    rows = unit(np.concatenate([rows, -rows, rng.permuted(rows, axis=1)]))
    for query in rows[:4]:
        for candidate in rows:
            one_by_one = np.cumsum(query * candidate, dtype=np.float32)[-1]
            assert abs(float(one_by_one) - float(score(query, candidate))) <= product_error(dim)


def test_nothing_to_find():
    queries = np.eye(3, dtype=np.float32)
    assert_same(top_k(queries, [], 2), TopK(np.full((3, 2), -1), np.full((3, 2), -np.inf, np.float32)))
    assert top_k(queries[:0], [queries], 2).rows.shape == (0, 2)


@pytest.mark.parametrize("devices", [1, 8])
def test_mistakes_are_named(devices: int):
    top_k = partial(search.top_k, devices=jax.devices()[:devices])
    good = np.eye(4, dtype=np.float32)
    bad = good.copy()
    bad[2] = np.nan
    with pytest.raises(ValueError, match="query embedding 2 has norm nan"):
        top_k(bad, [good], 1)
    with pytest.raises(ValueError, match=r"candidate 6 has norm nan \(1 of the 8 from 0 on are wrong\)"):
        top_k(good, [good, bad], 1)
    with pytest.raises(ValueError, match=r"block 1 is float64\[4, 4\]: the queries ask for float32\[rows, 4\]"):
        top_k(good, iter([good, good.astype(np.float64)]), 1)
    with pytest.raises(ValueError, match=r"block 0 is float32\[4, 3\]"):
        top_k(good, iter([good[:, :3]]), 1)
    with pytest.raises(ValueError, match="k=0"):
        top_k(good, [good], 0)
    with pytest.raises(ValueError, match=r"memory_mib=0: one row per device takes 1 MiB"):
        top_k(good, [good], 1, memory_mib=0)
    with pytest.raises(ValueError, match="more than 4,294,967,295 candidates"):
        top_k(good, [good], 1, first_row=2**32 - 3)
    with pytest.raises(ValueError, match=r"shapes \[\(4, 1\), \(4, 2\)\] cannot be merged"):
        merge(top_k(good, [good], 1), top_k(good, [good], 2))


@pytest.mark.parametrize("norm", [1, 2])
def test_blas_gets_its_threads_back_also_from_a_search_that_fails(norm: int):
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    rows, during = np.eye(4, dtype=np.float32), []

    def blocks() -> Iterator[np.ndarray]:
        during.extend(threads())
        yield rows * norm

    with threadpool_limits(64, "blas"):  # more than any thread's share
        before = threads()
        assert before
        with nullcontext() if norm == 1 else pytest.raises(ValueError, match="candidate 0 has norm 2"):
            top_k(rows, blocks(), 1, devices=jax.devices()[:1])
        assert threads() == before
        assert all(few < many for few, many in zip(during, before, strict=True))


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
