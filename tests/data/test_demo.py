"""The demo corpus is aligned, split by composition, free of look-alikes, and the same in every process."""

import hashlib
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from importlib.resources import files

import pytest

from hybrid_jax.data.corpora import demo
from hybrid_jax.data.corpora.demo_templates import LANGUAGES, RELATIONS, TEMPLATES, parse
from hybrid_jax.data.languages import language_tag
from hybrid_jax.data.records import DataError, Row

SCRIPTS = {"ar": "ARABIC", "el": "GREEK", "hi": "DEVANAGARI", "ru": "CYRILLIC", "th": "THAI", "zh": "CJK"}

DIGEST = """
import hashlib
from hybrid_jax.data.corpora import demo
texts = [(r.id, r.lang, r.query, r.passage) for split in ("train", "heldout") for r in demo.rows(split)]
print(hashlib.sha256(repr(texts).encode()).hexdigest())
"""


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def train() -> list[Row]:
    return list(demo.rows("train"))


@pytest.fixture(scope="module")
def heldout() -> list[Row]:
    return list(demo.rows("heldout"))


@pytest.fixture(scope="module")
def every(train: list[Row], heldout: list[Row]) -> list[Row]:
    return train + heldout


def _ids(rows: list[Row]) -> set[str]:
    return {row.id for row in rows}


def _entities(rows: list[Row]) -> set[str]:
    return {row.id.split("-")[0] for row in rows}


def _relations(rows: list[Row]) -> set[str]:
    return {row.id.split("-")[1] for row in rows}


def _scripts(text: str) -> list[str]:
    return [unicodedata.name(char).split()[0] for char in text if char.isalpha()]


def test_every_record_has_a_query_and_a_passage_in_each_language_once(every: list[Row]):
    assert sorted((row.id, row.lang) for row in every) == sorted(
        (id_, lang) for id_ in _ids(every) for lang in LANGUAGES
    )
    assert all(row.query and row.passage and row.where == f"demo:{row.id}" for row in every)
    for lang in LANGUAGES:
        assert language_tag(lang) == lang


def test_heldout_records_recombine_trained_entities_and_relations(train: list[Row], heldout: list[Row]):
    assert not _ids(train) & _ids(heldout)
    assert _entities(heldout) <= _entities(train)
    assert _relations(heldout) == _relations(train) == set(RELATIONS)


def test_size(train: list[Row], heldout: list[Row]):
    train_records, heldout_records = len(_ids(train)), len(_ids(heldout))
    assert 800 <= train_records + heldout_records <= 2500
    assert 0.1 < heldout_records / (train_records + heldout_records) < 0.2
    described = demo.describe()
    assert f"({train_records} train, {heldout_records} held out)" in described
    assert "Unicode-3.0" in described


def test_no_two_records_look_alike(every: list[Row]):
    """Two records with one query would have two right answers; two with one passage would be false negatives."""
    texts = Counter((row.lang, side, getattr(row, side)) for row in every for side in ("query", "passage"))
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_placeholder_is_left(every: list[Row]):
    def is_filled_in(text: str | None) -> bool:
        return text is not None and not {"{", "}", "|"} & set(text) and "None" not in text

    assert [row for row in every if not (is_filled_in(row.query) and is_filled_in(row.passage))] == []


def test_texts_are_in_the_script_of_their_language(every: list[Row]):
    def is_in_script(text: str | None, script: str) -> bool:
        """Codes such as "ISO 639" are Latin everywhere; no other script may slip in."""
        scripts = _scripts(text or "")
        return scripts.count(script) > len(scripts) / 2 and set(scripts) <= {script, "LATIN", "MODIFIER"}

    wrong = [
        (row.id, row.lang, text)
        for row in every
        for text in (row.query, row.passage)
        if not is_in_script(text, SCRIPTS.get(row.lang, "LATIN"))
    ]
    assert wrong == []


def test_templates_ask_in_two_ways_or_more_and_answer():
    assert set(TEMPLATES) == set(LANGUAGES)
    wrong = [
        (lang, relation)
        for lang, templates in TEMPLATES.items()
        for relation in RELATIONS
        for questions, passage in [templates[relation]]
        if len(set(questions)) < 2
        or any(question.count("{entity}") != 1 or "{answer}" in question for question in questions)
        or not passage.count("{entity}") == passage.count("{answer}") == 1
    ]
    assert wrong == []


