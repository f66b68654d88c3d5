"""The formats of aligned text: one function per format turns a JSON object into rows.

Our own format is `aligned`, one line per record and language:

    {"id": "q1", "lang": "de", "query": "Wer …?", "passage": "…", "title": "…", "passage_id": "p7",
     "negatives": ["…", {"text": "…", "title": "…", "id": "p8"}], "positives": ["…"]}

`query` or `passage` is null if the language lacks it. The keys after `passage` are optional. `positives` are further
passages that answer the query. Negatives and further positives are texts, or objects whose title and id mean what
`title` and `passage_id` mean for the passage. Lines with the same `id` are translations of one another. The other
formats are described at their functions.
"""

import re
from dataclasses import replace
from typing import Any, Literal

from hybrid_jax.data.fields import Place, show
from hybrid_jax.data.languages import is_language_key, language_tag
from hybrid_jax.data.records import Passage, Row
from hybrid_jax.data.schedule import KINDS, Kind

Format = Literal["aligned", "qa", "bitext", "bitext_pairs", "tevatron", "triplets", "squad"]

BITEXTS: tuple[Format, ...] = ("bitext", "bitext_pairs")
"""The formats whose rows name several languages."""
ANCHORS = ("anchor", "query", "question")
"""What the query of a triplet may be called."""
_NEGATIVE = re.compile(r"negatives?(_\d+)?")

_FLAGS = frozenset({"true", "false", "0", "1"})
_BITEXT_METADATA = frozenset({"id", "source", "src", "doc", "split", "url", "license", "answers"})
"""Keys of a bitext row that are not languages. So is `mt` if it is a flag; if it is a text, it is Maltese.
Indonesian has to be "ind", as `id` is the row's id."""


def aligned_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """Our own format, see the top of this file."""
    query, passage = place.text_or_null(record, "query"), place.text_or_null(record, "passage")
    return _own_row(record, query, passage, place)


def qa_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """{id, lang, question|null, passage|null, sentence?, title?}, and the other optional keys of `aligned`.

    `sentence` is the part of the passage that answers. It is the passage if there is none, else a further positive.
    """
    query = place.text_or_null(record, "question")
    sentence = place.clean_or_null(record.get("sentence"), "sentence")
    if "passage" in record or "sentence" not in record:
        passage = place.text_or_null(record, "passage")
    else:
        passage = None
    if passage is None:
        return _own_row(record, query, sentence, place)
    also = () if sentence is None else (Passage(sentence, place.title(record)),)
    return _own_row(record, query, passage, place, also)


def _own_row(
    record: dict[str, Any], query: str | None, passage: str | None, place: Place, also: tuple[Passage, ...] = ()
) -> list[Row]:
    """The row of an object with the keys of `aligned`, if it has a text; `also` are positives beside those it lists."""
    passage_id = record.get("passage_id")
    if isinstance(passage_id, str) and not passage_id.strip():
        passage_id = None
    positives = place.passages(record, "positives")
    if positives and passage is None:
        raise place.bad("'positives' are further ones beside the passage, which is null: put one of them there")
    row = Row(
        id=place.record_id(record),
        lang=place.row_language(record),
        query=query,
        passage=passage,
        title=place.title(record),
        negatives=place.passages(record, "negatives"),
        passage_id=None if passage_id is None else place.identifier(passage_id, "passage_id"),
        where=place.where,
        further_positives=(*also, *positives),
    )
    return _with_text(row, place)


def _with_text(row: Row, place: Place) -> list[Row]:
    """The row, or none, which is counted, if it has neither query nor passage."""
    if row.query is None and row.passage is None:
        place.repairs.note("without_text", place.where)
        return []
    return [row]


def bitext_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """{id, en: text, de: text, …}: one row per language, with the text as both query and passage.

    A line with a text in fewer than two languages is counted and left out.
    """
    record_id = place.id_or_line(record)
    rows: list[Row] = []
    keys: dict[str, str] = {}
    for key, value in record.items():
        if key in _BITEXT_METADATA or value is None or (key == "mt" and str(value).strip().lower() in _FLAGS):
            continue
        lang, text = _key_language(record, key, place), place.clean_or_null(value, key)
        if text is None:
            continue
        if keys.setdefault(lang, key) != key:
            raise place.bad(
                f"{keys[lang]!r} and {key!r} are the same language {lang!r}, leave one out or write its region"
            )
        rows.append(Row(record_id, lang, text, text, where=place.where))
    if len(rows) == 1 and any(map(str.isspace, str(record.get("id")))):
        named = [key for key in record if key not in _BITEXT_METADATA and is_language_key(key)]
        if len(named) == 1:
            raise place.bad(
                f"only {named[0]!r} is a language here, as 'id' is the row's id: if 'id' is Indonesian, say so in the "
                f"dataset's columns, as in columns: {{ind: id, {named[0]}: {named[0]}}}"
            )
    return _translated(rows, place)


def _key_language(record: dict[str, Any], key: str, place: Place) -> str:
    """The language of a key of a bitext. Raises DataError if it is none, or could be a word such as "cat"."""
    try:
        lang = language_tag(key)
    except ValueError as error:
        raise place.bad(f"{key!r}: {error}; {_name_columns(record)}") from None
    if not is_language_key(key):
        raise place.bad(f"{key!r} is the code of a rare language, and may be a word: {_name_columns(record)}")
    if len(key) == 3 and len(lang) == 2 and lang != "id" and (short := _short_keys(record)) and lang not in short:
        raise place.bad(
            f"{key!r} may be a word, as the language is {lang!r} and other keys have two letters: "
            f"{_name_columns(record)}"
        )
    return lang


