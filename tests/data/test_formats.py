"""Each shape to rows, by hand-written examples; what makes a text, id or language unusable; telling shapes apart."""

from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.data import formats
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.formats import LINE_FORMATS, supported_kinds
from hybrid_jax.data.recognise import detect_format
from hybrid_jax.data.records import MAX_TEXT_CHARS, DataError, Passage, Row
from hybrid_jax.data.squad import squad_rows

ALIGNED = {"id": "q1", "lang": "de", "query": "Wer?", "passage": "Niemand."}
QA = {"id": "q1", "lang": "de", "question": "Wer?", "passage": "Niemand."}
BITEXT = {"id": "b1", "en": "Good day.", "de": "Guten Tag."}
PAIR = {"l1": "en", "l2": "de", "s1": "Good day.", "s2": "Guten Tag."}
BGE = {"query": "Who?", "pos": ["Nobody."], "neg": ["Somebody.", "Anybody."]}
TEVATRON = {
    "query_id": 7,
    "query": "Who?",
    "positive_passages": [{"docid": "d1", "title": "Odyssey", "text": "Nobody."}],
    "negative_passages": [{"docid": "d2", "title": "", "text": "Somebody."}],
}


def place(**changes: Any) -> Place:
    return Place(**{"where": "rows.jsonl:4", "line_id": "rows.jsonl:4", "repairs": Repairs(), **changes})


def rows(name: str, record: dict[str, Any], **changes: Any) -> list[Row]:
    return LINE_FORMATS[name](record, place(**changes))


def stop(error: DataError) -> None:
    raise error


def test_aligned() -> None:
    full = ALIGNED | {"title": "Odyssee", "negatives": ["Jemand."], "passage_id": 3}
    assert rows("aligned", full) == [
        Row("q1", "de", "Wer?", "Niemand.", "Odyssee", (Passage("Jemand."),), "3", where="rows.jsonl:4")
    ]
    assert rows("aligned", ALIGNED | {"passage": None})[0].passage is None
    assert rows("aligned", ALIGNED | {"query": None})[0].query is None


def test_qa_takes_the_sentence_where_there_is_no_passage() -> None:
    assert rows("qa", QA) == [Row("q1", "de", "Wer?", "Niemand.", where="rows.jsonl:4")]
    assert rows("qa", QA | {"sentence": "Nur ein Satz."})[0].passage == "Niemand."
    assert rows("qa", QA | {"passage": None, "sentence": "Nur ein Satz."})[0].passage == "Nur ein Satz."
    assert rows("qa", QA | {"passage": None})[0].passage is None
    assert rows("qa", QA | {"title": ""})[0].title is None


def test_bitext_gives_each_text_as_query_and_passage_and_ignores_what_is_no_language() -> None:
    record = BITEXT | {"mt": True, "source": "news", "doc": "d1", "fr": None}
    assert [(row.id, row.lang, row.query, row.passage) for row in rows("bitext", record)] == [
        ("b1", "en", "Good day.", "Good day."),
        ("b1", "de", "Guten Tag.", "Guten Tag."),
    ]


def test_mt_is_maltese_when_it_is_a_text() -> None:
    assert [row.lang for row in rows("bitext", {"id": 1, "en": "Good day.", "mt": "Il-ġurnata t-tajba."})] == [
        "en",
        "mt",
    ]


def test_bitext_pairs_are_one_record_named_by_its_line() -> None:
    assert [(row.id, row.lang, row.passage) for row in rows("bitext_pairs", PAIR)] == [
        ("rows.jsonl:4", "en", "Good day."),
        ("rows.jsonl:4", "de", "Guten Tag."),
    ]


def test_negatives_and_further_positives_keep_their_titles_and_ids() -> None:
    given = ["Jemand.", {"text": " Einer. ", "title": "Ilias", "id": 8}, {"text": "Er.", "title": " ", "docid": "d9"}]
    expected = (Passage("Jemand."), Passage("Einer.", "Ilias", "8"), Passage("Er.", None, "d9"))
    for name, record in (("aligned", ALIGNED), ("qa", QA)):
        (row,) = rows(name, record | {"negatives": given, "positives": given, "passage_id": "p"})
        assert (row.negatives, row.further_positives, row.passage_id) == (expected, expected, "p")


