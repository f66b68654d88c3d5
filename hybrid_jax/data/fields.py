"""The fields of one JSON object as usable texts, ids and language codes, or an error that names file and line."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from hybrid_jax.data.languages import language_tag
from hybrid_jax.data.records import MAX_TEXT_CHARS, DataError, Passage

_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNSEEN = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
"""White space, zero-width and direction marks: alone they are no text, within one they are kept."""
SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Half of a surrogate pair: JSON can escape one alone, and UTF-8 cannot hold it."""


Counted = Literal["cut", "control_characters", "uneven_titles", "blank", "without_text", "without_translation"]


@dataclass(slots=True)
class Repairs:
    """Counts, for reports, texts that were changed while reading, and rows that serve nothing or betray a positive."""

    cut: int = 0
    """Texts cut to MAX_TEXT_CHARS."""
    control_characters: int = 0
    """Texts in which control characters (NUL, backspace, escape, …) became spaces."""
    uneven_titles: int = 0
    """Rows in which only the positive has a title, or only the negatives have."""
    blank: int = 0
    """Queries, passages and translations of nothing but white space or invisible characters, which count as missing."""
    without_text: int = 0
    """Rows left out because they have neither a query nor a passage."""
    without_translation: int = 0
    """Lines of bitext left out because they have a text in fewer than two languages."""
    first: dict[str, str] = field(default_factory=dict)
    """Where each of these occurred first."""

    def summary(self) -> str:
        """One line; "" if nothing was changed."""
        counts = {
            "cut": f"{self.cut} texts cut at {MAX_TEXT_CHARS} characters",
            "control_characters": f"{self.control_characters} texts freed of control characters",
            "uneven_titles": f"{self.uneven_titles} rows put a title before the positive and none before the negatives "
            f"(or the reverse): the title gives the positive away; give negatives as objects with a title",
            "blank": f"{self.blank} blank queries, passages or translations count as missing",
            "without_text": f"{self.without_text} rows with neither query nor passage left out",
            "without_translation": f"{self.without_translation} lines with a text in fewer than two languages left out",
        }
        return "; ".join(f"{counts[name]} (first: {where})" for name, where in self.first.items())

    def note(self, name: Counted, where: str, count: int = 1) -> None:
        """Counts `count` more cases of `name` at `where`."""
        setattr(self, name, getattr(self, name) + count)
        self.first.setdefault(name, where)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object was read, and what applies to all rows of its file; checks and cleans the object's fields.

    The methods raise DataError, with the place, for a value that cannot be used.
    """

    where: str
    """"file:line", for messages."""
    line_id: str
    """An id made from the file's name and the line; the same on every machine."""
    repairs: Repairs
    lang: str | None = None
    """The language of a file whose rows do not name theirs."""
    own_ids: bool = True
    """False: the objects' ids are ignored; each line is a record of its own."""
    if_missing: str = "add it or set the dataset's format"
    """What to do about a missing key, for messages."""
    noun: Literal["key", "column"] = "key"
    """What a field's name is called, for messages."""

    def bad(self, what: str) -> DataError:
        """The error for this place."""
        return DataError(f"{self.where}: {what}")

    def get(self, record: dict[str, Any], key: str) -> Any:
        """record[key]."""
        if key not in record:
            raise self.bad(f"missing {self.noun} {key!r} ({self.names(record)}), {self.if_missing}")
        return record[key]

    def names(self, record: dict[str, Any]) -> str:
        """The record's keys or columns, for messages."""
        return f"{self.noun}s here: {', '.join(list(record)[:12]) or 'none'}"

    def text(self, record: dict[str, Any], key: str) -> str:
        """record[key] as a text: stripped, not empty, without control characters, cut to MAX_TEXT_CHARS."""
        return self.clean(self.get(record, key), key)

    def text_or_null(self, record: dict[str, Any], key: str) -> str | None:
        """Like `text`, but None if the value is null, or if it is blank, which is counted. The key must be there."""
        return self.clean_or_null(self.get(record, key), key)

    def clean_or_null(self, value: Any, name: str) -> str | None:
        """Like `clean`, but None if the value is null, or if it is blank, which is counted."""
        text = None if value is None else self._cut(value, name)
        if text == "":
            self.repairs.note("blank", self.where)
        return text or None

    def title(self, record: dict[str, Any]) -> str | None:
        """The title; None if it is absent, null or blank."""
        value = record.get("title")
        return None if value is None or (isinstance(value, str) and not value.strip()) else self.clean(value, "title")

    def passages(self, record: dict[str, Any], key: str) -> tuple[Passage, ...]:
        """record[key] as passages: a list of texts or of objects {text, title?, id?}; () if it is absent or null.

        An object's id may also be called docid, as in Tevatron.
        """
        values = record.get(key)
        if values is None:
            return ()
        if not isinstance(values, list):
            raise self.bad(f'{key!r} must be a list of texts, got {show(values)}, write ["…", "…"]')
        return tuple(self._passage(value, f"{key}[{i}]") for i, value in enumerate(values))

    def _passage(self, value: Any, name: str) -> Passage:
        if not isinstance(value, dict):
            return Passage(self.clean(value, name))
        if "text" not in value:
            raise self.bad(f"{name!r} has no text (keys there: {', '.join(value) or 'none'}), add it or remove {name}")
        id_key = "docid" if value.get("id") is None else "id"
        passage_id = value.get(id_key)
        return Passage(
            self.clean(value["text"], f"{name}.text"),
            self.title(value),
            None if passage_id is None else self.identifier(passage_id, f"{name}.{id_key}"),
        )

    def exact(self, record: dict[str, Any], key: str, blank: bool = False) -> str:
        """record[key] as a text to evaluate on: as it is in the file, since published figures are of such texts.

        With `blank` it may be empty or white space alone.
        """
        value = self.check_text(self.get(record, key), key)
        if not blank and not value.strip():
            raise self.bad(f"{key!r} is empty, remove the line or fill it in")
        return value

    def exact_title(self, record: dict[str, Any]) -> str:
        """The title as it is in the file; "" if it is absent or null."""
        value = record.get("title")
        return "" if value is None else self.check_text(value, "title")

    def objects(self, record: dict[str, Any], key: str) -> list[dict[str, Any]]:
        """record[key] as a list of objects."""
        values = self.get(record, key)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self.bad(f"{key!r} must be a list of objects, got {show(values)}, correct it")
        return values

    def check_text(self, value: Any, name: str) -> str:
        """The value, which must be a text that UTF-8 can hold; `name` is its name in errors."""
        if not isinstance(value, str):
            raise self.bad(f"{name!r} must be a text, got {show(value)}, write it in quotes")
        if not value.isascii() and SURROGATE.search(value):
            raise self.bad(
                f"{name!r} holds half of a surrogate pair (\\ud800-\\udfff), which no encoding can hold, remove it"
            )
        return value

    def clean(self, value: Any, name: str) -> str:
        """The value, cleaned as `text` says; `name` is its name in errors."""
        if text := self._cut(value, name):
            return text
        raise self.bad(f"{name!r} is empty, remove the line or fill it in")

    def _cut(self, value: Any, name: str) -> str:
        value = self.check_text(value, name)
        if _UNWANTED.search(value):
            self.repairs.note("control_characters", self.where)
        if len(value) > MAX_TEXT_CHARS and len(_freed(value)) > MAX_TEXT_CHARS:
            self.repairs.note("cut", self.where)
        return cleaned(value)

    def identifier(self, value: Any, key: str) -> str:
        """An id, given as a text or an integer, as text.

        White space at its ends is kept: files that refer to it, such as qrels, have the same bytes, and the official
        tools compare these.
        """
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise self.bad(f"{key!r} must be a text or an integer, got {show(value)}, give the row an id")
        if SURROGATE.search(str(value)):
            raise self.bad(
                f"{key!r} holds half of a surrogate pair ({show(value)}), which no encoding can hold, remove it"
            )
        return str(value)

    def record_id(self, record: dict[str, Any], key: str = "id") -> str:
        """The record's id, or the line's if the file's ids are ignored."""
        if not self.own_ids:
            return self.line_id
        if key not in record:
            advice = "add it, or set the dataset's ids: line if each row is a record of its own"
            raise self.bad(f"missing {self.noun} {key!r} ({self.names(record)}), {advice}")
        return self.identifier(record[key], key)

    def id_or_line(self, record: dict[str, Any], key: str = "id") -> str:
        """The record's id, or the line's if it has none: for formats whose rows are often whole without one."""
        return self.line_id if record.get(key) is None else self.record_id(record, key)

    def language(self, code: Any, key: str) -> str:
        """The value, any code of a language, as the one tag that we write (`language_tag`)."""
        if not isinstance(code, str) or not code.isascii():
            raise self.bad(f'{key!r} must be a language code such as "de", got {show(code)}')
        try:
            return language_tag(code)
        except ValueError as error:
            raise self.bad(f"{key!r}: {error}") from None

    def file_language(self) -> str:
        """The language that the config gives for the whole file."""
        if self.lang is None:
            raise self.bad("this format does not say its language, set the dataset's lang (e.g. lang: en)")
        return self.lang

    def row_language(self, record: dict[str, Any]) -> str:
        """The record's `lang`, or the file's language if it has none."""
        if record.get("lang") is None:
            if self.lang is None:
                advice = "add it, or set the dataset's lang if all its rows are in one language (e.g. lang: en)"
                raise self.bad(f"no 'lang' ({self.names(record)}), {advice}")
            return self.lang
        lang = self.language(record["lang"], "lang")
        if self.lang not in (None, lang):
            raise self.bad(
                f"'lang' is {lang!r}, but the dataset's lang is {self.lang!r}: correct the row or leave lang out"
            )
        return lang


def cleaned(text: str) -> str:
    """The text as `Place.text` gives it: stripped, without control characters, cut to MAX_TEXT_CHARS."""
    return _freed(text)[:MAX_TEXT_CHARS].rstrip()


def _freed(text: str) -> str:
    freed = _UNWANTED.sub(" ", text).strip()
    return "" if _UNSEEN.fullmatch(freed) else freed


def show(value: Any) -> str:
    """The value's type and repr, cut to 40 characters, for an error message."""
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:40] + '…'}"
