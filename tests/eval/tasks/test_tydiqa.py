"""All three layouts give one and the same task; other counts than the official ones are refused."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.eval.tasks.tydiqa import COUNTS, NAMES, tydiqa


def made_up() -> list[tuple[str, str, str, str]]:
    """As many questions and passages as the official dev set has: (id, language, question, passage)."""
    first = {language: name for name, language in NAMES.items()}
    return [
        (f"{first[language]}--{n}-0", language, f"{language} {n}?", f"{language} passage {n % passages}")
        for language, (questions, passages) in COUNTS.items()
        for n in range(questions)
    ]


def document(rows: list[tuple[str, str, str, str]]) -> str:
    """SQuAD's layout with a paragraph per question, as in the official file."""
    paragraphs = [{"context": passage, "qas": [{"id": name, "question": asked}]} for name, _, asked, passage in rows]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": [paragraph]} for paragraph in paragraphs]})


def official(folder: Path, rows: list) -> None:
    (folder / "tydiqa-goldp-v1.1-dev.json").write_text(document(rows), encoding="utf-8")


def per_language(folder: Path, rows: list) -> None:
    (folder / "tydiqa-goldp-v1.1-dev").mkdir()
    for language in COUNTS:
        path = folder / f"tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json"
        path.write_text(document([row for row in rows if row[1] == language]), encoding="utf-8")


def flat(folder: Path, rows: list) -> None:
    with gzip.open(folder / "tydiqa_goldp_dev.jsonl.gz", "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(dict(zip(("id", "lang", "question", "passage"), row, strict=True))) + "\n")


def answers(task: RetrievalTask) -> dict[str, tuple[str, str, str, str]]:
    """{question id: its language and text, and the relevant passage's}."""
    found = {}
    for i, j in task.relevance:
        query, candidate = task.queries[i], task.candidates[j]
        found[query.id] = (query.language, query.text, candidate.language, candidate.texts[0])
    return found


@pytest.mark.parametrize("layout", [official, per_language, flat])
def test_every_layout_gives_the_same_task(layout, tmp_path: Path):
    rows = made_up()
    layout(tmp_path, rows)
    task = tydiqa(tmp_path)
    assert (len(task.queries), len(task.candidates), len(task.relevance)) == (5077, 4488, 5077)
    assert answers(task) == {name: (language, asked, language, passage) for name, language, asked, passage in rows}
    # A question belongs to the passage that answers it.
    assert all(task.queries[i].paragraph == task.candidates[j].id for i, j in task.relevance)
    # An id is made of the text alone, so that ties are broken alike however the files are ordered.
    assert len({candidate.id for candidate in task.candidates}) == len(task.candidates)
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    layout(shuffled, rows[::-1])
    again = {candidate.texts: candidate.id for candidate in tydiqa(shuffled).candidates}
    assert {candidate.texts: candidate.id for candidate in task.candidates} == again


def test_a_missing_question_and_a_foreign_id_are_refused(tmp_path: Path):
    flat(tmp_path, made_up()[:-1])
    with pytest.raises(
        DataError, match=r"tydiqa_goldp_dev\.jsonl\.gz: 668 questions and .* in te, .*669 and 601; get "
    ):
        tydiqa(tmp_path)
    official(tmp_path, [("thai-1-0", "th", "?", "passage")])
    with pytest.raises(
        DataError, match=r"'thai-1-0': its id does not start with one of arabic, bengali, .*; get tydiqa"
    ):
        tydiqa(tmp_path)


def test_a_line_without_a_passage_is_named(tmp_path: Path):
    (tmp_path / "tydiqa_goldp_dev.jsonl").write_text('{"id": "a", "lang": "ar", "question": "?"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.jsonl:1: missing key 'passage' \(keys here: id, lang, question\)"):
        tydiqa(tmp_path)


@pytest.mark.real_data
def test_the_real_dev_set(real_data: Path):
    task = tydiqa(real_data)
    counts = Counter(query.language for query in task.queries), Counter(row.language for row in task.candidates)
    assert {language: (counts[0][language], counts[1][language]) for language in COUNTS} == COUNTS
    assert all(task.queries[i].language == task.candidates[j].language for i, j in task.relevance)