def test_qa_keeps_the_sentence_beside_a_passage_as_a_further_positive() -> None:
    (row,) = rows("qa", QA | {"sentence": "Nur ein Satz.", "title": "Odyssee"})
    assert row.further_positives == (Passage("Nur ein Satz.", "Odyssee"),)
    assert rows("qa", QA | {"passage": None, "sentence": "Nur ein Satz."})[0].further_positives == ()
    assert rows("qa", QA | {"sentence": ""})[0].further_positives == ()


def test_tevatron_in_both_of_its_shapes() -> None:
    where = "rows.jsonl:4"
    somebody, anybody = Passage("Somebody."), Passage("Anybody.")
    assert rows("tevatron", BGE, lang="en") == [
        Row(where, "en", "Who?", "Nobody.", None, (somebody, anybody), where=where)
    ]
    assert rows("tevatron", TEVATRON, lang="en") == [
        Row("7", "en", "Who?", "Nobody.", "Odyssey", (Passage("Somebody.", None, "d2"),), "d1", where)
    ]


def test_further_positives_of_tevatron_are_kept() -> None:
    (row,) = rows("tevatron", BGE | {"pos": ["Nobody.", "No one.", "Noman."]}, lang="en")
    assert (row.passage, row.further_positives) == ("Nobody.", (Passage("No one."), Passage("Noman.")))
    more = [*TEVATRON["positive_passages"], {"docid": 3, "title": "Iliad", "text": "No one."}]
    (row,) = rows("tevatron", TEVATRON | {"positive_passages": more}, lang="en")
    assert (row.passage, row.further_positives) == ("Nobody.", (Passage("No one.", "Iliad", "3"),))


def test_ids_beside_the_texts_of_bge_are_theirs() -> None:
    (row,) = rows("tevatron", BGE | {"pos_id": [4], "neg_id": ["n1", "n2"]}, lang="en")
    assert (row.passage_id, [negative.id for negative in row.negatives]) == ("4", ["n1", "n2"])


def test_ids_of_the_line_replace_ids_that_mean_nothing() -> None:
    assert [
        row.id for name, record in (("aligned", ALIGNED), ("qa", QA)) for row in rows(name, record, own_ids=False)
    ] == [
        "rows.jsonl:4",
        "rows.jsonl:4",
    ]


def squad(*paragraphs: dict[str, Any]) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": "Odyssey", "paragraphs": list(paragraphs)}]}


def test_squad() -> None:
    asked = [
        {"id": "q2", "question": "Who?"},
        {"id": "q1", "question": "Where?"},
        {"id": "q1", "question": "Where?"},  # once per answer
        {"id": "q0", "question": "Why?", "is_impossible": True},
    ]
    bad: list[DataError] = []
    got = list(squad_rows(squad({"context": "A cave.", "qas": asked}), place(where="f.json", lang="en"), bad.append))
    assert [(row.id, row.lang, row.query, row.passage, row.title) for row in got] == [
        ("q2", "en", "Who?", "A cave.", "Odyssey"),
        ("q1", "en", "Where?", "A cave.", "Odyssey"),
    ]
    assert bad == []


def test_a_squad_paragraph_and_its_translation_get_the_same_passage_id() -> None:
    english = {"context": "A cave.", "qas": [{"id": "q1", "question": "Where?"}, {"id": "q2", "question": "Who?"}]}
    german = {"context": "Eine Höhle.", "qas": [{"id": "q2", "question": "Wer?"}, {"id": "q1", "question": "Wo?"}]}
    other = {"context": "A ship.", "qas": [{"id": "q3", "question": "With what?"}]}
    ids = {
        (lang, row.passage): row.passage_id
        for lang, paragraphs in (("en", (english, other)), ("de", (german,)))
        for row in squad_rows(squad(*paragraphs), place(lang=lang), stop)
    }
    assert ids["en", "A cave."] == ids["de", "Eine Höhle."] != ids["en", "A ship."]


def test_a_bad_squad_question_is_named_and_the_others_are_kept() -> None:
    good = {"context": "A cave.", "qas": [{"id": "q1", "question": " "}, {"id": "q2", "question": "Who?"}]}
    bad: list[str] = []
    document = squad({"context": "", "qas": []}, good, {"context": "No questions."})
    got = list(squad_rows(document, place(where="f.json", lang="en"), lambda error: bad.append(str(error))))
    assert [row.id for row in got] == ["q2"]
    assert [message.split(",")[0] for message in bad] == [
        "f.json: data[0].paragraphs[0]: 'context' is empty",
        "f.json: data[0].paragraphs[1] question q1: 'question' is empty",
        "f.json: data[0].paragraphs[2]: missing key 'qas' (keys here: context)",
    ]


