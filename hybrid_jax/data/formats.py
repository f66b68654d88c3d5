"""The shapes that aligned text comes in: one small function per shape turns a JSON object into rows.

Our own, documented shape is `aligned`, one line per record and language:

    {"id": "q1", "lang": "de", "query": "Wer …?", "passage": "…", "title": "…", "negatives": ["…"], "passage_id": "p7"}

`query` or `passage` is null where the language lacks that side; the keys after `passage` may be absent; lines with the
same `id` are translations of one another. The other shapes are described at their functions.

Knows: keys, types, what makes a text usable. Does not know: files, which languages are wanted, what becomes of a bad
row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hybrid_jax.data.records import MAX_TEXT_CHARS, DataError, OnBadRow, Row, check_language
from hybrid_jax.data.schedule import KINDS, Kind

Format = Literal["aligned", "qa", "bitext", "bitext_pairs", "tevatron", "squad"]

_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BITEXT_METADATA = frozenset({"id", "source", "src", "doc", "split", "url", "license", "answers"})
"""Keys of a bitext row that are not languages. `mt` is one when true or false (a flag), Maltese when a text. Indonesian
needs a code that is not the row's id: "id-ID"."""


@dataclass(slots=True)
class Repairs:
    """Counts the texts that were changed on their way in, so that a report can say so."""

    cut: int = 0
    """Texts longer than MAX_TEXT_CHARS, cut there."""
    control_characters: int = 0
    """Texts in which control characters (NUL, backspace, escape, …) were replaced by spaces."""
    unused_positives: int = 0
    """Positive passages after a Tevatron row's first (see `tevatron_rows`)."""
    first: dict[str, str] = field(default_factory=dict)
    """The place of the first case of each of the three."""

    def summary(self) -> str:
        """One line, "" when nothing was changed."""
        counts = {
            "cut": f"{self.cut} texts cut at {MAX_TEXT_CHARS} characters",
            "control_characters": f"{self.control_characters} texts freed of control characters",
            "unused_positives": f"{self.unused_positives} further positives of a query not used",
        }
        return "; ".join(f"{counts[name]} (first: {where})" for name, where in self.first.items())

    def note(self, name: Literal["cut", "control_characters", "unused_positives"], where: str, count: int = 1) -> None:
        """Counts `count` more cases of `name`, met at `where`."""
        setattr(self, name, getattr(self, name) + count)
        self.first.setdefault(name, where)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object was read, and what its file says for all of its rows."""

    where: str
    """"file:line", for messages."""
    line_id: str
    """An id made of the file's name and the line, the same on every machine."""
    repairs: Repairs
    lang: str | None = None
    """The language of a file that does not say it."""
    own_ids: bool = True
    """False: the objects' ids mean nothing, every line is a record of its own."""

    def bad(self, what: str) -> DataError:
        """The error for this place."""
        return DataError(f"{self.where}: {what}")

    def get(self, record: dict[str, Any], key: str) -> Any:
        """record[key]; raises DataError when the key is missing."""
        if key not in record:
            found = ", ".join(list(record)[:12]) or "none"
            raise self.bad(f"missing key {key!r} (keys here: {found}), add it or set the dataset's format")
        return record[key]

    def text(self, record: dict[str, Any], key: str) -> str:
        """A usable text: stripped, free of control characters, at most MAX_TEXT_CHARS; raises DataError."""
        return self.clean(self.get(record, key), key)

    def text_or_null(self, record: dict[str, Any], key: str) -> str | None:
        """`text`, or None where the value is null (the key must be there)."""
        return None if self.get(record, key) is None else self.text(record, key)

    def title(self, record: dict[str, Any]) -> str | None:
        """The title; one that is absent, null or blank is None, for it is only an extra."""
        value = record.get("title")
        return None if value is None or (isinstance(value, str) and not value.strip()) else self.clean(value, "title")

    def texts(self, record: dict[str, Any], key: str) -> list[str]:
        """A list of usable texts; an absent or null key is an empty list."""
        values = record.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.bad(f'{key!r} must be a list of texts, got {_show(values)}, write ["…", "…"]')
        return [self.clean(value, f"{key}[{i}]") for i, value in enumerate(values)]

    def clean(self, value: Any, name: str) -> str:
        """See `text`; `name` is for the message."""
        if not isinstance(value, str):
            raise self.bad(f"{name!r} must be a text, got {_show(value)}, write it in quotes")
        if _UNWANTED.search(value):
            if _SURROGATE.search(value):
                raise self.bad(
                    f"{name!r} holds half of a surrogate pair (\\ud800-\\udfff), which no encoding can hold, remove it"
                )
            self.repairs.note("control_characters", self.where)
            value = _UNWANTED.sub(" ", value)
        value = value.strip()
        if not value:
            raise self.bad(f"{name!r} is empty, remove the line or fill it in")
        if len(value) > MAX_TEXT_CHARS:
            self.repairs.note("cut", self.where)
            value = value[:MAX_TEXT_CHARS].rstrip()
        return value

    def record_id(self, record: dict[str, Any], key: str = "id") -> str:
        """The record's id: a text or an integer, or the line's own id when the file's mean nothing."""
        return _id(self.get(record, key), key, self) if self.own_ids else self.line_id

    def language(self, code: Any, key: str) -> str:
        """A known language code; raises DataError."""
        if not isinstance(code, str) or not code.isascii():
            raise self.bad(f'{key!r} must be a language code such as "de", got {_show(code)}')
        try:
            check_language(code)
        except ValueError as error:
            raise self.bad(f"{key!r}: {error}") from None
        return code

    def file_language(self) -> str:
        """The language of a file whose rows do not name theirs."""
        if self.lang is None:
            raise self.bad("this format does not say its language, set the dataset's lang (e.g. lang: en)")
        return self.lang


