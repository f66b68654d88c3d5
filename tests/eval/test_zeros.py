"""A task whose every figure is 0 is said aloud and in the report; figures and embeddings that are NaN are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.eval import __main__ as cli
from hybrid_jax.eval import bitext, full_ranking, pools
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.tasks import BitextTask, Candidate, Query, SearchTask
from hybrid_jax.eval.zeros import ZERO_WARNING, with_warnings, zero_tasks

MINILM = Path(__file__).parents[1] / "fixtures" / "pretrained" / "minilm"


class Directions:
    """A text that ends in a number n has direction n % 2; "nan" has none."""

    def encode_queries(self, texts) -> np.ndarray:
        rows = [np.full(2, np.nan) if text == "nan" else np.eye(2)[int(text.split()[-1]) % 2] for text in texts]
        return np.array(rows, np.float32)

    encode_passages = encode_queries


def search(*texts: str, relevant: str) -> SearchTask:
    candidates = [Candidate(f"d{number}", "en", (text,)) for number, text in enumerate(texts)]
    return SearchTask("pool", (Query("q", "en", "query 0"),), lambda: iter(candidates), {"q": {relevant: 1}})


def mined(*left: str) -> BitextTask:
    return BitextTask("mined", {("de", "en"): (left, ("x 0", "x 1"))})


def test_the_tasks_whose_every_figure_is_0_are_named():
    encoder = Directions()
    nothing = pools.evaluate(encoder, search(*["text 0"] * 150, "text 1", relevant="d150"))
    something = pools.evaluate(encoder, search("text 0", "text 1", relevant="d0"))
    crossed, matched = (bitext.evaluate(encoder, mined(*texts)) for texts in (("y 1", "y 0"), ("y 0", "y 1")))
    evaluation = Evaluation(
        tasks={},
        per_query={},
        searches={"nothing": nothing, "something": something},
        bitext={"crossed": crossed, "matched": matched},
    )
    zeros = zero_tasks(evaluation)
    assert zeros == ["nothing", "crossed"]
    marked = with_warnings(evaluation, zeros)
    told = {key: result.about for key, result in {**marked.searches, **marked.bitext}.items()}
    assert {key for key, about in told.items() if about.endswith(ZERO_WARNING)} == {"nothing", "crossed"}
    assert marked.searches["something"] == something
    assert marked.searches["nothing"].metrics == nothing.metrics


def test_a_full_ranking_with_figures_is_not_named(make_task, random_encoder):
    evaluation = full_ranking.run(random_encoder, [make_task(["de", "en"], 5)])
    assert zero_tasks(evaluation) == []
    result = evaluation.tasks["parallel"]
    nothing = {
        name: dict.fromkeys(result.means(name), 1e-5) for name in ("map", "recall@1", "recall@10", "mrr", "ndcg@10")
    }
    assert zero_tasks(Evaluation(tasks={"low": result.model_copy(update=nothing)}, per_query={})) == ["low"]
    undefined = {"map": {**result.means("map"), "multilingual": float("nan")}}
    with pytest.raises(ValueError, match=r"task odd: map\.multilingual is nan, so the evaluation cannot be used"):
        zero_tasks(Evaluation(tasks={"odd": result.model_copy(update=undefined)}, per_query={}))


def test_embeddings_that_are_not_finite_are_refused_by_every_kind_of_task(make_task):
    encoder = Directions()
    with pytest.raises(ValueError, match=r"candidate embedding 1 has norm nan \(1 of 2 are wrong\)"):
        pools.evaluate(encoder, search("text 0", "nan", relevant="d0"))
    with pytest.raises(ValueError, match="left embedding 1 has norm nan"):
        bitext.evaluate(encoder, mined("y 0", "nan"))

    class Nothing(Directions):
        def encode_passages(self, texts) -> np.ndarray:
            return np.full((len(texts), 2), np.nan, np.float32)

    with pytest.raises(ValueError, match="candidate embedding 0 has norm nan"):
        full_ranking.run(Nothing(), [make_task(["de", "en"], 2)])


def write(folder: Path, corpus: list[dict], queries: list[dict], qrels: str) -> None:
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels/test.tsv").write_text(qrels, encoding="utf-8")


def test_the_command_says_what_is_missing_and_what_is_zero(tmp_path: Path, monkeypatch, capsys):
    corpus = [{"_id": f"d{n}", "text": "The harbour opens at six."} for n in range(120)]
    corpus.append({"_id": "relevant", "text": "Bread, a museum, a castle and eleven trees."})
    queries = [{"_id": name, "text": "The harbour opens at six."} for name in ("q1", "q2")]
    write(tmp_path / "beir", corpus, queries, "q1\trelevant\t1\nq1\tgone\t1\nq2\tgone\t1\n")
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)
    arguments = ["--ckpt", str(MINILM), "--tasks", f"beir:{tmp_path / 'beir'}", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["eval", *arguments])
    assert cli.main() == 0
    told = capsys.readouterr()
    assert told.err == f"warning: beir:beir: {ZERO_WARNING}\n"
    missing, unanswerable, *_ = told.out.splitlines()
    assert missing.startswith("beir: 1 of 2 relevant candidates are not among the 121 of the corpus (such as 'gone')")
    assert unanswerable.startswith("beir: 1 of 2 queries have no relevant candidate in the corpus (such as 'q2')")
    assert ZERO_WARNING in told.out
    result = json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))["searches"]
    (pool,) = result.values()
    assert (pool["relevant_missing"], pool["unanswerable"], pool["ndcg@10"]) == (1, 1, 0)
    for name in ("report.md", "report.html"):
        page = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "every figure is 0 to four decimals" in page
        assert "1 questions have no relevant candidate in it and count as 0" in page


def test_a_bad_folder_is_refused_before_the_model_is_looked_at(tmp_path: Path, monkeypatch, capsys):
    corpus = [{"_id": "d1", "text": "x"}, {"_id": "d1", "text": "x"}]
    write(tmp_path / "beir", corpus, [{"_id": "q1", "text": "x"}], "q1\td1\t1\n")
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)
    arguments = ["--ckpt", str(tmp_path / "no model"), "--tasks", f"beir:{tmp_path / 'beir'}"]
    monkeypatch.setattr("sys.argv", ["eval", *arguments])
    assert cli.main() == 1
    told = capsys.readouterr()
    assert told.err.startswith(
        f"error: {(tmp_path / 'beir').resolve()}/corpus.jsonl:2: document id 'd1' occurs a second"
    )
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