@pytest.mark.parametrize(
    ("name", "record", "what"),
    [
        ("aligned", {"lang": "de", "query": "a", "passage": "b"}, "missing key 'id' (keys here: lang, query, passage)"),
        ("aligned", {"id": "1", "lang": "de", "query": "a"}, "missing key 'passage'"),
        (
            "aligned",
            {"id": "1", "query": "a", "passage": "b"},
            "no 'lang' (keys here: id, query, passage), add it, or",
        ),
        ("aligned", ALIGNED | {"passage": 3}, "'passage' must be a text, got int 3"),
        ("aligned", ALIGNED | {"passage": ["b"]}, "'passage' must be a text, got list ['b']"),
        ("aligned", ALIGNED | {"query": "\ud800"}, "'query' holds half of a surrogate pair"),
        ("aligned", ALIGNED | {"negatives": "c"}, "'negatives' must be a list of texts, got str 'c'"),
        ("aligned", ALIGNED | {"negatives": ["c", ""]}, "'negatives[1]' is empty"),
        ("aligned", ALIGNED | {"title": 1}, "'title' must be a text"),
        ("aligned", ALIGNED | {"negatives": [{"title": "c"}]}, "'negatives[0]' has no text (keys there: title)"),
        ("aligned", ALIGNED | {"negatives": [{"text": 1}]}, "'negatives[0].text' must be a text, got int 1"),
        ("aligned", ALIGNED | {"negatives": [{"text": "c", "id": 1.5}]}, "'negatives[0].id' must be a text or an int"),
        ("aligned", ALIGNED | {"positives": {"text": "c"}}, "'positives' must be a list of texts, got dict"),
        ("aligned", ALIGNED | {"passage": None, "positives": ["c"]}, "'positives' are further ones beside the passage"),
        ("qa", QA | {"sentence": 3}, "'sentence' must be a text, got int 3"),
        ("tevatron", BGE | {"neg_id": ["n1"]}, "'neg_id' must be a list of 2 ids, one per text of 'neg'"),
        ("tevatron", BGE | {"pos_id": [None]}, "'pos_id[0]' must be a text or an integer, got NoneType None"),
        ("aligned", ALIGNED | {"id": None}, "'id' must be a text or an integer, got NoneType None"),
        ("aligned", ALIGNED | {"id": True}, "'id' must be a text or an integer"),
        ("aligned", ALIGNED | {"id": "q\udcff"}, "'id' holds half of a surrogate pair"),
        ("aligned", ALIGNED | {"lang": "de-\udcff"}, "'lang' must be a language code"),
        ("aligned", ALIGNED | {"id": " "}, "'id' must be a text or an integer"),
        ("aligned", ALIGNED | {"passage_id": 1.5}, "'passage_id' must be a text or an integer"),
        ("aligned", ALIGNED | {"lang": "xx"}, "'lang': unknown language code 'xx'"),
        ("aligned", ALIGNED | {"lang": 1}, "'lang' must be a language code"),
        ("qa", {"id": "1", "lang": "de", "passage": "b"}, "missing key 'question'"),
        ("qa", {"id": "1", "lang": "de", "question": "a"}, "missing key 'passage'"),
        ("bitext", BITEXT | {"xx": "a"}, "'xx': unknown language code 'xx'"),
        ("bitext", BITEXT | {"eng": "a"}, "'en' and 'eng' are the same language 'en', leave one out"),
        ("bitext", BITEXT | {"de": {}}, "'de' must be a text"),
        ("bitext_pairs", PAIR | {"l2": "en"}, "l1 and l2 are both 'en'"),
        ("bitext_pairs", PAIR | {"l2": "xx"}, "'l2': unknown language code 'xx'"),
        ("tevatron", {"query": "a"}, "missing key 'pos'"),
        ("tevatron", BGE | {"neg": [1]}, "'neg[0]' must be a text, got int 1"),
        ("tevatron", TEVATRON | {"negative_passages": ["x"]}, "'negative_passages' must be a list of objects"),
        ("tevatron", TEVATRON | {"positive_passages": [{"text": "a"}]}, "missing key 'docid'"),
    ],
)
def test_a_bad_object_is_one_line_with_its_place(name: str, record: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError) as raised:
        rows(name, record, lang="en" if name == "tevatron" else None)
    message = str(raised.value)
    assert message.startswith(f"rows.jsonl:4: {what}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "record", "counted"),
    [
        ("aligned", ALIGNED | {"query": None, "passage": None}, "1 rows with neither query nor passage left out"),
        ("qa", QA | {"question": None, "passage": None}, "1 rows with neither query nor passage left out"),
        ("bitext", {"id": "1", "en": "a", "de": None}, "1 lines with a text in fewer than two languages left out"),
        ("bitext", {"id": "1"}, "1 lines with a text in fewer than two languages left out"),
    ],
)
def test_a_row_that_serves_nothing_is_counted(name: str, record: dict[str, Any], counted: str) -> None:
    repairs = Repairs()
    assert rows(name, record, repairs=repairs) == []
    assert repairs.summary() == f"{counted} (first: rows.jsonl:4)"


