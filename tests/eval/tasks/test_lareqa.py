"""The official counts and rules of XQuAD-R and MLQA-R on the real files; damaged files are refused with the fix."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval import tasks
from hybrid_jax.eval.measures.units import connected
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.eval.tasks.lareqa import _squad

MLQA_PAIRS = {
    **{"ar-en": 517, "de-en": 512, "en-es": 500, "en-hi": 507, "en-vi": 511, "en-zh": 504},
    **{"ar-de": 207, "ar-es": 161, "ar-hi": 186, "ar-vi": 163, "ar-zh": 188, "de-es": 196, "de-hi": 163, "de-vi": 182},
    **{"de-zh": 190, "es-hi": 187, "es-vi": 189, "es-zh": 161, "hi-vi": 177, "hi-zh": 189, "vi-zh": 184},
}


def per_language(rows) -> dict[str, int]:
    return dict(Counter(row.language for row in rows))


def pair_counts(task: RetrievalTask) -> Counter[tuple[str, str]]:
    languages = [(task.queries[i].language, task.candidates[j].language) for i, j in task.relevance]
    return Counter(languages)


@pytest.mark.real_data
def test_xquad_r(real_data: Path):
    task = tasks.xquad_r(real_data)
    assert (len(task.queries), len(task.candidates)) == (13_090, 13_014)
    sentences = {
        **{"ar": 1222, "de": 1276, "el": 1234, "en": 1180, "es": 1215, "hi": 1244},
        **{"ru": 1219, "th": 852, "tr": 1167, "vi": 1209, "zh": 1196},
    }
    assert per_language(task.candidates) == sentences
    assert per_language(task.queries) == dict.fromkeys(sentences, 1190)
    # Every question has exactly one answer sentence in each of the 11 languages.
    assert pair_counts(task) == {(a, b): 1190 for a in sentences for b in sentences}
    assert len(task.sources) == 11
    # A paragraph has the same questions in all languages.
    paragraphs = {(query.id, query.paragraph) for query in task.queries}
    assert (len(paragraphs), len({name for _, name in paragraphs})) == (1190, 240)


@pytest.mark.real_data
def test_mlqa_r(real_data: Path):
    task = tasks.mlqa_r(real_data / "eval")
    assert (len(task.queries), len(task.candidates)) == (4_199, 20_534)
    questions = {"ar": 517, "de": 512, "en": 1148, "es": 500, "hi": 507, "vi": 511, "zh": 504}
    assert per_language(task.queries) == questions
    assert per_language(task.candidates) == {
        **{"ar": 2545, "de": 2362, "en": 6264, "es": 1787, "hi": 2426, "vi": 2828, "zh": 2322}
    }
    expected = {(language, language): count for language, count in questions.items()}
    for pair, count in MLQA_PAIRS.items():
        a, b = pair.split("-")
        expected |= {(a, b): count, (b, a): count}
    assert pair_counts(task) == expected
    per_question = Counter(Counter(task.relevance[:, 0].tolist()).values())
    per_id = {languages: per_question[languages] / languages for languages in per_question}
    # Paragraphs are each language's own; the question that two languages share links theirs (`units.py`).
    paragraphs = {(query.language, query.paragraph) for query in task.queries}
    assert Counter(language for language, _ in paragraphs) == {
        **{"ar": 439, "de": 456, "en": 978, "es": 454, "hi": 425, "vi": 451, "zh": 443}
    }
    question = np.unique([query.id for query in task.queries], return_inverse=True)[1]
    units = connected(question, [(query.language, query.paragraph) for query in task.queries])
    assert (len(set(units.tolist())), np.bincount(units).max()) == (933, 6)
    assert per_id == {2: 65, 3: 263, 4: 820}


@pytest.mark.real_data
def test_the_relevant_sentence_holds_the_answer(real_data: Path):
    task = tasks.xquad_r(real_data)
    file = json.loads((real_data / "eval/xquad-r/en.json").read_text(encoding="utf-8"))
    questions = {qa["id"]: (qa, p) for a in file["data"] for p in a["paragraphs"] for qa in p["qas"]}
    checked = 0
    for i, j in task.relevance:
        query, candidate = task.queries[i], task.candidates[j]
        if candidate.language == "en" and query.language == "th":
            qa, paragraph = questions[query.id]
            with_paragraph, sentence = candidate.texts
            assert with_paragraph == (sentence + paragraph["context"]).replace("\n", "")
            checked += qa["answers"][0]["text"] in sentence
    assert checked >= 1190 - 20  # an answer may run past the end of the sentence that it starts in


def test_the_answer_sentence_is_the_one_the_answer_starts_in():
    paragraph = {
        "context": "One.\nTwo three.",
        "sentences": ["One.", "Two three."],
        "sentence_breaks": [[0, 5], [5, 15]],
        "qas": [
            {"id": "first", "question": "?", "answers": [{"answer_start": 4, "text": "\nTwo"}]},
            {"id": "second", "question": "?", "answers": [{"answer_start": 5, "text": "Two"}]},
        ],
    }
    other = {**paragraph, "qas": [{**qa, "id": f"{qa['id']} again"} for qa in paragraph["qas"]]}
    queries, candidates, answers = _squad({"data": [{"paragraphs": [paragraph, other]}]}, "en", Path("en.json"), "")
    assert [query.id for query in queries] == ["first", "second", "first again", "second again"]
    assert answers == [0, 1, 2, 3]
    assert candidates[1].texts == ("Two three.One.Two three.", "Two three.")
    assert len({candidate.id for candidate in candidates}) == 4


def write(folder: Path, content: bytes) -> Path:
    (folder / "xquad-r").mkdir()
    (folder / "xquad-r/ar.json").write_bytes(content)
    return folder


def paragraph(start: int) -> dict:
    qa = {"id": "q7", "question": "?", "answers": [{"answer_start": start, "text": "x"}]}
    return {"context": "abc", "sentences": ["abc"], "sentence_breaks": [[0, 3]], "qas": [qa]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"data": [\n{"paragraphs": ]}', r"ar\.json:2: Expecting value"),
        (b'{"data": "\n\n\xff"}', r"ar\.json:3: invalid UTF-8"),
        (b'{"rows": []}', r"ar\.json: missing key 'data' \(keys here: rows\)"),
        (
            json.dumps({"data": [{"paragraphs": [paragraph(0)]}]}).encode(),
            r"1 questions and 1 sentences, .*1190 and 1222",
        ),
        (
            json.dumps({"data": [{"paragraphs": [paragraph(3)]}]}).encode(),
            r"'q7': its answer \(at 3\) is in 0 sentences",
        ),
    ],
    ids=["json", "utf-8", "keys", "counts", "answer"],
)
def test_a_damaged_file_is_named_with_the_fix(tmp_path: Path, content: bytes, problem: str):
    with pytest.raises(DataError, match=problem) as caught:
        tasks.xquad_r(write(tmp_path, content))
    assert "git clone https://github.com/google-research-datasets/lareqa" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_with_the_command_that_gets_it(tmp_path: Path):
    with pytest.raises(DataError, match=r"no file .*mlqa-r/ar\.json.*checkout 354d67d.*--data-dir lareqa"):
        tasks.mlqa_r(tmp_path)
