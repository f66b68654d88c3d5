"""Every file that an evaluation reads: a bad field gives one line with its place, and good texts are unchanged."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.records import DataError
from hybrid_jax.debias.texts import read_text
from hybrid_jax.eval.tasks import beir, pooled
from hybrid_jax.eval.tasks.beir import read_qrels, read_queries
from hybrid_jax.eval.tasks.lareqa import _squad
from hybrid_jax.eval.tasks.miracl import _topics
from hybrid_jax.eval.tasks.squad_json import paragraphs
from hybrid_jax.eval.tasks.tydiqa import tydiqa

NOT_IDS: list[Any] = [None, True, 1.5, ["x"], {}, "", "  ", "x\ud83d"]
NOT_LANGUAGES: list[Any] = [None, 1, ["en"], "", "mul", "en-x-a", "English", "xx", "e\udc00"]
NOT_TEXTS: list[Any] = [None, 7, False, ["x"], {}, "x \ud83d"]
BLANK: list[Any] = ["", " \n"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)

LINES: dict[str, list[dict[str, Any]]] = {
    "corpus.jsonl": [{"_id": f"d{n}", "title": f"T{n}", "text": f"text {n}", "lang": "en"} for n in range(3)],
    "queries.jsonl": [{"_id": f"q{n}", "text": f"query {n}?", "lang": "en"} for n in range(3)],
}
BAD = {
    ("corpus.jsonl", "_id"): NOT_IDS,
    ("corpus.jsonl", "title"): [value for value in NOT_TEXTS if value is not None],
    ("corpus.jsonl", "text"): NOT_TEXTS,
    ("corpus.jsonl", "lang"): NOT_LANGUAGES,
    ("queries.jsonl", "_id"): NOT_IDS,
    ("queries.jsonl", "text"): NOT_TEXTS + BLANK,
    ("queries.jsonl", "lang"): NOT_LANGUAGES,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    (folder / "qrels").mkdir()
    return folder


def write(folder: Path, lines: dict[str, list[dict]]) -> Path:
    for name, records in lines.items():
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    qrels = "".join(f"q{n}\td{n}\t1\n" for n in range(3))
    (folder / "qrels/test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def refusal(read: Callable[[], object], place: str) -> str:
    """The one-line error of a reader, which begins with the place."""
    with pytest.raises(DataError) as error:
        read()
    message = str(error.value)
    assert message.startswith(place), (message, place)
    assert "\n" not in message
    return message


@given(
    st.sampled_from([(name, key, value) for (name, key), values in BAD.items() for value in values]), st.integers(0, 2)
)
def test_a_bad_field_of_a_folder_is_named_by_both_of_its_readers(folder: Path, bad: tuple[str, str, Any], line: int):
    name, key, value = bad
    lines = deepcopy(LINES)
    lines[name][line][key] = value
    write(folder, lines)
    for read in (lambda: beir(folder).survey, lambda: pooled(folder)):
        # An id that is not there any more may be missed first by the file that refers to it.
        assert repr(key) in refusal(read, f"{folder / name}:{line + 1}: ")


@given(st.lists(TEXTS, min_size=6, max_size=6), st.sampled_from(["de", "zh-Hant", None]))
def test_good_texts_are_read_as_they_are(folder: Path, texts: list[str], language: str | None):
    lines = deepcopy(LINES)
    for record, text in zip([*lines["corpus.jsonl"], *lines["queries.jsonl"]], texts, strict=True):
        record.update(text=text, title="")
        if language is None:
            del record["lang"]
        else:
            record["lang"] = language
    write(folder, lines)
    streamed, whole = beir(folder), pooled(folder)
    assert list(streamed.corpus()) == list(whole.candidates)
    assert [row.texts for row in whole.candidates] == [(text.strip(),) for text in texts[:3]]
    assert [row.text for row in streamed.queries] == [row.text for row in whole.queries] == texts[3:]
    assert {row.language for row in (*whole.candidates, *whole.queries)} == {language or "und"}


def test_duplicates_are_named_with_both_places(folder: Path):
    for name, kind in (("corpus.jsonl", "document"), ("queries.jsonl", "query")):
        for again in ({}, {"text": "another text"}):
            lines = deepcopy(LINES)
            lines[name].append({**lines[name][1], **again})
            write(folder, lines)
            for read in (lambda: beir(folder).survey, lambda: pooled(folder)):
                message = refusal(read, f"{folder / name}:4: {kind} id ")
                assert f"(first: {folder / name}:2), remove one of the two or give it another id" in message


def test_queries_that_are_not_judged_may_be_blank_and_repeated(folder: Path):
    lines = deepcopy(LINES)
    lines["queries.jsonl"] += [{"_id": "unjudged", "text": ""}] * 2
    assert len(beir(write(folder, lines)).queries) == 3
    lines["queries.jsonl"][3]["text"] = 7
    refusal(lambda: beir(write(folder, lines)), f"{folder / 'queries.jsonl'}:4: 'text'")


def test_documents_may_be_empty_as_in_official_corpora(folder: Path):
    lines = deepcopy(LINES)
    lines["corpus.jsonl"][1].update(title=None, text="")
    assert [row.texts for row in beir(write(folder, lines)).corpus()][1] == ("",)


def test_files_with_ids_of_two_kinds_are_refused(folder: Path):
    write(folder, LINES)
    (folder / "qrels/test.tsv").write_text("q0\t0\t1\n", encoding="utf-8")
    for read in (lambda: beir(folder).survey, lambda: pooled(folder)):
        with pytest.raises(DataError, match="nothing of the qrels is in the corpus: ids differ in what stands before"):
            read()
    (folder / "qrels/test.tsv").write_text("Q0\td0\t1\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"no query 'Q0', .*ids differ in case, 'q0' in the queries and 'Q0' in the qre"
    ):
        beir(folder)
    (folder / "qrels/test.tsv").write_text("q0\td0\t0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.tsv: no judgment has a grade above 0"):
        pooled(folder)
    with pytest.raises(DataError, match="no query has a relevant candidate"):
        assert beir(folder).survey


@given(st.sampled_from(["1.0", "yes", "", "1e3", "0x1", "9" * 10, "--1", "١"]), st.integers(1, 3))
def test_a_grade_is_a_whole_number(folder: Path, grade: str, line: int):
    rows = [f"q{n}\td{n}\t1" for n in range(3)]
    rows[line - 1] = f"q\td\t{grade}"
    path = folder / "grades.tsv"
    path.write_text("\n".join(rows), encoding="utf-8")
    assert "is neither `query<tab>document<tab>grade`" in refusal(lambda: read_qrels(path), f"{path}:{line}: ")


def test_columns_of_qrels_and_topics_are_there(folder: Path):
    path = folder / "columns.tsv"
    for row in ("\td\t1", "q\t\t1", "q\t \t1", "q\t1", "q d 1 2 3"):
        path.write_text(f"q1\td1\t1\n{row}\n", encoding="utf-8")
        refusal(lambda: read_qrels(path), f"{path}:2: ")
    for row in ("\ttext", "q\t", "q\t ", "q"):
        path.write_text(f"q1\ttext\n{row}\n", encoding="utf-8")
        refusal(lambda: _topics(path, "de"), f"{path}:2: ")
    # Half of a surrogate pair is no UTF-8, so that text files cannot hold one.
    path.write_bytes(b"q1\td1\t1\nq\td\xed\xa0\xbd\t1\n")
    for read in (read_qrels, lambda path: _topics(path, "de")):
        assert "invalid UTF-8" in refusal(lambda read=read: read(path), f"{path}:2: ")


def squad(bad: dict[str, Any]) -> dict:
    """A document of two paragraphs with a question each; `bad` replaces fields of the second paragraph or question."""
    made = [
        {
            "context": f"Sentence {n}.",
            "sentences": [f"Sentence {n}."],
            "sentence_breaks": [[0, 11]],
            "qas": [{"id": f"q{n}", "question": f"question {n}?", "answers": [{"answer_start": 0, "text": "S"}]}],
        }
        for n in range(2)
    ]
    for key, value in bad.items():
        target = made[1]["qas"][0] if key in made[1]["qas"][0] else made[1]
        target[key] = value
    return {"data": [{"paragraphs": made}]}


SQUAD_BAD = {
    "id": NOT_IDS,
    "question": NOT_TEXTS + BLANK,
    "context": NOT_TEXTS + BLANK,
    "qas": [None, {}, "x", [1]],
}
LAREQA_BAD = SQUAD_BAD | {
    "sentences": [None, "x", ["half \ud83d"], [7]],
    "sentence_breaks": [None, [], [[0]], [[0, "1"]], [[0, 1.0]], [[0, 1], [1, 2]]],
    "answers": [None, [], [{}], [{"answer_start": "0"}], [{"answer_start": True}], {}],
}


@given(st.sampled_from([(key, value) for key, values in LAREQA_BAD.items() for value in values]))
def test_a_bad_field_of_a_squad_file_is_named(bad: tuple[str, Any]):
    key, value = bad
    content, path = squad({key: value}), Path("xx.json")
    inside = "question 'q1'" if key in ("question", "answers") else "data[0].paragraphs[1]"
    message = refusal(lambda: _squad(content, "en", path, "get it again"), f"{path}: {inside}")
    assert key in message or "answer_start" in message
    if key in SQUAD_BAD:
        assert refusal(lambda: list(paragraphs(content, path, "get it again")), f"{path}: {inside}") == message


@given(st.lists(TEXTS, min_size=4, max_size=4))
def test_good_squad_texts_are_read_as_they_are(texts: list[str]):
    content = squad({})
    for paragraph, context, question in zip(content["data"][0]["paragraphs"], texts[:2], texts[2:], strict=True):
        paragraph["context"], paragraph["qas"][0]["question"] = context, question
    read = list(paragraphs(content, Path("xx.json"), ""))
    assert [paragraph.context for paragraph in read] == texts[:2]
    assert [question.text for paragraph in read for question in paragraph.questions] == texts[2:]


def test_a_question_that_is_there_twice_is_named():
    place = "xx.json: data[0].paragraphs[1].qas[0]: question id 'q0' occurs a second time"
    assert "(first: xx.json: data[0].paragraphs[0].qas[0])" in refusal(
        lambda: list(paragraphs(squad({"id": "q0"}), Path("xx.json"), "")), place
    )
    refusal(lambda: list(paragraphs([1], Path("xx.json"), "")), "xx.json: it must be an object with 'data'")


TYDIQA = {"id": "a", "lang": "ar", "question": "?", "passage": "p"}
TYDIQA_BAD = {
    "id": NOT_IDS,
    "lang": [*NOT_LANGUAGES, "de"],
    "question": NOT_TEXTS + BLANK,
    "passage": NOT_TEXTS + BLANK,
}
FITTING_BAD = {"id": NOT_IDS, "lang": NOT_LANGUAGES, "text": NOT_TEXTS + BLANK}


@given(st.sampled_from([(key, value) for key, values in TYDIQA_BAD.items() for value in values]))
def test_a_bad_field_of_tydiqa_is_named(folder: Path, bad: tuple[str, Any]):
    path = folder / "tydiqa_goldp_dev.jsonl"
    path.write_text(json.dumps(TYDIQA) + "\n" + json.dumps({**TYDIQA, bad[0]: bad[1]}) + "\n", encoding="utf-8")
    assert repr(bad[0]) in refusal(lambda: tydiqa(folder), f"{path}:2: ")


@given(st.sampled_from([(key, value) for key, values in FITTING_BAD.items() for value in values]))
def test_a_bad_field_of_a_text_to_debias_on_is_named(folder: Path, bad: tuple[str, Any]):
    path, good = folder / "texts.jsonl", {"id": "a", "lang": "de", "text": "x"}
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, bad[0]: bad[1]}) + "\n", encoding="utf-8")
    assert repr(bad[0]) in refusal(lambda: read_text([path], []), f"{path}:2: ")


def test_queries_are_found_in_the_files_order(folder: Path):
    write(folder, LINES)
    assert [query.id for query in read_queries(folder / "queries.jsonl", ["q2", "q0"])] == ["q0", "q2"]