@pytest.mark.parametrize("blank", ["", " \t\n\u3000", "\x00"])
def test_a_blank_side_counts_as_missing(blank: str) -> None:
    repairs = Repairs()
    (question,) = rows("aligned", ALIGNED | {"passage": blank}, repairs=repairs)
    assert (question.query, question.passage) == ("Wer?", None)
    assert rows("qa", QA | {"question": blank}, repairs=repairs)[0].query is None
    assert [row.lang for row in rows("bitext", BITEXT | {"de": blank, "fr": "Jour."}, repairs=repairs)] == ["en", "fr"]
    assert rows("bitext_pairs", PAIR | {"s2": blank}, repairs=repairs) == []
    assert repairs.blank == 4
    assert "4 blank queries, passages or translations count as missing (first: rows.jsonl:4)" in repairs.summary()
    assert "1 lines with a text in fewer than two languages left out" in repairs.summary()


def test_a_query_without_a_positive_has_no_passage() -> None:
    for record, negatives in ((BGE | {"pos": []}, 2), (TEVATRON | {"positive_passages": []}, 1)):
        (row,) = rows("tevatron", record, lang="en")
        assert (row.query, row.passage, len(row.negatives)) == ("Who?", None, negatives)
    repairs = Repairs()
    assert rows("tevatron", BGE | {"query": "", "pos": []}, lang="en", repairs=repairs) == []
    assert "1 rows with neither query nor passage left out" in repairs.summary()


def test_triplets_are_sentence_transformers_rows() -> None:
    record = {
        "anchor": "Who?",
        "positive": "Nobody.",
        "negative_1": "Somebody.",
        "negative_2": None,
        "negative": ["I."],
    }
    (row,) = rows("triplets", record, lang="en")
    assert (row.id, row.lang, row.query, row.passage) == ("rows.jsonl:4", "en", "Who?", "Nobody.")
    assert row.negatives == (Passage("Somebody."), Passage("I."))
    assert rows("triplets", {"id": 7, "question": "Who?", "positive": "Nobody.", "lang": "eng"})[0].id == "7"
    with pytest.raises(DataError, match=r"missing key 'positive' \(keys here: anchor\)"):
        rows("triplets", {"anchor": "Who?"}, lang="en")


def test_the_datasets_language_fills_in_and_contradicts_no_row() -> None:
    record = {"id": "q1", "query": "Wer?", "passage": "Niemand."}
    assert rows("aligned", record, lang="de")[0].lang == "de"
    assert rows("aligned", record | {"lang": "deu"}, lang="de")[0].lang == "de"
    with pytest.raises(DataError, match=r"'lang' is 'fr', but the dataset's lang is 'de'"):
        rows("aligned", record | {"lang": "fr"}, lang="de")
    with pytest.raises(DataError, match=r"missing key 'id' .* set the dataset's ids: line if each row is a record"):
        rows("aligned", {"query": "Wer?", "passage": "Niemand."}, lang="de")


def test_a_format_without_languages_asks_for_one() -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:4: .* set the dataset's lang"):
        rows("tevatron", BGE)


