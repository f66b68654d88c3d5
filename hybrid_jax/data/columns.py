"""The columns of a record under the names that the formats use, as a config gives them; translations are unpacked."""

import difflib
from collections.abc import Mapping
from typing import Any

from hybrid_jax.data.fields import Place
from hybrid_jax.data.languages import is_language_key, language_tag

_READ = {
    "aligned": ("id", "lang", "query", "passage", "title", "passage_id", "negatives", "positives"),
    "qa": ("id", "lang", "question", "passage", "sentence", "title", "passage_id", "negatives", "positives"),
    "triplets": ("id", "lang", "anchor", "query", "question", "positive", "title", "negative", "negatives"),
    "tevatron": (
        *("query_id", "lang", "query", "pos", "neg", "pos_id", "neg_id"),
        *("positive_passages", "negative_passages"),
    ),
    "bitext": ("id",),
    "bitext_pairs": ("l1", "l2", "s1", "s2"),
    "squad": (),
}
"""The names that each format reads; a bitext reads any language besides."""
NAMES = tuple(dict.fromkeys(name for names in _READ.values() for name in names))
"""What a column can be called; in a bitext, also any language."""
_QUERIES = ("query", "question", "sentence1", "input", "instruction", "prompt", "title", "source", "premise", "claim")
_PASSAGES = (
    "passage",
    "context",
    "answer",
    "sentence2",
    "document",
    "text",
    "body",
    "response",
    "output",
    "abstract",
    "target",
)

_OTHERS = {"id": ("qid", "query_id", "question_id", "_id"), "lang": ("language", "lang_code", "locale")}


def check_columns(columns: Mapping[str, str]) -> None:
    """Raises ValueError for a name that no format has, with the nearest."""
    languages: dict[str, str] = {}
    for name in columns:
        if name in NAMES:
            continue
        if is_language_key(name):
            if (first := languages.setdefault(language_tag(name), name)) != name:
                raise ValueError(f"columns names {first!r} and {name!r}, the same language: leave one of them out")
            continue
        near = difflib.get_close_matches(name, NAMES, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"use {', '.join(NAMES[:7])} or a language, such as 'de'"
        raise ValueError(f"columns names {name!r}, which no format has: {advice} (columns: {{OUR_NAME: YOUR_COLUMN}})")


def check_read(columns: Mapping[str, str], form: str) -> None:
    """Raises ValueError for a name that the rows' format does not read: its column would be ignored."""
    for name in columns:
        if name not in _READ[form] and not (form == "bitext" and name not in NAMES):
            readable = ", ".join(_READ[form]) or "one object per file"
            readable += " and languages" if form == "bitext" else ""
            raise ValueError(
                f"columns names {name!r}, which format {form} does not read: leave it out, or name the columns of "
                f"another format ({form} has {readable})"
            )


def renamed(record: dict[str, Any], columns: Mapping[str, str], place: Place) -> dict[str, Any]:
    """The record with `columns` ({our name: its name}) renamed. Raises DataError for one that it lacks.

    "translation.de" is the value of "de" in the object "translation". Where languages are named, the record keeps them
    and its id alone. An object {"translation": {language: text}}, as of Hugging Face's parallel corpora, is unpacked.
    """
    if not columns:
        texts = record.get("translation")
        if not isinstance(texts, dict):
            return record
        rest = {key: value for key, value in record.items() if key != "translation"}
        return rest | {("ind" if key == "id" else key): value for key, value in texts.items()}
    values = {name: _value(record, path, place) for name, path in columns.items()}
    rest = {key: value for key, value in record.items() if key not in columns.values()}
    if any(name not in NAMES for name in columns):
        rest = {"id": rest["id"]} if "id" in rest else {}
        values = {(name if name in NAMES else _key(name)): value for name, value in values.items()}
    return rest | values


def _key(language: str) -> str:
    """The key of a bitext for a language that the config names; "id" is taken by the row's id."""
    tag = language_tag(language)
    return "ind" if tag == "id" else tag


def _value(record: dict[str, Any], path: str, place: Place) -> Any:
    if path in record:
        return record[path]
    value: Any = record
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            near = difflib.get_close_matches(path, record, n=1)
            advice = f", did you mean {near[0]!r}?" if near else ""
            raise place.bad(f"no {place.noun} {path!r} ({place.names(record)}){advice}: correct the dataset's columns")
        value = value[key]
    return value


def suggestion(names: list[str]) -> str:
    """A `columns` setting for a file with these columns, to be put into a message."""
    query = next((name for name in _QUERIES if name in names), "YOUR_COLUMN")
    passage = next((name for name in _PASSAGES if name in names and name != query), "YOUR_COLUMN")
    languages = [name for name in names if _language_of(name)]
    if len(languages) > 1 and query == passage:
        found: dict[str, str] = {}
        for name in languages:
            tag = _language_of(name)
            found[tag] = min(
                found.get(tag, name), name, key=lambda name: name.count("_")
            )  # "english", not "non_english"
        if len(found) == 1:
            found["CODE"] = next(name for name in languages if name not in found.values())
        return f"columns: {{{', '.join(f'{tag}: {name}' for tag, name in list(found.items())[:2])}}}"
    others = ((name, next((o for o in options if o in names), None)) for name, options in _OTHERS.items())
    parts = [f"{name}: {column}" for name, column in others if column and name not in names]
    return f"columns: {{{', '.join([*parts, f'query: {query}', f'passage: {passage}'])}}}"


def _language_of(name: str) -> str:
    """ "de" for "german", "text_de" and "de_text"; "" for what names no language."""
    from babel import Locale

    english = {name.casefold(): tag for tag, name in Locale("en").languages.items() if "_" not in tag}
    for part in (name.casefold(), *name.casefold().split("_")):
        if part in english:
            return english[part]
        if len(part) == 2 and is_language_key(part) and part != "id":
            return language_tag(part)
    return ""
