"""TREC files: what trec_eval makes of them is what report.json says, whatever the ids, ties and scores."""

import gzip
from collections import defaultdict
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.disk.files import atomic_file
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.catalogue import POOLS
from hybrid_jax.eval.ranking import Ranking
from hybrid_jax.eval.report.file_names import FileNames
from hybrid_jax.eval.report.trec import TrecWriter, falling
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask, SearchTask
from hybrid_jax.search.ranks import rank_relevant
from hybrid_jax.search.scores import tie_order

MEASURES = {"ndcg@10": ir_measures.nDCG @ 10, "recall@10": ir_measures.R @ 10, "mrr": ir_measures.RR}


def by_trec_eval(folder: Path, name: str, measures: dict) -> dict[str, dict[str, list[float]]]:
    """{measure: {language: values of its queries}}, as ir-measures (pytrec_eval) reads the two files."""
    qrels = list(ir_measures.read_trec_qrels(str(folder / f"{name}.qrels.gz")))
    ranked = list(ir_measures.read_trec_run(str(folder / f"{name}.run.gz")))
    actual: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in measures}
    for value in ir_measures.iter_calc(list(measures.values()), qrels, ranked):
        name = next(computed for computed, reference in measures.items() if reference == value.measure)
        actual[name][value.query_id.partition(":")[0]].append(value.value)
    return actual


def macro(values: dict[str, list[float]]) -> float:
    return float(np.mean([np.mean(of_language) for of_language in values.values()]))


def lines(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.split(" ") for line in file.read().splitlines()]


