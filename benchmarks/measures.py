"""How long an evaluation's measures take at the size of XQuAD-R: python benchmarks/measures.py [--only PART]

Prints medians over rounds: seconds by the clock, and seconds of all cores together. Intervals and tests are shown
beside those of `scipy.stats`; `benchmarks/search.py` compares ranks with the matrix product that they need. Vectors and
values are random. `--only ir_measures` scores a synthetic run beside ir-measures, and shows both figures.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap, permutation_test

from hybrid_jax.eval.measures import bias, embedding_space, metrics, stats
from hybrid_jax.eval.measures.units import by_unit
from hybrid_jax.search.ranks import rank_relevant

LANGUAGES = 11
QUESTIONS = 1_190
CANDIDATES = 13_014


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def report(name: str, program: Callable[[], object], rounds: int) -> None:
    """Prints the median over rounds of how long `program` takes."""
    seconds = []
    for _ in range(rounds):
        clock, cores = time.perf_counter(), time.process_time()
        program()
        seconds.append((time.perf_counter() - clock, time.process_time() - cores))
    wall, work = np.median(seconds, axis=0)
    print(f"  {name:52} {wall:8.3f} s {work:8.3f} core-seconds", flush=True)


def hits(rng: np.random.Generator, questions: int, columns: int) -> np.ndarray:
    """Whether each question is answered, its difficulty correlated .7 between columns."""
    noise = rng.standard_normal((questions, columns))
    return (np.sqrt(0.7) * rng.standard_normal((questions, 1)) + np.sqrt(0.3) * noise < 1).astype(float)


def scipy_limits(table: np.ndarray) -> object:
    """The BCa interval from scipy, of the macro mean as a function of the numbers of the rows drawn."""
    questions = len(table)

    def macro_means(rows: np.ndarray, axis: int) -> np.ndarray:
        flat = rows.reshape(-1, rows.shape[-1])
        numbers = flat + questions * np.arange(len(flat))[:, None]
        times_drawn = np.bincount(numbers.ravel(), minlength=len(flat) * questions).reshape(len(flat), questions)
        return (times_drawn.astype(np.float64) @ table / questions).mean(axis=1).reshape(rows.shape[:-1])

    return bootstrap(
        (np.arange(questions),),
        macro_means,
        n_resamples=stats.RESAMPLES,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(0),
    )


def scipy_p(differences: np.ndarray) -> object:
    """The p-value of the randomisation test from scipy, of the sum of what each question adds."""
    shares = differences.mean(axis=1) / len(differences)
    return permutation_test(
        (shares,),
        lambda values, axis: np.abs(values.sum(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=stats.SWAPS,
        batch=1000,
        vectorized=True,
        rng=np.random.default_rng(0),
    )


def limits(table: np.ndarray) -> tuple[float, float]:
    return stats.bca_limits(by_unit(table))


def p_value(differences: np.ndarray) -> float:
    return stats.randomisation_test(by_unit(differences))


def intervals(rounds: int) -> None:
    """Intervals and tests over tables without missing values, ours and scipy's."""
    rng = np.random.default_rng(0)
    for questions, columns in ((QUESTIONS, LANGUAGES), (QUESTIONS, LANGUAGES * (LANGUAGES - 1)), (10_000, 26)):
        table, baseline = hits(rng, questions, columns), hits(rng, questions, columns)
        differences = table - baseline
        print(f"{questions:,} questions, {columns} columns, {stats.RESAMPLES:,} resamples, {stats.SWAPS:,} swaps")
        report("BCa interval", functools.partial(limits, table), rounds)
        report("BCa interval, scipy.stats.bootstrap", functools.partial(scipy_limits, table), rounds)
        report("randomisation test", functools.partial(p_value, differences), rounds)
        report("randomisation test, scipy.stats.permutation_test", functools.partial(scipy_p, differences), rounds)


def bias_metrics(rounds: int) -> None:
    """The bias metrics of all queries, each with one answer per language."""
    rng = np.random.default_rng(3)
    queries = LANGUAGES * QUESTIONS
    ranks = np.argsort(rng.random((queries, 64)), axis=1)[:, :LANGUAGES] * 200 + 1
    languages = np.tile(np.arange(1, LANGUAGES + 1), (queries, 1))
    answers = bias.Answers(ranks, languages, rng.integers(1, LANGUAGES + 1, queries))
    print(f"{queries:,} queries with {LANGUAGES} answers each")
    for metric in (bias.removal, bias.lone_answer, bias.language_preference, bias.relevant_share):
        report(metric.__name__, functools.partial(metric, answers), rounds)
    report("equal_rank_probability", lambda: bias.equal_rank_probability(answers, 100), rounds)
    report("target_recall", lambda: bias.target_recall(answers, 100), rounds)
    report("language_ndcg", lambda: bias.language_ndcg(answers, 100, other_gain=0.5), rounds)


