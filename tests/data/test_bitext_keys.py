"""Which keys of a bitext are languages, how a config names them, and what is suggested for columns."""

from typing import Any

import pytest

from hybrid_jax.data.columns import check_columns, renamed, suggestion
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.formats import bitext_rows
from hybrid_jax.data.records import DataError, Row

BITEXT = {"id": "b1", "en": "Good day.", "de": "Guten Tag."}
PLACE = Place("rows.jsonl:4", "rows.jsonl:4", Repairs())


def rows(record: dict[str, Any]) -> list[Row]:
    return bitext_rows(record, PLACE)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cat": "news"}, "'cat' may be a word, as the language is 'ca' and other keys have two letters: if it is no"),
        ({"aar": "news"}, "'aar' may be a word, as the language is 'aa' and"),
        ({"tag": "news"}, "'tag' is the code of a rare language, and may be a word: if it is no language, name those"),
        ({"score": 0.5}, "'score': unknown language code 'score', "),
    ],
)
def test_a_key_of_a_bitext_that_may_be_no_language_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        rows(BITEXT | more)
    assert str(raised.value).startswith(f"rows.jsonl:4: {message}")
    assert str(raised.value).endswith("as in columns: {en: en, de: de}")


def test_codes_of_three_letters_are_languages_where_all_have_three_or_no_shorter_one() -> None:
    assert [row.lang for row in rows({"id": 1, "eng": "cat", "cat": "gat"})] == ["en", "ca"]
    assert [row.lang for row in rows({"id": 1, "en": "cat", "fil": "pusa", "ind": "kucing"})] == [
        "en",
        "fil",
        "id",
    ]


def test_a_row_whose_id_is_indonesian_says_how_to_name_it() -> None:
    record = {"id": "Selamat pagi.", "en": "Good day."}
    with pytest.raises(DataError, match=r"only 'en' is a language here.*columns: \{ind: id, en: en\}$"):
        rows(record)
    renamed_record = renamed(record, {"ind": "id", "en": "en"}, PLACE)
    assert [(row.lang, row.passage) for row in rows(renamed_record)] == [
        ("id", "Selamat pagi."),
        ("en", "Good day."),
    ]
    assert rows({"id": "doc 1", "en": "Good day.", "de": None}) == []


def test_languages_that_the_config_names_are_taken_as_they_are() -> None:
    columns = {"en": "english", "cat": "catalan"}
    record = renamed({"id": 1, "english": "cat", "catalan": "gat", "cat": "news"}, columns, PLACE)
    assert [(row.lang, row.passage) for row in rows(record)] == [("en", "cat"), ("ca", "gat")]
    with pytest.raises(ValueError, match="columns names 'en' and 'eng', the same language: leave one of them out"):
        check_columns({"en": "english", "eng": "text"})


@pytest.mark.parametrize(
    ("names", "setting"),
    [
        (["english", "non_english"], "{en: english, CODE: non_english}"),
        (["non_english", "english"], "{en: english, CODE: non_english}"),
        (["english", "non_english", "german"], "{en: english, de: german}"),
    ],
)
def test_a_suggestion_names_each_language_once(names: list[str], setting: str) -> None:
    assert suggestion(names) == f"columns: {setting}"