def _show(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:40] + '…'}"


def _id(value: Any, key: str, place: Place) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise place.bad(f"{key!r} must be a text or an integer, got {_show(value)}, give the row an id")
    if _SURROGATE.search(str(value)):
        raise place.bad(
            f"{key!r} holds half of a surrogate pair ({_show(value)}), which no encoding can hold, remove it"
        )
    return str(value)


def aligned_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """Our own shape, see the top of this file."""
    query, passage = place.text_or_null(record, "query"), place.text_or_null(record, "passage")
    if query is None and passage is None:
        raise place.bad("query and passage are both null, give the row one of them or remove it")
    passage_id = record.get("passage_id")
    return [
        Row(
            id=place.record_id(record),
            lang=place.language(place.get(record, "lang"), "lang"),
            query=query,
            passage=passage,
            title=place.title(record),
            negatives=tuple(place.texts(record, "negatives")),
            passage_id=None if passage_id is None else _id(passage_id, "passage_id", place),
            where=place.where,
        )
    ]


def qa_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """{id, lang, question|null, passage|null, sentence?, title?}: the sentence stands in for a missing passage."""
    query = place.text_or_null(record, "question")
    key = "passage" if record.get("passage") is not None or "sentence" not in record else "sentence"
    passage = place.text_or_null(record, key)
    if query is None and passage is None:
        raise place.bad("neither question nor passage, give the row one of them or remove it")
    lang = place.language(place.get(record, "lang"), "lang")
    return [Row(place.record_id(record), lang, query, passage, title=place.title(record), where=place.where)]


def bitext_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """{id, en: text, de: text, …}: one row per language, the text both as query and as passage."""
    record_id = place.record_id(record)
    rows = []
    for key, value in record.items():
        if key in _BITEXT_METADATA or value is None or (key == "mt" and isinstance(value, bool)):
            continue
        lang, text = place.language(key, key), place.clean(value, key)
        rows.append(Row(record_id, lang, text, text, where=place.where))
    if len(rows) < 2:
        raise place.bad(f"{len(rows)} language, a translation needs two: add one or remove the line")
    return rows


def bitext_pair_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """Tatoeba's {l1, l2, s1, s2}: two rows, their id made of file and line."""
    rows = []
    for side in "12":
        lang, text = place.language(place.get(record, f"l{side}"), f"l{side}"), place.text(record, f"s{side}")
        rows.append(Row(place.line_id, lang, text, text, where=place.where))
    if rows[0].lang == rows[1].lang:
        raise place.bad(f"l1 and l2 are both {rows[0].lang!r}, a translation needs two languages: remove the line")
    return rows


