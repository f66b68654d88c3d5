"""SQuAD's JSON, one document per file, as rows."""

from collections.abc import Iterator
from typing import Any

from hybrid_jax.data.fields import Place, show
from hybrid_jax.data.records import DataError, OnBadRow, Row


def squad_rows(document: dict[str, Any], place: Place, on_bad: OnBadRow) -> Iterator[Row]:
    """SQuAD's {data: [{title, paragraphs: [{context, qas: [{id, question}]}]}]}: one row per answerable question.

    A paragraph's smallest question id is its `passage_id`: in XQuAD and MLQA, questions have the same id in every
    language, so a paragraph and its translations get the same one. Questions marked impossible are left out, and a
    question that is listed several times in its paragraph (once per answer) is read once.

    Paragraphs and questions that cannot be used are passed to `on_bad`.
    """
    for a, article in enumerate(_objects(document, "data", place)):
        for p, paragraph in enumerate(_objects(article, "paragraphs", place)):
            here = Place(f"{place.where}: data[{a}].paragraphs[{p}]", place.line_id, place.repairs, place.lang)
            try:
                title, context = here.title(article), here.text(paragraph, "context")
                questions: dict[str, dict[str, Any]] = {}
                for qa in _objects(paragraph, "qas", here):
                    questions.setdefault(here.record_id(qa), qa)
            except DataError as error:
                on_bad(error)
                continue
            for record_id, qa in questions.items():
                if qa.get("is_impossible") is True:
                    continue
                spot = Place(f"{here.where} question {record_id}", place.line_id, place.repairs, place.lang)
                try:
                    yield Row(
                        id=record_id,
                        lang=spot.file_language(),
                        query=spot.text(qa, "question"),
                        passage=context,
                        title=title,
                        passage_id=min(questions),
                        where=spot.where,
                    )
                except DataError as error:
                    on_bad(error)


def _objects(record: dict[str, Any], key: str, place: Place) -> list[dict[str, Any]]:
    values = place.get(record, key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise place.bad(f"{key!r} must be a list of objects as in SQuAD, got {show(values)}")
    return values
