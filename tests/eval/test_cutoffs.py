"""Values at chosen cut-offs are pytrec_eval's, and are shown with intervals; mistakes in `--cutoffs` are one line."""

import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from hybrid_jax.eval import __main__ as cli
from hybrid_jax.eval import pools
from hybrid_jax.eval.measures.cutoffs import parse
from hybrid_jax.eval.measures.macro import limits
from hybrid_jax.eval.measures.metrics import Run
from hybrid_jax.eval.report.mode_tables import cutoff_table
from hybrid_jax.eval.tasks import Candidate, Query, SearchTask

CUTOFFS = (1, 3, 5, 100)
MEASURES = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut"}


class OfText:
    """A direction for every text, drawn from the text itself."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.stack([np.random.default_rng(zlib.crc32(text.encode())).standard_normal(8) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    encode_passages = encode_queries


def task() -> SearchTask:
    rng = np.random.default_rng(1)
    queries = tuple(Query(f"q{n}", "en" if n < 7 else "sw", f"query {n}?") for n in range(12))
    qrels = {
        query.id: {f"d{n}": int(rng.integers(1, 3)) for n in rng.choice(200, 9, replace=False)} for query in queries
    }
    return SearchTask(
        "made up", queries, lambda: (Candidate(f"d{n}", "en", (f"passage {n}",)) for n in range(200)), qrels
    )


def test_values_at_cutoffs_are_pytrec_evals():
    asked, runs = task(), list[Run]()
    measured = pools.measure(OfText(), asked, watch=lambda _, run: runs.append(run), cutoffs=CUTOFFS)[""]
    run = {query: dict(ranking) for query, ranking in runs[0].items()}
    qrels = {query: dict(graded) for query, graded in asked.qrels.items()}
    expected: dict[str, dict[str, float]] = {}
    for k in CUTOFFS:
        names = {f"{trec}.{k}" for trec in MEASURES.values()}
        values = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)
        for name, trec in MEASURES.items():
            expected[f"{name}@{k}"] = {query: row[f"{trec}_{k}"] for query, row in values.items()}
        cut = {query: dict(sorted(row.items(), key=lambda pair: -pair[1])[:k]) for query, row in run.items()}
        values = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(cut)
        expected[f"mrr@{k}"] = {query: row["recip_rank"] for query, row in values.items()}
    table, result = measured.per_query, measured.result
    assert list(result.cutoffs) == [f"{name}@{k}" for k in CUTOFFS for name in ("ndcg", "recall", "map", "mrr")]
    for name, estimate in result.cutoffs.items():
        by_query = dict(zip(table.ids, table.part("search")[name].tolist(), strict=True))
        assert by_query == pytest.approx(expected[name], abs=1e-9), name
        means = [np.mean([expected[name][q.id] for q in asked.queries if q.language == lang]) for lang in ("en", "sw")]
        assert estimate.value == pytest.approx(np.mean(means))
        low, high = limits(result.cutoffs)[name]
        assert low <= estimate.value <= high


def test_the_table_has_a_row_for_each_cutoff_and_none_without():
    without = pools.evaluate(OfText(), task())
    assert cutoff_table([("model", without)]).rows == []
    result = pools.together("one", {"one": pools.measure(OfText(), task(), cutoffs=(5, 1))[""]}).result
    table = cutoff_table([("model", result)])
    assert (table.header, [row.label for row in table.rows]) == (("nDCG", "R", "mAP", "MRR"), ["1", "5"])
    assert table.rows[0].cells[0].figure == f"{result.cutoffs['ndcg@1'].value:.4f}"


def test_cutoffs_are_whole_numbers_up_to_what_is_kept():
    assert parse("100, 1,5,5") == (1, 5, 100)
    for text, wrong in (("0", "0"), ("1,x", "x"), ("", ""), ("1000", "1000"), ("1.5", "1.5")):
        with pytest.raises(ValueError, match=f"'{wrong}' is no whole number from 1 to 100: write cut-offs such as 1,5"):
            parse(text)


def test_cutoffs_without_a_searched_pool_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    monkeypatch.setattr(sys, "argv", ["eval", "--ckpt", str(tmp_path), "--tasks", "demo", "--cutoffs", "1,5"])
    assert cli.main() == 1
    assert capsys.readouterr().err == (
        "error: --cutoffs are for searched pools: name one in --tasks, such as beir:FOLDER or miracl_sw\n"
    )
