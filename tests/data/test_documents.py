"""Documents are read as they are, whatever Unicode they hold; a bad field gives one line with file and line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.documents import ID_KEYS, check_unique_ids, read_documents
from hybrid_jax.data.records import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TAGS = {"de": "de", "deu_Latn": "de", "zh-Hant": "zh-Hant", "und": None}
IDS = st.integers() | TEXTS.filter(str.strip)
DOCUMENTS = st.fixed_dictionaries(
    {"text": TEXTS},
    optional={"title": st.none() | TEXTS, "lang": st.sampled_from(list(TAGS)), "other": st.booleans()},
)
BAD_FIELDS = (
    st.tuples(st.sampled_from(ID_KEYS), st.sampled_from([None, True, 1.0, ["d"], {}, "", " ", "d\ud83d"]))
    | st.tuples(st.just("text"), st.sampled_from([None, 7, ["text"], "half \udc00"]))
    | st.tuples(st.just("title"), st.sampled_from([7, False, ["title"], "half \ud800"]))
    | st.tuples(st.just("lang"), st.sampled_from([None, 1, ["en"], "", "mul", "en-x-a", "xx", "e\ud800"]))
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents") / "corpus.jsonl"


def write(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@given(st.data(), st.lists(DOCUMENTS, min_size=1, max_size=4), st.sampled_from(ID_KEYS))
def test_good_documents_come_back_unchanged(corpus: Path, data: st.DataObject, documents: list[dict], key: str):
    ids = data.draw(st.lists(IDS, min_size=len(documents), max_size=len(documents), unique_by=str))
    records = [{key: name, **document} for name, document in zip(ids, documents, strict=True)]
    write(corpus, records)
    assert [(row.where, row.id, row.title, row.text, row.language) for row in read_documents([corpus])] == [
        (f"{corpus}:{number}", str(row[key]), row.get("title") or "", row["text"], TAGS.get(row.get("lang", "und")))
        for number, row in enumerate(records, start=1)
    ]
    assert check_unique_ids([corpus]) == len(records)


@given(st.integers(0, 3), BAD_FIELDS)
def test_a_bad_field_is_named_with_file_and_line(corpus: Path, line: int, bad: tuple[str, object]):
    records: list[dict] = [{"_id": f"d{number}", "text": "good"} for number in range(4)]
    key, value = bad
    if key in ID_KEYS:
        del records[line]["_id"]
    records[line][key] = value
    write(corpus, records)
    for read in (lambda: list(read_documents([corpus])), lambda: check_unique_ids([corpus])):
        with pytest.raises(DataError) as error:
            read()
        assert str(error.value).startswith(f"{corpus}:{line + 1}: {key!r}")
        assert "\n" not in str(error.value)


def test_missing_keys_are_named(corpus: Path):
    write(corpus, [{"title": "no id", "text": "x"}])
    with pytest.raises(DataError, match=r"corpus\.jsonl:1: no id \(one of _id, docid, id\), add one"):
        check_unique_ids([corpus])
    write(corpus, [{"_id": "d1", "contents": "x"}])
    with pytest.raises(DataError, match=r"corpus\.jsonl:1: missing key 'text' \(keys here: _id, contents\), add it$"):
        check_unique_ids([corpus])


@given(st.permutations(["a", "b", "c", 7, "7"]))
def test_an_id_occurs_once_in_all_files_together(corpus: Path, ids: list[str | int]):
    files = [write(corpus.with_name(f"{n}.jsonl"), [{"_id": ids[n], "text": str(n)}]) for n in range(5)]
    first, second = (files[n] for n in range(5) if str(ids[n]) == "7")
    with pytest.raises(DataError) as error:
        check_unique_ids(files)
    assert str(error.value) == (
        f"{second}:1: document id '7' occurs a second time (first: {first}:1), remove one of the two or give it "
        "another id"
    )