def tevatron_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """BGE's {query, pos: [text], neg: [text]} or Tevatron's {query_id, query, positive_passages, negative_passages}.

    A passage of Tevatron's is {docid, title?, text}, read as "title text" (as Tevatron does, positive and negative
    alike, so that a title never gives the positive away). A row uses its first positive only: as records of their own,
    two positives of one query would be negatives of each other's. The others are counted.
    """
    query, lang = place.text(record, "query"), place.file_language()
    if "positive_passages" in record:
        key, docs = "positive_passages", _docs(record, "positive_passages", place)
        positives, passage_id = [text for _, text in docs], docs[0][0] if docs else None
        negatives = [text for _, text in _docs(record, "negative_passages", place)]
    else:
        place.get(record, "pos")  # `neg` may be absent, `pos` may not
        key, positives, passage_id = "pos", place.texts(record, "pos"), None
        negatives = place.texts(record, "neg")
    if not positives:
        raise place.bad(f"{key!r} is empty, give the query a positive passage or remove the line")
    if len(positives) > 1:
        place.repairs.note("unused_positives", place.where, len(positives) - 1)
    record_id = place.record_id(record, "query_id") if "query_id" in record else place.line_id
    return [Row(record_id, lang, query, positives[0], None, tuple(negatives), passage_id, place.where)]


def _docs(record: dict[str, Any], key: str, place: Place) -> list[tuple[str, str]]:
    """[(docid, "title text")]; an absent key is an empty list."""
    docs = record.get(key) or []
    if not isinstance(docs, list) or not all(isinstance(doc, dict) for doc in docs):
        raise place.bad(f"{key!r} must be a list of objects {{docid, text}}, got {_show(docs)}")
    return [
        (
            _id(place.get(doc, "docid"), "docid", place),
            " ".join(filter(None, (place.title(doc), place.text(doc, "text")))),
        )
        for doc in docs
    ]


def squad_rows(document: dict[str, Any], place: Place, on_bad: OnBadRow) -> Iterator[Row]:
    """SQuAD's {data: [{title, paragraphs: [{context, qas: [{id, question}]}]}]}: one row per answerable question.

    The smallest question id of a paragraph is its `passage_id`: question ids are the same in every language of XQuAD
    and MLQA, so a paragraph and its translation get the same one. Questions marked impossible have no passage here and
    are left out; a question listed again in its paragraph (once per answer) is read once.
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
        raise place.bad(f"{key!r} must be a list of objects as in SQuAD, got {_show(values)}")
    return values


LINE_FORMATS = {
    "aligned": aligned_rows,
    "qa": qa_rows,
    "bitext": bitext_rows,
    "bitext_pairs": bitext_pair_rows,
    "tevatron": tevatron_rows,
}
"""The formats of one object per line; `squad` is one object per file."""


def detect_format(first: dict[str, Any] | None, path: Path) -> Format:
    """The format of a file by its first object; raises DataError.

    None stands for a file in which no line is an object: one object over many lines if it is called .json, else a file
    whose lines will be reported when they are read.
    """
    if first is None:
        return "squad" if path.name.removesuffix(".gz").endswith(".json") else "aligned"
    keys = first.keys()
    if {"l1", "l2", "s1", "s2"} <= keys:
        return "bitext_pairs"
    if isinstance(first.get("data"), list):
        return "squad"
    if "query" in keys and ("pos" in keys or "positive_passages" in keys):
        return "tevatron"
    if "lang" in keys and "question" in keys:
        return "qa"
    if "lang" in keys and ("query" in keys or "passage" in keys):
        return "aligned"
    if any(_is_language_text(key, value) for key, value in first.items()):
        if "answers" in keys:
            raise DataError(
                f"{path}:1: questions and answers in many languages but no passages (MKQA): nothing to retrieve here; "
                f"to learn from the questions as translations of one another set format: bitext"
            )
        return "bitext"
    shown = ", ".join(list(keys)[:12]) or "none"
    names = ", ".join([*LINE_FORMATS, "squad"])
    raise DataError(f"{path}:1: cannot tell the format from the keys ({shown}), set the dataset's format: {names}")


def _is_language_text(key: str, value: Any) -> bool:
    if key in _BITEXT_METADATA or not isinstance(value, str):
        return False
    try:
        check_language(key)
    except ValueError:
        return False
    return True


def supported_kinds(name: Format, own_ids: bool = True) -> tuple[Kind, ...]:
    """The kinds of pairs a format can give: from a bitext only the text's translation, a text is no query of itself."""
    if name in ("bitext", "bitext_pairs"):
        return ("cross_lingual",)
    return KINDS if own_ids else ("monolingual", "same_language")
