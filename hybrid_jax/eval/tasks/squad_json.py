"""The paragraphs and questions of a SQuAD-like JSON file; every error names the file and the paragraph or question.

{"data": [{"paragraphs": [{"context": …, "qas": [{"id": …, "question": …}, …]}, …]}, …]}
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.data.documents import duplicate_error
from hybrid_jax.data.duplicates import Duplicate
from hybrid_jax.data.fields import Place, Repairs, show
from hybrid_jax.data.records import DataError


class Question(NamedTuple):
    """One question of a paragraph. Its other fields are still unread."""

    place: Place
    fields: dict[str, Any]
    id: str
    text: str
    """As in the file."""


class Paragraph(NamedTuple):
    """One paragraph with its questions. Its other fields are still unread."""

    place: Place
    fields: dict[str, Any]
    context: str
    """The paragraph's text, as in the file."""
    questions: tuple[Question, ...]


def paragraphs(content: Any, path: Path, fix: str) -> Iterator[Paragraph]:
    """The paragraphs of the parsed JSON, in order. `fix` says how to get the official file.

    Raises DataError for a paragraph or question that cannot be used, and for an id that two questions have. Blank
    texts cannot be used: no official file has them.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path}: it must be an object with 'data', got {show(content)}; {fix}")
    places: dict[str, str] = {}
    for a, article in enumerate(_at(path, "", fix).objects(content, "data")):
        for p, fields in enumerate(_at(path, f"data[{a}]", fix).objects(article, "paragraphs")):
            inside = f"data[{a}].paragraphs[{p}]"
            place = _at(path, inside, fix)
            context = place.exact(fields, "context")
            questions = []
            for q, question in enumerate(place.objects(fields, "qas")):
                here = _at(path, f"{inside}.qas[{q}]", fix)
                question_id = here.identifier(here.get(question, "id"), "id")
                if question_id in places:
                    raise duplicate_error(Duplicate(question_id, places[question_id], here.where), "question")
                places[question_id] = here.where
                named = _at(path, f"question {question_id!r}", fix)
                questions.append(Question(named, question, question_id, named.exact(question, "question")))
            yield Paragraph(place, fields, context, tuple(questions))


def _at(path: Path, inside: str, fix: str) -> Place:
    return Place(f"{path}: {inside}" if inside else str(path), "", Repairs(), if_missing=fix)
