"""BEIR folders: both shapes of judgments, languages, titles, the rule on equal ids, and every defect named."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks import Query
from hybrid_jax.eval.tasks.beir import beir, pooled, read_qrels

CORPUS = [
    {"_id": "d1", "title": "Title", "text": "one", "lang": "eng_Latn"},
    {"_id": "d2", "title": "", "text": "zwei", "lang": "DE"},
    {"_id": "q1", "text": "three"},
]
QUERIES = [
    {"_id": "q2", "text": "b?", "lang": "deu"},
    {"_id": "unjudged", "text": "c?"},
    {"_id": "q1", "text": "a?"},
]
TSV = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\n"


def lines(rows: Iterable[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set/qrels").mkdir(parents=True)
    with gzip.open(tmp_path / "set/corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines(CORPUS))
    (tmp_path / "set/queries.jsonl").write_text(lines(QUERIES), encoding="utf-8")
    (tmp_path / "set/qrels/test.tsv").write_text(TSV, encoding="utf-8")
    return tmp_path / "set"


def test_a_streamed_folder_keeps_grades_titles_and_languages(folder: Path):
    task = beir(folder)
    assert task.name == "set"
    assert task.queries == (Query("q2", "de", "b?"), Query("q1", "und", "a?"))
    assert task.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}
    for _ in range(2):  # the corpus is read anew each time
        found = [(candidate.id, candidate.language, candidate.texts) for candidate in task.corpus()]
        assert found == [("d1", "en", ("Title one",)), ("d2", "de", ("zwei",)), ("q1", "und", ("three",))]
    assert task.drop_same_id
    assert set(task.sources) == {"corpus.jsonl.gz", "queries.jsonl", "test.tsv"}


def test_a_pooled_folder_is_ranked_in_full(folder: Path):
    task = pooled(folder)
    assert [(task.queries[i].id, task.candidates[j].id) for i, j in task.relevance] == [("q2", "d2"), ("q1", "d1")]
    assert [candidate.language for candidate in task.candidates] == ["en", "de", "und"]


@pytest.mark.parametrize(
    "text",
    [TSV, TSV.partition("\n")[2], "q1 0 d1 2\nq1 0 d2 0\n\nq2\tQ0\td2\t1\n", TSV.replace("\n", "\r\n")],
    ids=["beir", "no heading", "trec", "windows"],
)
def test_judgments_have_three_columns_or_four(tmp_path: Path, text: str):
    (tmp_path / "qrels").write_text(text, encoding="utf-8", newline="")
    assert read_qrels(tmp_path / "qrels") == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("q1\td1\t1\nq1\td1\tyes\n", r"qrels:2: 'q1\\td1\\tyes' is neither"),
        ("q1 d1\n", "qrels:1: 'q1 d1' is neither"),
        ("q1\td1\t1\nq1\td1\t2\n", "qrels:2: document 'd1' has two grades for query 'q1'"),
    ],
)
def test_a_bad_judgment_is_named(tmp_path: Path, text: str, problem: str):
    (tmp_path / "qrels").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        read_qrels(tmp_path / "qrels")


def test_the_judgments_to_use_can_be_named(folder: Path):
    (folder / "qrels/dev.tsv").write_text("q1\td2\t1\n", encoding="utf-8")
    assert set(beir(folder).qrels) == {"q1", "q2"}  # test.tsv
    assert beir(folder / "qrels/dev.tsv").qrels == {"q1": {"d2": 1}}
    (folder / "qrels/test.tsv").rename(folder / "qrels/train.tsv")
    with pytest.raises(DataError, match=r"which judgments\? It has qrels/dev\.tsv, qrels/train\.tsv: give one"):
        beir(folder)
    (folder / "qrels/train.tsv").unlink()
    assert beir(folder).qrels == {"q1": {"d2": 1}}  # the only ones


def test_files_that_do_not_fit_together_are_refused(folder: Path):
    (folder / "qrels/test.tsv").write_text("q1\td9\t1\nq9\td1\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"queries\.jsonl: no query 'q9', which the qrels judge \(1 such\)"):
        beir(folder)
    with pytest.raises(DataError, match=r"document 'd9', relevant to query 'q1', is not in .*corpus\.jsonl\.gz"):
        pooled(folder)
    (folder / "corpus.jsonl.gz").unlink()
    with pytest.raises(DataError, match=r"set: no corpus\.jsonl in it; a BEIR folder holds"):
        beir(folder)
    (folder / "corpus.jsonl").write_text(lines([CORPUS[0], CORPUS[0]]), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"corpus\.jsonl:2: document id 'd1' occurs a second time \(first: .*corpus\.jsonl:1\)"
    ):
        pooled(folder)
    (folder / "corpus.jsonl").write_text(lines([{"_id": "d1", "title": "no text"}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.jsonl:1: missing key 'text' \(keys here: _id, title\)"):
        pooled(folder)
    (folder / "corpus.jsonl").write_text(lines([{"_id": "d1", "title": 7, "text": "one"}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.jsonl:1: 'title' must be a text, got int 7"):
        pooled(folder)
    with pytest.raises(DataError, match=r"nowhere: no such folder; a BEIR folder holds"):
        beir(folder / "nowhere")
    with pytest.raises(DataError, match=rf"no such folder \(did you mean {folder}\?\)"):
        beir(folder.with_name(f"{folder.name}s"))
