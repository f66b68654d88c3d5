"""The documents of a corpus, as BEIR, MIRACL and Tevatron write them: one JSON object per line.

    {"_id" or "docid" or "id": …, "title": …, "text": …, "lang": …}

The id is a text or a whole number, and occurs once in the corpus. `title` may be absent, null or empty. `text` may be
empty: official corpora hold such documents, and they count as candidates. `lang` may be absent. Other keys are ignored.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_jax.data.duplicates import Duplicate, Ids
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.jsonl import read_objects
from hybrid_jax.data.records import DataError

ID_KEYS = ("_id", "docid", "id")
"""Where a document's id is; the first of them that a line has."""


class CorpusDocument(NamedTuple):
    """One document of a corpus. The texts are as in the file."""

    where: str
    """"file:line"."""
    id: str
    title: str
    """"" if the document has none."""
    text: str
    language: str | None
    """None if the line does not say it."""


def read_documents(files: Iterable[Path]) -> Iterator[CorpusDocument]:
    """Yields the documents of the files in order, one at a time. Raises DataError at the first bad line."""
    for path in files:
        for place, record in read_lines_of_objects(path):
            key = next((key for key in ID_KEYS if key in record), None)
            if key is None:
                raise place.bad(f"no id (one of {', '.join(ID_KEYS)}), add one")
            yield CorpusDocument(
                place.where,
                place.identifier(record[key], key),
                place.exact_title(record),
                place.exact(record, "text", blank=True),
                optional_language(record, place),
            )


def optional_language(record: dict[str, Any], place: Place) -> str | None:
    """The language of a line; None if it has no `lang`, or "und" (undetermined). A null one is refused."""
    return place.language(record["lang"], "lang") if record.get("lang", "und") != "und" else None


def read_lines_of_objects(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yields every object of a file of JSON lines, with its place. Raises DataError at the first bad line."""
    repairs = Repairs()
    for number, record in read_objects(path, _refuse):
        where = f"{path}:{number}"
        yield Place(where, where, repairs, if_missing="add it"), record


def check_unique_ids(files: Iterable[Path]) -> int:
    """Reads all documents and returns how many there are. Raises DataError for a bad line and for a duplicate id.

    Memory holds eight bytes per document.
    """
    files, ids = tuple(files), Ids()
    for document in read_documents(files):
        ids.add(document.id)
    duplicate = ids.duplicate(lambda: ((document.id, document.where) for document in read_documents(files)))
    if duplicate is not None:
        raise duplicate_error(duplicate, "document")
    return len(ids)


def duplicate_error(duplicate: Duplicate, kind: str) -> DataError:
    """The error for an id that occurs twice; `kind` says what has it, such as "document"."""
    return DataError(
        f"{duplicate.second}: {kind} id {duplicate.id[:80]!r} occurs a second time (first: {duplicate.first}), "
        f"remove one of the two or give it another id"
    )


def _refuse(error: DataError) -> None:
    raise error