def embeddings(rounds: int) -> None:
    """The measures of the embedding space, for a tenth of the queries and all candidates."""
    rng = np.random.default_rng(4)
    candidates = unit(rng.standard_normal((CANDIDATES, 256))).astype(np.float32)
    questions = QUESTIONS // 10
    queries = unit(rng.standard_normal((LANGUAGES * questions, 256))).astype(np.float32)
    top = np.array([rng.choice(CANDIDATES, 20, replace=False) for _ in queries])
    question, numbers = np.tile(np.arange(questions), LANGUAGES), np.arange(CANDIDATES)
    print(f"{len(queries):,} queries, {CANDIDATES:,} candidates of 256 numbers")
    report("rank_correlation", lambda: embedding_space.rank_correlation(queries, candidates, top, question), rounds)
    report("hubness", lambda: embedding_space.hubness(top, CANDIDATES), rounds)
    report(
        "language_probe",
        lambda: embedding_space.language_probe(candidates, numbers % LANGUAGES, numbers // LANGUAGES),
        rounds,
    )


def ranks(rounds: int) -> None:
    """The exact ranks of all relevant candidates."""
    rng = np.random.default_rng(2)
    per_language = 1_184
    candidates = unit(rng.standard_normal((CANDIDATES, 256), dtype=np.float32))
    queries = unit(rng.standard_normal((LANGUAGES * QUESTIONS, 256), dtype=np.float32))
    query = np.repeat(np.arange(len(queries)), LANGUAGES)
    answer = np.tile(np.arange(LANGUAGES), len(queries)) * per_language + query % 1_174
    names = [f"l{row // per_language:02}" for row in range(CANDIDATES)]
    ids = [f"{row:05}" for row in range(CANDIDATES)]
    relevance = np.stack([query, answer], axis=1)
    print(f"{len(queries):,} queries, {CANDIDATES:,} candidates of 256 numbers, {len(relevance):,} relevant pairs")
    report("rank_relevant", lambda: rank_relevant(queries, candidates, relevance, names, ids), rounds)


def beside_ir_measures(rounds: int) -> None:
    """nDCG@10, R@100 and RR of a run of 1,190 queries, ours and ir-measures' (which calls trec_eval)."""
    try:
        import ir_measures
    except ImportError:
        sys.exit("error: ir-measures is what this compares with: pip install ir-measures")
    rng = np.random.default_rng(5)
    names = np.array([f"d{row:05}" for row in range(CANDIDATES)])
    run, qrels = {}, {}
    for number in range(QUESTIONS):
        retrieved = rng.choice(CANDIDATES, 100, replace=False)
        scores = np.sort(rng.standard_normal(100))[::-1]
        run[f"q{number}"] = list(zip(names[retrieved].tolist(), scores.tolist(), strict=True))
        relevant = np.concatenate([retrieved[rng.choice(100, 6, replace=False)], rng.choice(CANDIDATES, 5)])
        qrels[f"q{number}"] = {name: int(rng.integers(1, 3)) for name in names[relevant]}
    formulas: dict[str, Callable[..., np.ndarray]] = {
        "nDCG@10": lambda ranks, grades: metrics.ndcg(ranks, 10, grades),
        "R@100": lambda ranks, grades: metrics.recall(ranks, 100),
        "RR": lambda ranks, grades: metrics.reciprocal_rank(ranks),
    }
    peer_run = {query: dict(candidates) for query, candidates in run.items()}

    def ours() -> dict[str, float]:
        judged = metrics.judge(run, qrels)
        scores = {name: metrics.per_query(judged, formula).values() for name, formula in formulas.items()}
        return {name: float(np.mean(list(values))) for name, values in scores.items()}

    def peer() -> dict[str, float]:
        means = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in formulas], qrels, peer_run)
        return {str(measure): value for measure, value in means.items()}

    print(f"a run of {QUESTIONS:,} queries x 100 candidates, 11 relevant each")
    report("ours", ours, rounds)
    report("ir-measures", peer, rounds)
    mine, theirs = ours(), peer()
    for name in formulas:
        print(f"  {name:8} ours {mine[name]:.12f}, ir-measures {theirs[name]:.12f}")
        if abs(mine[name] - theirs[name]) > 1e-9:
            sys.exit(f"error: {name} differs from that of ir-measures")


PARTS = {
    "intervals": intervals,
    "bias": bias_metrics,
    "embeddings": embeddings,
    "ranks": ranks,
    "ir_measures": beside_ir_measures,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one of the parts (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.rounds)


if __name__ == "__main__":
    main()
