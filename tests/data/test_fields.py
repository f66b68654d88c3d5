"""Fields that are not usable are refused with their place; usable ones come back as they are in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.records import DataError

PLACE = Place("file.jsonl:3", "file.jsonl:3", Repairs())
SURROGATES = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
HALF_PAIRS = st.builds(lambda before, half, after: before + half + after, TEXTS, SURROGATES, TEXTS)
NO_TEXTS = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(TEXTS) | st.dictionaries(TEXTS, TEXTS)


def refusal(read, *arguments) -> str:
    """The one-line error of a reader."""
    with pytest.raises(DataError) as error:
        read(*arguments)
    message = str(error.value)
    assert message.startswith("file.jsonl:3: ")
    assert "\n" not in message
    return message


@given(TEXTS)
def test_a_text_to_evaluate_on_is_kept_as_it_is(text: str):
    assert PLACE.exact({"text": text}, "text", blank=True) == text
    assert PLACE.exact_title({"title": text}) == text
    if text.strip():
        assert PLACE.exact({"text": text}, "text") == text
        assert PLACE.identifier(text, "_id") == text
    else:
        assert "'text' is empty, remove the line or fill it in" in refusal(PLACE.exact, {"text": text}, "text")
        assert "'_id' must be a text or an integer" in refusal(PLACE.identifier, text, "_id")


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\ufeff \u200e", "\u00ad\n\u2060"])
def test_a_text_that_nobody_can_see_counts_as_missing(text: str):
    place = Place("file.jsonl:3", "file.jsonl:3", Repairs())
    assert place.text_or_null({"text": text}, "text") is None
    assert place.repairs.blank == 1
    assert "'text' is empty" in refusal(place.text, {"text": text}, "text")
    assert place.text({"text": f" می{chr(0x200C)}خواهم{text}."}, "text") == f"می{chr(0x200C)}خواهم{text}."


@given(NO_TEXTS | HALF_PAIRS)
def test_what_is_no_text_is_refused_by_every_reader_of_texts(value: object):
    record = {"text": value, "title": value}
    for read in (PLACE.text, PLACE.exact):
        assert "'text'" in refusal(read, record, "text")
    if value is None:
        assert (PLACE.title(record), PLACE.exact_title(record)) == (None, "")
    else:
        assert "'title'" in refusal(PLACE.title, record)
        assert "'title'" in refusal(PLACE.exact_title, record)


@given(NO_TEXTS.filter(lambda value: type(value) is not int) | HALF_PAIRS)
def test_an_id_is_a_text_or_a_whole_number(value: object):
    assert "'_id'" in refusal(PLACE.identifier, value, "_id")


@given(st.integers())
def test_a_whole_number_is_the_id_that_it_is_written_as(value: int):
    assert PLACE.identifier(value, "_id") == str(value)


@given(NO_TEXTS | HALF_PAIRS | TEXTS.filter(lambda text: not text.isascii()))
def test_a_language_is_a_code(value: object):
    assert "'lang' must be a language code" in refusal(PLACE.language, value, "lang")


def test_a_language_is_written_in_one_way_and_an_unknown_one_names_the_nearest():
    assert [PLACE.language(code, "lang") for code in ("DE", "deu_Latn", "iw", " th ")] == ["de", "de", "he", "th"]
    assert refusal(PLACE.language, "cz", "lang").endswith("did you mean 'cs' (Czech)? 'cz' is the country Czechia")