class Coarse:
    """Few directions for many texts, some a last bit of float32 apart: ties, and differences below float32."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)

    def encode_queries(self, texts):
        angle = self.rng.integers(0, 6, len(texts)) / 7 + self.rng.integers(0, 3, len(texts)) * 2.0**-26
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    encode_passages = encode_queries


def awkward_task(languages: tuple[str, ...] = ("zh", "zh-x", "de"), count: int = 12) -> RetrievalTask:
    """Ids with what TREC files cannot hold, and languages whose order changes once ":" follows them."""
    names = [(language, f"q {n}\t%20:\u00a0{chr(0x4E00 + n)}") for language in languages for n in range(count)]
    return RetrievalTask(
        name="awkward",
        queries=tuple(Query(name, language, f"{language} {name}?") for language, name in names),
        candidates=tuple(Candidate(name, language, (f"{language} {name}",)) for language, name in names),
        relevance=np.array([(i, j) for i, a in enumerate(names) for j, b in enumerate(names) if a[1] == b[1]]),
        candidate_texts=("passage",),
    )


@pytest.mark.parametrize("encoder", ["coarse", "biased", "random"])
def test_trec_eval_gives_the_figures_of_the_report(encoder, make_task, knows_the_record, random_encoder, tmp_path):
    task = make_task(("de", "en", "th"), 12) if encoder == "biased" else awkward_task()
    made = {"coarse": Coarse, "biased": lambda: knows_the_record(task, 1, 3), "random": lambda: random_encoder}[
        encoder
    ]()
    writer = TrecWriter(tmp_path, "a tag")
    result = run(made, [task], watch=writer.ranked).tasks[task.name]
    assert writer.paths == [tmp_path / f"{task.name}.run.gz", tmp_path / f"{task.name}.qrels.gz"]
    # The pool has 36 candidates: nothing is cut off, so that AP and RR are those of the full ranking as well.
    actual = by_trec_eval(tmp_path, task.name, MEASURES | {"map": ir_measures.AP})
    for name, values in actual.items():
        assert macro(values) == pytest.approx(result.value(name), abs=1e-9)
    assert 0 < macro(actual["map"]) < 1


def test_relevant_candidates_stand_where_the_exact_ranks_say(tmp_path):
    """The search orders by float32 scores; the run must follow the exact ones and break ties by (language, id)."""
    task, encoder = awkward_task(), Coarse()
    queries, candidates = (encoder.encode_queries([""] * 36) for _ in range(2))
    names = [row.language for row in task.candidates], [row.id for row in task.candidates]
    ranks = rank_relevant(queries, candidates, task.relevance, *names)
    shuffled = np.stack([np.random.default_rng(row).permutation(36) for row in range(36)])
    TrecWriter(tmp_path, "model").ranked("t", task, Ranking(queries, candidates, ranks, shuffled))
    order = {(row[0], row[2]): int(row[3]) for row in lines(tmp_path / "t.run.gz")}
    placed = [order[row[0], row[2]] for row in lines(tmp_path / "t.qrels.gz")]
    assert placed == ranks.pooled.tolist()
    assert len(tie_order(*names)) == 36


def test_a_run_has_six_columns_and_ids_that_can_be_read_back(tmp_path):
    task = awkward_task(count=2)
    TrecWriter(tmp_path, "my model\n").ranked("a:b", task, ranking(task))
    rows = lines(tmp_path / "a-b.run.gz")
    assert {len(row) for row in rows} == {6}
    assert {row[1] for row in rows} == {"Q0"}
    assert {row[5] for row in rows} == {"my%20model%0A"}
    assert rows[0][0] == "zh:q%200%09%2520:%C2%A0一"
    assert [int(row[3]) for row in rows] == [1, 2, 3, 4, 5, 6] * 6
    assert {tuple(row[1::2]) for row in lines(tmp_path / "a-b.qrels.gz")} == {("0", "1")}


def ranking(task: RetrievalTask, places: int | None = None) -> Ranking:
    """All vectors alike: every score is tied, and the greater (language, id) comes first."""
    queries, candidates = (
        np.tile(np.array([[0.6, 0.8]], np.float32), (len(rows), 1)) for rows in (task.queries, task.candidates)
    )
    names = [row.language for row in task.candidates], [row.id for row in task.candidates]
    top = np.tile(tie_order(*names), (len(task.queries), 1))
    if places is not None:
        top[:, places:] = -1
    return Ranking(queries, candidates, rank_relevant(queries, candidates, task.relevance, *names), top)


def test_a_ranking_with_fewer_candidates_ends_early(tmp_path):
    task = awkward_task(count=2)
    TrecWriter(tmp_path, "model").ranked("t", task, ranking(task, places=4))
    assert [int(row[3]) for row in lines(tmp_path / "t.run.gz")] == [1, 2, 3, 4] * 6


def test_the_same_ranking_is_the_same_bytes(tmp_path):
    task = awkward_task()
    for place in ("a", "b"):
        TrecWriter(tmp_path / place, "model").ranked("t", task, ranking(task))
    for name in ("t.run.gz", "t.qrels.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_searched_pool_scores_as_its_result_says(tmp_path):
    rng = np.random.default_rng(0)
    queries = tuple(Query(f"q {n}", "en", f"query {n}") for n in range(9))
    qrels = {q.id: {f"d%{n}": int(rng.integers(0, 3)) for n in rng.choice(150, 20, replace=False)} for q in queries}
    task = SearchTask("pool", queries, lambda: iter(()), qrels)
    # Scores on a coarse grid, and pairs of scores that only float64 tells apart.
    actual = {
        query.id: [(f"d%{n}", float(rng.integers(-3, 3) / 4 + 1e-10 * n)) for n in rng.permutation(150)[:100]]
        for query in queries
    }
    writer = TrecWriter(tmp_path, "model")
    writer.searched("beir:pool/test", task, actual)
    writer.searched("beir:pool/dev", task, {})  # other qrels of the same folder: files of their own
    assert {path.name for path in writer.paths} == {
        f"pool{n}.{kind}.gz" for n in ("", "-2") for kind in ("run", "qrels")
    }
    judged = metrics.judge(actual, task.qrels)
    expected = {name: metrics.per_query(judged, metric.values) for name, metric in POOLS.items()}
    measures = {"ndcg@10": ir_measures.nDCG @ 10, "recall@100": ir_measures.R @ 100, "map@100": ir_measures.AP @ 100}
    for name, values in by_trec_eval(tmp_path, "pool", measures).items():
        found_there = [value for of_language in values.values() for value in of_language]
        assert sorted(found_there) == pytest.approx(sorted(expected[name].values()), abs=1e-9)
    assert {int(row[3]) for row in lines(tmp_path / "pool.qrels.gz")} == {0, 1, 2}


@given(st.lists(st.floats(-1, 1, allow_subnormal=False) | st.sampled_from([0.0, 0.5, 0.5 + 2**-40]), max_size=60))
def test_falling_scores_fall_and_stay_near(values):
    scores = np.array(sorted(values, reverse=True), np.float64)
    actual = falling(scores)
    assert (actual[1:] < actual[:-1]).all()
    assert np.abs(actual - scores).max(initial=0) < 60 * 2.0**-24
    if len(set(scores.astype(np.float32).tolist())) == len(scores):
        np.testing.assert_array_equal(actual, scores.astype(np.float32))  # nothing to tell apart: nothing is changed
    # Nine digits bring every float32 number back.
    np.testing.assert_array_equal(np.array([f"{score:.9g}" for score in actual.tolist()], np.float32), actual)


def test_file_names_are_safe_and_never_shared():
    names = FileNames()
    keys = ["xquad_r", "xquad_r:sentence", "xquad_r/sentence", "XQUAD_R", "beir:/data/my set", "..", "日本語"]
    assert [names.of(key) for key in keys] == [
        *("xquad_r", "xquad_r-sentence", "xquad_r-sentence-2", "XQUAD_R-2", "beir-data-my-set", "task", "task-2")
    ]
    assert [names.of(key) for key in keys] == [names.of(key) for key in keys]
    assert [names.of("pool", group) for group in ("dev", "test", "dev")] == ["pool", "pool-2", "pool"]


def test_a_file_is_whole_or_not_there(tmp_path):
    def write(path: Path, then: Exception | None = None) -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            if then:
                raise then

    with pytest.raises(ValueError, match="in the middle"):
        write(tmp_path / "a", ValueError("in the middle"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*b: .*directory.*; make room or name another folder"):
        write(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