def test_a_mistake_in_a_language_file_is_named_with_file_and_line():
    good = (files("hybrid_jax.data.corpora") / "wording" / "en.txt").read_text(encoding="utf-8")
    assert parse(good, "en.txt") == TEMPLATES["en"]
    lines = good.splitlines()
    assert lines[3].startswith("[currency]")
    assert [line[0] for line in lines[4:7]] == ["?", "?", "="]

    def message(changes: dict[int, str]) -> str:
        with pytest.raises(DataError) as raised:
            parse("\n".join(changes.get(number, line) for number, line in enumerate(lines, 1)), "en.txt")
        return str(raised.value)

    mistakes = {
        "en.txt:4: unknown relation 'currencies', use one of currency, official, ": {4: "[currencies]"},
        "en.txt:4: [currency] needs two or more different questions": {6: ""},
        "en.txt:4: [currency] needs two or more different questions ": {6: lines[4]},
        "en.txt:4: [currency] has 0 passages (=), write exactly one": {7: ""},
        "en.txt:4: [currency] has 2 passages (=), write exactly one": {8: lines[6]},
        "en.txt:5: {entity} must occur once, occurs 0 times": {5: "? What is the currency?"},
        "en.txt:5: only {entity} can be filled in here, remove other braces": {5: "? {entity}: {answer}?"},
        "en.txt:7: {answer} must occur once, occurs 2 times": {7: "= {entity}: {answer} {answer}"},
        "en.txt:7: only {entity} and {answer} can be filled in here": {7: "= {entity}: {answer} {0}"},
        'en.txt:8: expected [relation], "? question" or "= passage", got \'Question?\'': {8: "Question?"},
        "en.txt:3: expected [relation], ": {3: "? {entity}?"},
        "en.txt:8: [currency] is in line 4 already, remove one of them": {8: "[currency]"},
        "en.txt: no [currency], add its questions and passage": dict.fromkeys(range(4, 8), "# removed"),
    }
    told = {expected: message(changes) for expected, changes in mistakes.items()}
    assert {expected: actual for expected, actual in told.items() if not actual.startswith(expected)} == {}


def test_every_wording_is_used_in_training(train: list[Row]):
    queries = {(lang, relation): "\n" for lang in LANGUAGES for relation in RELATIONS}
    for row in train:
        queries[row.lang, row.id.split("-")[1]] += f"{row.query}\n"
    unused = [
        (lang, relation, question)
        for (lang, relation), text in queries.items()
        for question in TEMPLATES[lang][relation].questions
        if max(question.split("{entity}"), key=len) not in text
    ]
    assert unused == []


def test_known_facts(every: list[Row]):
    facts = [
        ("JP-currency", "en", "Japan", "Japanese Yen"),
        ("BR-official", "de", "Brasilien", "Portugiesisch"),
        ("BG-script", "tr", "Bulgaristan", "Kiril"),
        ("US-week", "es", "Estados Unidos", "domingo"),
        ("BT-clock", "ru", "Бутан", "Тхимпху"),
        ("JP-time", "zh", "日本", "日本标准时间"),
        ("el-writing", "el", "Ελληνικά", "Ελληνικό"),
        ("sw-home", "th", "สวาฮีลี", "แทนซาเนีย"),
        ("vi-language_code", "vi", "Tiếng Việt", " vi."),
        ("KWD-currency_code", "ar", "دينار كويتي", "KWD"),
        ("KWD-decimals", "hi", "कुवैती दिनार", "3"),
    ]
    rows = {(row.id, row.lang): row for row in every}
    wrong = [
        (id_, lang)
        for id_, lang, entity, answer in facts
        for query, passage in [(rows[id_, lang].query or "", rows[id_, lang].passage or "")]
        if not (entity in query and entity in passage and answer in passage)
    ]
    assert wrong == []


def test_the_corpus_is_the_same_in_every_process(every: list[Row]):
    here = [(row.id, row.lang, row.query, row.passage) for row in every]
    elsewhere = _python(DIGEST, PYTHONHASHSEED="7", LANG="tr_TR.UTF-8", LC_ALL="C", TZ="Asia/Tokyo")
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(here).encode()).hexdigest(), elsewhere.stderr


def test_an_unknown_split_is_named():
    # In a process of its own: here the import hook would stop the call at its annotation.
    failed = _python("from hybrid_jax.data.corpora import demo; next(demo.rows('dev'))")
    assert "demo: unknown split 'dev': choose 'train' or 'heldout'" in failed.stderr