def test_texts_are_stripped_cut_and_freed_of_control_characters_and_that_is_counted() -> None:
    repairs = Repairs()
    long = ALIGNED | {"query": "  a\x00b\x1bc\tand\nd\u2028e ", "passage": "x" * (MAX_TEXT_CHARS + 1)}
    (row,) = rows("aligned", long, repairs=repairs)
    assert row.query == "a b c\tand\nd\u2028e"
    assert row.passage == "x" * MAX_TEXT_CHARS
    assert (repairs.cut, repairs.control_characters) == (1, 1)
    assert repairs.summary().splitlines() == [
        "1 texts freed of control characters (first: rows.jsonl:4); "
        f"1 texts cut at {MAX_TEXT_CHARS} characters (first: rows.jsonl:4)"
    ]
    untouched = Repairs()
    rows("aligned", ALIGNED | {"passage": "x" * MAX_TEXT_CHARS}, repairs=untouched)
    assert untouched.summary() == ""


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (ALIGNED, "aligned"),
        (QA, "qa"),
        (BITEXT, "bitext"),
        (BITEXT | {"mt": False, "xx": "found only when read"}, "bitext"),
        (PAIR, "bitext_pairs"),
        (BGE, "tevatron"),
        ({"anchor": "a", "positive": "b"}, "triplets"),
        ({"query": "a", "positive": "b", "negative_1": "c"}, "triplets"),
        ({"question": "a", "passage": "b"}, "qa"),
        ({"query": "a", "passage": "b"}, "aligned"),
        (TEVATRON, "tevatron"),
        (squad(), "squad"),
    ],
)
def test_the_first_object_tells_the_format(record: dict[str, Any], name: str) -> None:
    assert detect_format(record, Path("rows.jsonl")) == name


def test_an_object_over_many_lines_is_squad_only_in_a_json_file() -> None:
    assert detect_format(None, Path("dev.json.gz")) == "squad"
    assert detect_format(None, Path("rows.jsonl")) == "aligned"  # its bad lines are then reported one by one


def test_what_cannot_be_told_apart_is_said() -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:1: cannot tell the format from the keys \(id, text\)"):
        detect_format({"id": "1", "text": "a"}, Path("rows.jsonl"))
    for record, setting in (
        ({"id": 1, "context": "a", "question": "b", "answers": {}}, "columns: {query: question, passage: context}"),
        (
            {"qid": 1, "language": "de", "context": "a", "question": "b"},
            "columns: {id: qid, lang: language, query: question, passage: context}",
        ),
        ({"sentence1": "a", "sentence2": "b"}, "columns: {query: sentence1, passage: sentence2}"),
        ({"german": "a", "text_en": "b"}, "columns: {de: german, en: text_en}"),
        ({"x": "a", "y": "b"}, "columns: {query: YOUR_COLUMN, passage: YOUR_COLUMN}"),
    ):
        with pytest.raises(DataError) as raised:
            detect_format(record, Path("rows.csv"))
        assert f"say which is which, as in {setting}, or" in str(raised.value)
    with pytest.raises(DataError, match=r"no passages \(MKQA\).* set format: bitext"):
        detect_format({"id": "1", "en": "who?", "de": "wer?", "answers": {"en": ["me"]}}, Path("mkqa.jsonl"))


def test_a_text_is_never_paired_with_itself() -> None:
    assert supported_kinds("bitext") == supported_kinds("bitext_pairs") == ("cross_lingual",)
    assert supported_kinds("qa") == formats.KINDS
    assert "cross_lingual" not in supported_kinds("qa", own_ids=False)


def test_a_blank_optional_text_counts_as_missing_as_an_empty_cell_does() -> None:
    repairs = Repairs()
    (row,) = rows("qa", QA | {"passage": "", "sentence": "Nur ein Satz."}, repairs=repairs)
    assert (row.passage, row.further_positives) == ("Nur ein Satz.", ())
    (row,) = rows("qa", QA | {"sentence": " ", "passage_id": " "}, repairs=repairs)
    assert (row.passage, row.further_positives, row.passage_id) == ("Niemand.", (), None)
    (row,) = rows("triplets", {"anchor": "Who?", "positive": "Nobody.", "negative": ""}, lang="en", repairs=repairs)
    assert row.negatives == ()
    assert repairs.blank == 3
