"""Belebele: the pool of all languages as the official files give it, tested on made-up files of the official size."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval import tasks
from hybrid_jax.eval.tasks.belebele import LANGUAGES, PASSAGES, QUESTIONS, belebele

Row = dict[str, Any]


def rows(language: str) -> list[Row]:
    """488 passages, 412 of them with a second question; the order differs from language to language."""
    numbered = [(passage, number) for number in (1, 2) for passage in range(PASSAGES)][:QUESTIONS]
    order = np.random.default_rng(len(language) + ord(language[0])).permutation(QUESTIONS)
    return [
        {
            "link": f"https://en.wikinews.org/wiki/{passage}",
            "question_number": number,
            "flores_passage": f"{language} passage {passage}",
            "question": f"{language} question {number} of {passage}",
            **{f"mc_answer{answer}": f"answer {answer}" for answer in (1, 2, 3, 4)},
            **{"correct_answer_num": "1", "dialect": language, "ds": "2023-05-03"},
        }
        for passage, number in (numbered[place] for place in order)
    ]


def write(data: Path, change: Callable[[list[Row]], list[Row]] = lambda rows: rows, folder: str = "Belebele") -> Path:
    (data / folder).mkdir(parents=True, exist_ok=True)
    for language in ("eng_Latn", "swh_Latn", "zho_Hans"):
        lines = map(json.dumps, change(rows(language)) if language == "swh_Latn" else rows(language))
        (data / folder / f"{language}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data


@pytest.mark.parametrize("folder", ["Belebele", "belebele/data"])
def test_a_passage_is_relevant_to_its_questions_in_every_language(tmp_path: Path, folder: str):
    data = write(tmp_path, folder=folder)
    (task,) = tasks.maker("belebele:eng_Latn+swh_Latn+zho_Hans")(lambda: data)
    assert isinstance(task, tasks.RetrievalTask)
    assert task.name == "belebele:eng_Latn+swh_Latn+zho_Hans"
    assert (len(task.queries), len(task.candidates)) == (3 * QUESTIONS, 3 * PASSAGES)
    assert len(task.relevance) == 3 * QUESTIONS * 3
    assert set(task.sources) == {"eng_Latn.jsonl", "swh_Latn.jsonl", "zho_Hans.jsonl"}
    for query, answer in task.relevance[:: len(task.relevance) // 50].tolist():
        asked, found = task.queries[query], task.candidates[answer]
        assert asked.text.rpartition(" ")[2] == found.texts[0].rpartition(" ")[2]
    answers = {task.candidates[answer].language for query, answer in task.relevance.tolist() if query == 0}
    assert answers == {"eng_Latn", "swh_Latn", "zho_Hans"}
    # A question has the same id in all languages, so that it is one draw.
    assert len({query.id for query in task.queries}) == QUESTIONS
    # So are the one or two questions on a passage.
    paragraphs = {(query.id, query.paragraph) for query in task.queries}
    assert (len(paragraphs), len({link for _, link in paragraphs})) == (QUESTIONS, PASSAGES)


def test_the_default_languages_are_those_of_xquad_r(tmp_path: Path):
    with pytest.raises(DataError, match=r"no file .*Belebele/arb_Arab.jsonl .*: get https://dl.fbaipublicfiles.com"):
        belebele(tmp_path)
    assert len(LANGUAGES) == 11


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda rows: rows[:-1],
            r"swh_Latn.jsonl: 899 questions and \d+ passages, but the official file has 900 and 488",
        ),
        (lambda rows: [{**row, "question_number": 1} for row in rows], "occurs a second time"),
        (lambda rows: [rows[0] | {"question_number": "1"}, *rows[1:]], r":1: 'question_number' must be a whole number"),
        (lambda rows: [rows[0] | {"question": None}, *rows[1:]], r"swh_Latn.jsonl:1: "),
        (
            lambda rows: [{**row, "flores_passage": f"passage {place}"} for place, row in enumerate(rows)],
            "has another passage than at .*swh_Latn.jsonl:",
        ),
    ],
)
def test_a_file_that_is_not_whole_is_one_line(tmp_path: Path, change: Callable[[list[Row]], list[Row]], problem: str):
    with pytest.raises(DataError, match=problem) as caught:
        belebele(write(tmp_path, change), ("eng_Latn", "swh_Latn"))
    assert "\n" not in str(caught.value)


def test_a_language_is_named_once(tmp_path: Path):
    with pytest.raises(DataError, match=r"eng_Latn\+eng_Latn: name each language once"):
        belebele(tmp_path, ("eng_Latn", "eng_Latn"))