def _name_columns(record: dict[str, Any]) -> str:
    named = ", ".join(f"{other}: {other}" for other in _short_keys(record)[:2])
    return (
        f"if it is no language, name those that are with the dataset's columns, as in "
        f"columns: {{{named or 'en: YOUR_COLUMN, de: YOUR_COLUMN'}}}"
    )


def _short_keys(record: dict[str, Any]) -> list[str]:
    return [key for key in record if len(key) == 2 and is_language_text(key, record[key])]


def _translated(rows: list[Row], place: Place) -> list[Row]:
    """The rows of a line, or none, which is counted, if they are fewer than a translation needs."""
    if len(rows) < 2:
        place.repairs.note("without_translation", place.where)
        return []
    return rows


def bitext_pair_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """Tatoeba's {l1, l2, s1, s2}: two rows, whose id is made from file and line."""
    left, right = (place.language(place.get(record, key), key) for key in ("l1", "l2"))
    if left == right:
        raise place.bad(f"l1 and l2 are both {left!r}, a translation needs two languages: remove the line")
    texts = {lang: place.text_or_null(record, key) for lang, key in ((left, "s1"), (right, "s2"))}
    rows = [Row(place.line_id, lang, text, text, where=place.where) for lang, text in texts.items() if text is not None]
    return _translated(rows, place)


def tevatron_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """BGE's {query, pos: [text], neg: [text]} or Tevatron's {query_id, query, positive_passages, negative_passages}.

    Tevatron's passages are {docid, title?, text} and read as "title text", as Tevatron does, both positive and negative
    ones, so that a title does not reveal the positive. BGE's `pos_id` and `neg_id`, if there, are the texts' document
    ids. A row's first positive is trained on; the others are its further positives. Without any, it has no passage.
    """
    query, lang = place.text_or_null(record, "query"), place.row_language(record)
    if "positive_passages" in record:
        positives, negatives = (_docs(record, key, place) for key in ("positive_passages", "negative_passages"))
    else:
        place.get(record, "pos")  # `neg` may be absent, `pos` may not
        positives, negatives = (_texts_with_ids(record, key, place) for key in ("pos", "neg"))
    record_id = place.id_or_line(record, "query_id")
    if not positives:
        return _with_text(Row(record_id, lang, query, None, negatives=negatives, where=place.where), place)
    first, *further = positives
    return [
        Row(record_id, lang, query, first.text, first.title, negatives, first.id, place.where, tuple(further)),
    ]


def triplet_rows(record: dict[str, Any], place: Place) -> list[Row]:
    """sentence-transformers' {anchor, positive, negative?, negative_1?, …}, where `anchor` may be called query too.

    `negative` is a text or a list of texts. Optional keys: id, lang, title (of the positive).
    """
    anchor = next((key for key in ANCHORS if key in record), ANCHORS[0])
    query, passage = place.text_or_null(record, anchor), place.text_or_null(record, "positive")
    negatives: list[Passage] = []
    for key, value in record.items():
        if not _NEGATIVE.fullmatch(key):
            continue
        if isinstance(value, list):
            negatives += place.passages(record, key)
        elif (text := place.clean_or_null(value, key)) is not None:
            negatives.append(Passage(text))
    row = Row(
        id=place.id_or_line(record),
        lang=place.row_language(record),
        query=query,
        passage=passage,
        title=place.title(record),
        negatives=tuple(negatives),
        where=place.where,
    )
    return _with_text(row, place)


def _docs(record: dict[str, Any], key: str, place: Place) -> tuple[Passage, ...]:
    """Tevatron's passages; () if the key is absent."""
    docs = record.get(key) or []
    if not isinstance(docs, list) or not all(isinstance(doc, dict) for doc in docs):
        raise place.bad(f"{key!r} must be a list of objects {{docid, text}}, got {show(docs)}")
    return tuple(
        Passage(place.text(doc, "text"), place.title(doc), place.identifier(place.get(doc, "docid"), "docid"))
        for doc in docs
    )


def _texts_with_ids(record: dict[str, Any], key: str, place: Place) -> tuple[Passage, ...]:
    """BGE's texts with their ids; () if the key is absent."""
    passages, ids = place.passages(record, key), record.get(f"{key}_id")
    if ids is None:
        return passages
    if not isinstance(ids, list) or len(ids) != len(passages):
        raise place.bad(f"'{key}_id' must be a list of {len(passages)} ids, one per text of {key!r}, got {show(ids)}")
    return tuple(
        replace(passage, id=place.identifier(value, f"{key}_id[{i}]"))
        for i, (passage, value) in enumerate(zip(passages, ids, strict=True))
    )


LINE_FORMATS = {
    "aligned": aligned_rows,
    "qa": qa_rows,
    "bitext": bitext_rows,
    "bitext_pairs": bitext_pair_rows,
    "tevatron": tevatron_rows,
    "triplets": triplet_rows,
}
"""The formats with one object per line or row; `squad` has one object per file."""


def is_language_text(key: str, value: Any) -> bool:
    """Whether a key of a bitext is a language's, with its text."""
    return key not in _BITEXT_METADATA and isinstance(value, str) and is_language_key(key)


def supported_kinds(name: Format, own_ids: bool = True) -> tuple[Kind, ...]:
    """The kinds of pairs that a format can give.

    A bitext gives cross-lingual pairs only, since a text is no query for itself. Without ids (`own_ids` False), rows
    have no translations, and so no cross-lingual pairs.
    """
    if name in BITEXTS:
        return ("cross_lingual",)
    return KINDS if own_ids else ("monolingual", "same_language")
