"""Datasets from files on disk: finding and filtering them, duplicates, skipping bad rows, fingerprints, real files."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.fields import Repairs
from hybrid_jax.data.locate import resolve_files
from hybrid_jax.data.memory import rows as rows_in_memory
from hybrid_jax.data.records import MAX_TEXT_CHARS, DataError, Row
from hybrid_jax.data.sources import BadRows, fingerprint, read_rows, resolve_kinds

REAL_TRAIN = (
    "bitext_docs",
    "bitext_ntrex128_11way",
    "bitext_pawsx_4way",
    "bitext_tatoeba_pairs",
    "bitext_tico19_6way",
    "bitext_wmt_newstest",
    "bitext_xnli_11way",
    "qa_native",
    "qa_parallel_docs",
    "qa_parallel_mlqa_test",
)


def aligned(record_id: str, lang: str, query: Any = "Who?", passage: Any = "Nobody.") -> dict[str, Any]:
    return {"id": record_id, "lang": lang, "query": query, "passage": passage}


def write_lines(path: Path, *objects: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects), encoding="utf-8")
    return path


def config(path: Path | str, **fields: Any) -> DatasetConfig:
    return DatasetConfig(name="some", path=str(path), **fields)


def read(path: Path | str, **fields: Any) -> list[Row]:
    return list(read_rows(config(path, **fields), BadRows(skip=False)))


def ids(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.id, row.lang) for row in rows]


def test_rows_come_in_file_order_and_say_where_they_stood(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", aligned("q1", "en"), aligned("q1", "de"), aligned("q2", "en"))
    rows = read(path)
    assert ids(rows) == [("q1", "en"), ("q1", "de"), ("q2", "en")]
    assert [row.where for row in rows] == [f"{path}:{line}" for line in (1, 2, 3)]


def test_globs_lists_and_gzip_read_as_one_dataset(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", aligned("q2", "en"))
    write_lines(tmp_path / "a.jsonl", aligned("q1", "en"))
    last = tmp_path / "deep" / "c.jsonl.gz"
    last.parent.mkdir()
    last.write_bytes(gzip.compress(json.dumps(aligned("q3", "en")).encode()))
    assert ids(read(f"{tmp_path}/*.jsonl, {last}")) == [("q1", "en"), ("q2", "en"), ("q3", "en")]
    assert ids(read(f"{tmp_path}/*/*.gz")) == [("q3", "en")]


def test_each_file_of_a_dataset_may_have_its_own_format(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", aligned("q1", "en"))
    write_lines(tmp_path / "b.jsonl", {"id": "q2", "lang": "de", "question": "Wer?", "passage": "Niemand."})
    assert ids(read(f"{tmp_path}/*.jsonl")) == [("q1", "en"), ("q2", "de")]


def test_squad_files_name_their_language_or_are_told_it(tmp_path: Path) -> None:
    def squad(path: Path, question: str) -> None:
        qas = [{"id": "q1", "question": question}]
        path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "A cave.", "qas": qas}]}]}, indent=1))

    squad(tmp_path / "xquad.de.json", "Wo?")
    squad(tmp_path / "en.json", "Where?")
    assert sorted(ids(read(f"{tmp_path}/*.json"))) == [("q1", "de"), ("q1", "en")]
    squad(tmp_path / "train-v1.1.json", "Where?")
    with pytest.raises(DataError, match=r"train-v1\.1\.json.* set the dataset's lang"):
        read(tmp_path / "train-v1.1.json")
    assert ids(read(tmp_path / "train-v1.1.json", lang="en")) == [("q1", "en")]
    assert ids(read(tmp_path / "en.json", lang="en-GB")) == [("q1", "en-GB")]
    with pytest.raises(
        DataError, match=r"xquad\.de\.json: its name says de, but lang of dataset 'some' is en: leave lang"
    ):
        read(tmp_path / "xquad.de.json", lang="en")


def test_line_ids_do_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    pair = {"l1": "en", "l2": "de", "s1": "Good day.", "s2": "Guten Tag."}
    for folder in ("here", "there"):
        write_lines(tmp_path / folder / "a" / "pairs.jsonl", pair)
        write_lines(tmp_path / folder / "b" / "pairs.jsonl", pair)
    here, there = (read(tmp_path / folder / "*" / "pairs.jsonl") for folder in ("here", "there"))
    assert ids(here) == ids(there)
    assert [row.id for row in here] == ["a/pairs.jsonl:1"] * 2 + ["b/pairs.jsonl:1"] * 2


def test_languages_keeps_only_those_and_drops_halves_of_translations(tmp_path: Path) -> None:
    write_lines(tmp_path / "qa.jsonl", aligned("q1", "en"), aligned("q1", "de"), aligned("q1", "fr"))
    assert ids(read(tmp_path / "qa.jsonl", languages=("de", "en"))) == [("q1", "en"), ("q1", "de")]
    write_lines(
        tmp_path / "bitext.jsonl", {"id": "1", "en": "a", "de": "b", "fr": "c"}, {"id": "2", "en": "a", "fr": "c"}
    )
    assert ids(read(tmp_path / "bitext.jsonl", languages=("de", "en"))) == [("1", "en"), ("1", "de")]


def test_a_language_without_rows_is_an_error_that_names_what_there_is(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", aligned("q1", "en"), aligned("q1", "de"))
    with pytest.raises(DataError, match=r"no usable row in language fr \(dataset 'some' holds de, en\)"):
        read(path, languages=("en", "fr"))


def test_duplicates_are_found_across_files_and_formats(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", aligned("q1", "en"), aligned("q1", "de"))
    second = write_lines(tmp_path / "b.jsonl", aligned("q2", "en"), aligned("q1", "de", query="Wer sonst?"))
    with pytest.raises(DataError, match=r"b\.jsonl:2: duplicate id 'q1' in 'de'"):
        read(f"{first},{second}")
    bad = BadRows(skip=True)
    rows = list(read_rows(config(f"{first},{second}"), bad))
    assert ids(rows) == [("q1", "en"), ("q1", "de"), ("q2", "en")]
    assert rows[1].query == "Who?"
    assert bad.count == 1


def test_line_ids_make_rows_with_meaningless_ids_records_of_their_own(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", aligned("0", "en"), aligned("0", "en"), aligned("0", "de"))
    assert ids(read(path, ids="line")) == [("a.jsonl:1", "en"), ("a.jsonl:2", "en"), ("a.jsonl:3", "de")]
    assert resolve_kinds(config(path, ids="line")) == ("monolingual", "same_language")


def test_skipping_keeps_every_good_row_and_lists_the_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = [json.dumps(aligned(f"q{i}", "en")).encode() for i in range(40)]
    lines = [line for i in range(40) for line in (good[i], b'{"id": "caf\xe9"}' if i % 2 else b"oops")]
    path.write_bytes(b"\n".join(lines))
    bad = BadRows(skip=True)
    assert len(list(read_rows(config(path), bad))) == 40
    assert (bad.count, len(bad.listed)) == (40, 20)
    summary = bad.summary().splitlines()
    assert summary[0] == "40 bad rows skipped:"
    assert summary[1].startswith(f"  {path}:2: malformed JSON")
    assert summary[2].startswith(f"  {path}:4: invalid UTF-8")
    assert summary[-1] == "  … and 20 more"
    with pytest.raises(DataError, match=r"a\.jsonl:2: malformed JSON"):
        read(path)


def test_a_file_of_bad_lines_only_names_the_first_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("id,lang,query\n1,en,who?\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1: malformed JSON"):
        read(path)


def test_no_bad_row_no_summary(tmp_path: Path) -> None:
    bad = BadRows(skip=True)
    list(read_rows(config(write_lines(tmp_path / "a.jsonl", aligned("q1", "en"))), bad))
    assert bad.summary() == ""


def test_skipping_keeps_the_rows_before_the_cut_of_a_gzip(tmp_path: Path) -> None:
    lines = [
        json.dumps(aligned(f"q{i}", "en", passage=f"{i * 7919 % 104729} {i * 31337 % 65537}")) for i in range(3000)
    ]
    whole = gzip.compress("\n".join(lines).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    write_lines(tmp_path / "b.jsonl", aligned("last", "en"))
    bad = BadRows(skip=True)
    rows = list(read_rows(config(f"{tmp_path}/*.jsonl*"), bad))
    assert [row.id for row in rows] == [f"q{i}" for i in range(len(rows) - 1)] + ["last"]
    assert bad.count == 1
    assert "gzip data truncated" in bad.listed[0]
    with pytest.raises(DataError, match="gzip data truncated"):
        read(f"{tmp_path}/*.jsonl*")


def test_an_empty_file_is_a_bad_row_but_an_empty_dataset_is_an_error(tmp_path: Path) -> None:
    empty = write_lines(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match=r"empty\.jsonl:1: .*"):
        read(empty)
    with pytest.raises(DataError, match=r"empty\.jsonl"):
        list(read_rows(config(empty), BadRows(skip=True)))
    full = write_lines(tmp_path / "full.jsonl", aligned("q1", "en"))
    bad = BadRows(skip=True)
    assert ids(list(read_rows(config(f"{full},{empty}"), bad))) == [("q1", "en")]
    assert "the file is empty" in bad.summary()


def test_long_texts_are_cut_and_counted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", aligned("q1", "en", passage="x" * (MAX_TEXT_CHARS + 5)))
    repairs = Repairs()
    (row,) = read_rows(config(path), BadRows(skip=False), repairs)
    assert row.passage is not None
    assert len(row.passage) == MAX_TEXT_CHARS
    assert repairs.summary() == f"1 texts cut at {MAX_TEXT_CHARS} characters (first: {path}:1)"


def test_a_missing_file_is_named_with_its_nearest_neighbours(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", aligned("q1", "en"))
    with pytest.raises(DataError, match=r"trian\.jsonl: no such file.*the nearest names in .* are train\.jsonl"):
        resolve_files(config(tmp_path / "trian.jsonl"))
    with pytest.raises(DataError, match=r"\*\.gz: matches no file.*train\.jsonl"):
        resolve_files(config(tmp_path / "*.gz"))
    with pytest.raises(DataError, match=r"there is no folder .*gone"):
        resolve_files(config(tmp_path / "gone" / "a.jsonl"))
    with pytest.raises(DataError, match=r"is a folder, name its files"):
        resolve_files(config(tmp_path))
    with pytest.raises(DataError, match=r"train\.jsonl: listed twice"):
        resolve_files(config(f"{tmp_path}/train.jsonl,{tmp_path}/*.jsonl"))


def test_the_data_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(tmp_path / "data" / "a.jsonl", aligned("q1", "en"))
    monkeypatch.setenv("HYBRID_JAX_DATA", str(tmp_path / "data"))
    assert resolve_files(config("$HYBRID_JAX_DATA/a.jsonl")) == [path]
    assert resolve_files(config("${HYBRID_JAX_DATA}/*.jsonl")) == [path]
    monkeypatch.delenv("HYBRID_JAX_DATA")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(DataError, match=r"\$HYBRID_JAX_DATA is not set and there is no .*export HYBRID_JAX_DATA="):
        resolve_files(config("$HYBRID_JAX_DATA/a.jsonl"))
    default = write_lines(tmp_path / "shared" / "data" / "a.jsonl", aligned("q1", "en"))
    assert [file.resolve() for file in resolve_files(config("$HYBRID_JAX_DATA/a.jsonl"))] == [default]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"name": "a b"}, "String should match pattern"),
        ({"path": ""}, "empty part between commas"),
        ({"path": "a.jsonl,,b.jsonl"}, "empty part between commas"),
        ({"fromat": "qa"}, "Extra inputs are not permitted"),
        ({"format": "bitext", "kinds": ("monolingual",)}, "format bitext gives only cross_lingual"),
        ({"format": "qa", "ids": "line", "kinds": ("cross_lingual",)}, "with ids: line gives only monolingual"),
        ({"languages": ("de", "xx")}, "unknown language code 'xx'"),
        ({"languages": ()}, "must name something"),
        ({"kinds": ("monolingual", "monolingual")}, "each only once"),
        ({"lang": "xx"}, "unknown language code 'xx'"),
        ({"lang": "en", "format": "bitext"}, "every row of format bitext names its own"),
        ({"path": "demo", "format": "qa"}, "format, ids and columns are for files"),
        ({"format": "squad", "ids": "line"}, "one object per file"),
        ({"format": "squad", "columns": {"query": "q"}}, "squad has one object per file"),
        ({"columns": {"pasage": "text"}}, "columns names 'pasage', which no format has: did you mean 'passage'"),
        ({"columns": {"xyzw": "text"}}, "use id, lang, .* or a language"),
        ({"format": "triplets", "columns": {"passage_id": "doc"}}, "'passage_id', which format triplets does not read"),
        ({"format": "bitext", "columns": {"en": "english", "query": "q"}}, "(bitext has id and languages)"),
    ],
)
def test_a_config_that_cannot_work_is_refused(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        DatasetConfig(**{"name": "some", "path": "a.jsonl", **fields})


def test_what_auto_finds_is_checked_against_the_config_too(tmp_path: Path) -> None:
    bitext = write_lines(tmp_path / "b.jsonl", {"id": "1", "en": "a", "de": "b"})
    with pytest.raises(DataError, match=r"b\.jsonl:1: kinds has 'monolingual', but format bitext gives only"):
        read(bitext, kinds=("monolingual", "cross_lingual"))
    with pytest.raises(DataError, match=r"b\.jsonl:1: dataset 'some' has lang 'en'"):
        read(bitext, lang="en")
    assert resolve_kinds(config(bitext)) == ("cross_lingual",)


def test_a_fingerprint_changes_with_the_bytes_and_not_with_the_folder(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a" / "x.jsonl", aligned("q1", "en"))
    copy = write_lines(tmp_path / "b" / "x.jsonl", aligned("q1", "en"))
    changed = write_lines(tmp_path / "c" / "x.jsonl", aligned("q1", "en", query="Who then?"))
    same, other = fingerprint(config(copy)), fingerprint(config(changed))
    assert fingerprint(config(first)) == same != other
    assert json.loads(json.dumps(same)) == same
    before, after = fingerprint(config(f"demo,{first}")), fingerprint(config(f"{first},demo"))
    assert before != after  # rows are read in this order, and records are numbered in it


def test_the_demo_corpus_is_a_dataset() -> None:
    rows = list(islice(read_rows(config("demo", languages=("de", "th")), BadRows(skip=False)), 50))
    assert {row.lang for row in rows} == {"de", "th"}
    assert resolve_kinds(config("demo")) == ("monolingual", "same_language", "cross_lingual", "aligned")
    with pytest.raises(DataError, match="there is no split 'test', set the dataset's split to train or heldout"):
        read("demo", split="test")


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL_TRAIN)
def test_the_first_rows_of_every_real_file_are_good(real_data: Path, name: str) -> None:
    dataset = config(real_data / "train" / f"{name}.jsonl.gz")
    repairs = Repairs()
    rows = list(islice(read_rows(dataset, BadRows(skip=False), repairs), 500))
    assert len(rows) == 500
    assert ("monolingual" in resolve_kinds(dataset)) == name.startswith("qa_")
    assert repairs.cut == 0


@pytest.mark.real_data
def test_native_questions_need_line_ids(real_data: Path, tmp_path: Path) -> None:
    # The file repeats TyDiQA's ids (one id, many questions) and has two lines without a question. Its doubtful lines
    # only: checking every call's types makes reading slow under pytest.
    excerpt = tmp_path / "qa_native.jsonl"
    with gzip.open(real_data / "train" / "qa_native.jsonl.gz", "rb") as lines:
        doubtful = [line for line in lines if b'"question": ""' in line or b'"id": "tydi-train-' in line]
    excerpt.write_bytes(b"".join(doubtful[:600]))
    given, by_line = BadRows(skip=True), BadRows(skip=True)
    assert len(list(read_rows(config(excerpt), given))) + given.count == 600
    assert "duplicate id 'tydi-train-" in given.summary()
    repairs = Repairs()
    by_line_rows = list(read_rows(config(excerpt, ids="line"), by_line, repairs))
    assert (len(by_line_rows), repairs.blank) == (600, sum(row.query is None for row in by_line_rows)) == (600, 2)
    assert by_line.count == 0 < given.count


@pytest.mark.real_data
def test_questions_without_passages_are_refused_by_name(real_data: Path) -> None:
    with pytest.raises(DataError, match=r"questions_parallel_mkqa\.jsonl\.gz:1: .*no passages"):
        read(real_data / "train" / "questions_parallel_mkqa.jsonl.gz")


def test_a_title_that_gives_the_positive_away_is_counted(tmp_path: Path) -> None:
    def row(title: str | None, *negatives: str | None) -> dict[str, Any]:
        others = [{"text": "Somebody.", "title": negative} for negative in negatives]
        return {"title": title, "negatives": others}

    uneven = [row("Odyssey", None), row("Odyssey", None, None), row(None, "Iliad")]
    even = [row("Odyssey", "Iliad"), row("Odyssey", None, "Iliad"), row(None, None), row("Odyssey")]
    lines = [aligned(f"q{i}", "en") | changes for i, changes in enumerate([*even, *uneven])]
    repairs = Repairs()
    list(read_rows(config(write_lines(tmp_path / "a.jsonl", *lines)), BadRows(skip=False), repairs))
    assert repairs.summary() == (
        "3 rows put a title before the positive and none before the negatives (or the reverse): the title gives the "
        f"positive away; give negatives as objects with a title (first: {tmp_path}/a.jsonl:5)"
    )


@pytest.mark.parametrize("name", ["train.jsonl", "*.jsonl", "train.jsonl,demo"])
def test_a_split_of_plain_files_is_refused(name: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", aligned("q1", "en"))
    path = f"{tmp_path}/{name}"
    assert resolve_kinds(config(path))
    for look in (fingerprint, resolve_kinds, lambda dataset: next(read_rows(dataset, BadRows(skip=False)))):
        with pytest.raises(DataError, match=r"train\.jsonl: a plain file has no splits, .* 'heldout': leave it out \("):
            look(config(path, split="heldout"))


def test_the_language_of_the_demo_is_no_option() -> None:
    for path in ("demo", "demo,a.jsonl"):
        with pytest.raises(ValidationError, match=r"every row of the demo names its own: .* languages: \[de\]"):
            config(path, lang="deu")


def test_half_of_a_surrogate_pair_in_memory_is_named_by_its_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^record 2 of mine: holds half of a surrogate pair .* remove it$"):
        rows_in_memory([aligned("q1", "en"), aligned("q2", "en", "\ud800")], "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []
