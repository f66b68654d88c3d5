"""Times exact search beside faiss, and full-ranking metrics beside their matrix product: python benchmarks/search.py

Prints every timing, the medians and the median ratio. The programs take turns (A B A B), so that other load slows both;
core-seconds depend less on other load than the clock does.
Vectors are random mixtures of 2,000 topics, whose scores are spread like real ones. `--spread random` gives independent
directions, the worst case for ranks (every relevant candidate is in the middle of the ranking).
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from hybrid_jax.runtime.allocator import keep_freed_memory

TOPICS = 2000


def unit(rows: np.ndarray) -> np.ndarray:
    """Scales the rows to length 1, in place."""
    for a in range(0, len(rows), 16_384):
        part = rows[a : a + 16_384]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def vectors(rng: np.random.Generator, count: int, dim: int, topics: np.ndarray | None) -> np.ndarray:
    """float32[count, dim] unit vectors, made in blocks."""
    rows = np.empty((count, dim), np.float32)
    for a in range(0, count, 16_384):
        part = rows[a : a + 16_384]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        if topics is not None:
            part *= 0.7
            part += topics[rng.integers(0, len(topics), len(part))]
    return unit(rows)


Seconds = dict[str, list[tuple[float, float]]]
"""{program: [(seconds by the clock, core-seconds) of each round]}"""


def take_turns(programs: dict[str, Callable[[], object]], rounds: int) -> Seconds:
    """Times every program in every round, after a warm-up round."""
    timings: Seconds = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            clock, cores = time.perf_counter(), time.process_time()
            program()
            if turn:
                timings[name].append((time.perf_counter() - clock, time.process_time() - cores))
    for name, seconds in timings.items():
        wall, work = np.median(seconds, axis=0)
        every = ", ".join(f"{clock:.2f}" for clock, _ in seconds)
        print(f"  {name:42} {wall:8.2f} s ({every}); {work:8.2f} core-seconds", flush=True)
    return timings


def ratios(timings: Seconds, first: str, second: str) -> str:
    """How many times as long the first takes as the second: the medians of the rounds' ratios."""
    wall, work = np.median(np.array(timings[first]) / np.array(timings[second]), axis=0)
    return f"ratio {wall:.2f} by the clock, {work:.2f} in core-seconds"


def search(rows: int, dim: int, queries: int, k: int, rounds: int, topics: np.ndarray | None) -> None:
    """top_k over one big array, in blocks, against faiss' exact index of the same vectors."""
    try:
        import faiss
    except ImportError:
        sys.exit("error: faiss is what this compares with: pip install faiss-cpu")
    from hybrid_jax.search.top_k import top_k

    rng = np.random.default_rng(0)
    index = faiss.IndexFlatIP(dim)
    for a in range(0, rows, 65_536):
        index.add(vectors(rng, min(65_536, rows - a), dim, topics))
    # One copy of the corpus in memory: faiss' own, which top_k reads as well.
    corpus = faiss.rev_swig_ptr(index.get_xb(), rows * dim).reshape(rows, dim)
    query_vectors = vectors(rng, queries, dim, topics)

    def blocks() -> Iterator[np.ndarray]:
        for a in range(0, rows, 65_536):
            yield corpus[a : a + 65_536]

    print(f"{queries:,} queries, {rows:,} x {dim} candidates, top {k}, {os.cpu_count()} cores", flush=True)
    ours, theirs = "hybrid_jax top_k (exact, ties by row)", "faiss IndexFlatIP"
    programs = {ours: lambda: top_k(query_vectors, blocks(), k), theirs: lambda: index.search(query_vectors, k)}
    timings = take_turns(programs, rounds)
    print(f"  {ratios(timings, ours, theirs)} (1 or less: no slower than faiss)", flush=True)
    rows_found, rows_of_faiss = top_k(query_vectors, blocks(), k).rows, index.search(query_vectors, k)[1]
    same = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(rows_found, rows_of_faiss, strict=True)])
    print(f"  of faiss' candidates, {same:.4%} are the same (its float32 products differ in the last bits)")


def ranking(dim: int, rounds: int, topics: np.ndarray | None) -> None:
    """Ranks and mAP of a task of XQuAD-R's size, against its score matrix alone."""
    from hybrid_jax.eval.measures.metrics import average_precision, rank_rows
    from hybrid_jax.search.ranks import rank_relevant

    rng = np.random.default_rng(1)
    languages, questions, per_language = 11, 1190, 1184
    candidates = vectors(rng, 13_014, dim, topics)
    answer = np.arange(languages * questions) % questions % 1174
    relevance = np.stack(
        [
            np.repeat(np.arange(len(answer)), languages),
            (answer[:, None] + per_language * np.arange(languages)).ravel(),
        ],
        axis=1,
    )
    if topics is not None:  # passages of one record are alike in all languages, and questions are like them
        alike = vectors(rng, 1174, dim, topics)
        for language in range(languages):
            span = slice(language * per_language, language * per_language + 1174)
            candidates[span] = 0.8 * candidates[span] + alike[: len(candidates[span])]
        unit(candidates)
        queries = unit(vectors(rng, len(answer), dim, topics) + alike[answer])
    else:
        queries = vectors(rng, len(answer), dim, None)
    names, ids = [f"l{i // per_language:02}" for i in range(13_014)], [f"{i:05}" for i in range(13_014)]

    def product() -> float:
        return sum(float((queries[a : a + 1024] @ candidates.T)[0, 0]) for a in range(0, len(queries), 1024))

    def metrics() -> float:
        ranks = rank_relevant(queries, candidates, relevance, names, ids)
        pooled, own = (average_precision(rank_rows(relevance[:, 0], each)).mean() for each in (ranks.pooled, ranks[0]))
        return float(pooled + own)

    print(
        f"{len(queries):,} x {len(candidates):,} x {dim}: ranks of {len(relevance):,} relevant candidates", flush=True
    )
    alone, full = "the float32 product alone", "exact ranks (own language, pooled) and mAP"
    timings = take_turns({full: metrics, alone: product}, rounds)
    print(f"  {ratios(timings, full, alone)} (3 or less is the aim)", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("search", "ranking"), help="one of the two (default: both)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="candidates of the search (default: 1,000,000)")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spread", choices=("topics", "random"), default="topics")
    options = parser.parse_args()
    keep_freed_memory()
    rng = np.random.default_rng(7)
    topics = rng.standard_normal((TOPICS, options.dim), dtype=np.float32) if options.spread == "topics" else None
    if options.only != "search":
        ranking(options.dim, options.rounds, topics)
    if options.only != "ranking":
        search(options.rows, options.dim, options.queries, options.k, options.rounds, topics)


if __name__ == "__main__":
    main()
