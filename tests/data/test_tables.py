"""CSV, TSV, Parquet and Arrow files, written by the libraries that people use, give the rows of the same JSON lines."""

import csv
import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.records import DataError, Row
from hybrid_jax.data.sources import BadRows, read_rows
from hybrid_jax.data.tables import first_record, read_records

RECORDS: list[dict[str, Any]] = [
    {"id": "1", "lang": "de", "query": 'Wer sagte "Nein"?', "passage": "Er, sie\nund es; alle.", "title": None},
    {"id": "1", "lang": "th", "query": "ใคร", "passage": "เขา", "title": "ชื่อ"},
    {"id": "2", "lang": "de", "query": '"Ja"', "passage": None, "title": None},
    {"id": "2", "lang": "th", "query": None, "passage": "ไม่", "title": None},
]


def jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def json_list(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")


def separated(path: Path, records: list[dict[str, Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(records[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(records)


def excel(path: Path, records: list[dict[str, Any]]) -> None:
    """As Excel saves it in Germany: a byte order mark, and semicolons."""
    separated(path, records, ";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def zipped(path: Path, records: list[dict[str, Any]]) -> None:
    separated(path, records)
    path.write_bytes(gzip.compress(path.read_bytes()))


def parquet(path: Path, records: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path, row_group_size=2)


def saved(path: Path, records: list[dict[str, Any]]) -> None:
    datasets.Dataset.from_list(records).save_to_disk(path, num_shards=2)


def saved_splits(path: Path, records: list[dict[str, Any]]) -> None:
    splits = datasets.DatasetDict()
    splits["train"], splits["test"] = datasets.Dataset.from_list(records), datasets.Dataset.from_list(records[:1])
    splits.save_to_disk(path)


def tsv(path: Path, records: list[dict[str, Any]]) -> None:
    separated(path, [{name: (text or "").replace("\n", " ") for name, text in r.items()} for r in records], "\t")


WRITERS = {
    "rows.jsonl": jsonl,
    "rows.json": json_list,
    "rows.csv": separated,
    "excel.csv": excel,
    "rows.csv.gz": zipped,
    "rows.tsv": tsv,
    "rows.parquet": parquet,
    "saved": saved,
    "splits": saved_splits,
}


def config(path: Path | str, **fields: Any) -> DatasetConfig:
    return DatasetConfig(name="some", path=str(path), **fields)


def texts(rows: list[Row]) -> list[tuple[str | None, ...]]:
    return [
        tuple(value and value.replace("\n", " ") for value in (r.id, r.lang, r.query, r.passage, r.title)) for r in rows
    ]


def read(path: Path | str, **fields: Any) -> list[Row]:
    return list(read_rows(config(path, **fields), BadRows(skip=False)))


@pytest.mark.parametrize(("name", "write"), WRITERS.items())
def test_every_kind_of_file_gives_the_same_rows(
    name: str, write: Callable[[Path, list[dict[str, Any]]], None], tmp_path: Path
) -> None:
    write(tmp_path / name, RECORDS)
    expected = [tuple(value and value.replace("\n", " ") for value in record.values()) for record in RECORDS]
    assert texts(read(tmp_path / name)) == expected


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet", "saved"])
def test_columns_language_and_ids_are_given_by_the_config(name: str, tmp_path: Path) -> None:
    records = [{"question": f"who {n}?", "context": f"they {n}", "title": "T", "other": "x"} for n in range(3)]
    WRITERS[name](tmp_path / name, records)
    rows = read(tmp_path / name, columns={"query": "question", "passage": "context"}, lang="eng", ids="line")
    assert [(row.lang, row.query, row.passage, row.title) for row in rows] == [
        ("en", f"who {n}?", f"they {n}", "T") for n in range(3)
    ]
    assert len({row.id for row in rows}) == 3


@pytest.mark.parametrize(
    ("record", "columns", "message"),
    [
        ({"query": "a", "positive": "b", "doc": 1}, {"passage_id": "doc"}, "'passage_id', which format triplets does"),
        ({"query": "a", "pos": ["b"], "number": 1}, {"id": "number"}, "'id', which format tevatron does not read"),
        ({"question": "a", "passage": "b", "q": "c"}, {"query": "q"}, "'query', which format qa does not read"),
        ({"l1": "en", "l2": "de", "s1": "a", "s2": "b", "n": 1}, {"id": "n"}, "(bitext_pairs has l1, l2, s1, s2)"),
    ],
)
def test_a_named_column_that_would_be_ignored_is_refused(record, columns, message, tmp_path: Path) -> None:
    parquet(tmp_path / "rows.parquet", [record])
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path / "rows.parquet", columns=columns, lang=None if "l1" in record else "en")


def test_a_bad_first_row_can_be_skipped_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = [{"id": f"q{n}", "lang": "en", "query": f"who {n}?", "passage": f"they {n}"} for n in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [{"text": "no query"}, *good]), encoding="utf-8")
    bad_rows = BadRows(skip=True)
    assert [row.query for row in read_rows(config(path), bad_rows)] == ["who 0?", "who 1?"]
    assert len(bad_rows.listed) == 1
    with pytest.raises(DataError, match=f"{path}:1: missing key 'query'"):
        read(path)


def test_a_bitext_has_a_column_for_each_language_and_others_are_ignored_where_these_are_named(tmp_path: Path) -> None:
    records = [{"english": "a", "german": "b", "score": 0.5}, {"english": "c", "german": None, "score": 0.1}]
    parquet(tmp_path / "rows.parquet", records)
    rows = read(tmp_path / "rows.parquet", columns={"en": "english", "deu": "german"})
    assert [(row.lang, row.passage) for row in rows] == [("en", "a"), ("de", "b")]
    parquet(tmp_path / "opus.parquet", [{"translation": {"en": "a", "id": "b"}}])  # as opus-100 has it, Indonesian
    assert [(row.lang, row.passage) for row in read(tmp_path / "opus.parquet")] == [("en", "a"), ("id", "b")]
    rows = read(tmp_path / "opus.parquet", columns={"en": "translation.en", "ms": "translation.id"})
    assert [(row.lang, row.passage) for row in rows] == [("en", "a"), ("ms", "b")]


def test_lists_and_objects_of_parquet_are_negatives(tmp_path: Path) -> None:
    parquet(tmp_path / "rows.parquet", [{"query": "a", "pos": ["b"], "neg": ["c", "d"]}])
    (row,) = read(tmp_path / "rows.parquet", lang="en")
    assert (row.passage, [negative.text for negative in row.negatives]) == ("b", ["c", "d"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"query,passage\na,b,c\n", "a.csv:2: 3 values for 2 columns (query, passage), correct the line"),
        ("a.csv", b'query,passage\n"a"b,c\n', "a.csv:2: malformed CSV ("),
        (
            "a.csv",
            b'id,lang,query,passage\n1,en,a,b\n"2,en,c,d\n3,en,e,f\n',
            "a.csv:3 to 4: malformed CSV (unexpected end of data)",
        ),
        ("a.csv", b"query,query\na,b\n", "a.csv:1: two columns are called 'query', rename one"),
        ("a.csv", b"query,passage\na,\xff\n", "a.csv:1 or soon after: invalid UTF-8 (b'\\xff\\n')"),
        ("a.csv", b"", "a.csv:1: the file is empty"),
        (
            "a.csv",
            b"query,passage\na,b\n",
            "a.csv:2: missing column 'id' (columns here: query, passage), add",
        ),
        (
            "a.csv",
            b"id,query,lang\n1,a,en\n",
            "a.csv:2: missing column 'passage' (columns here: id, query, lang), n",
        ),
        ("a.csv", b"x,y\na,b\n", "a.csv:1: cannot tell the format from the keys (x, y), say which is which"),
        ("a.csv.gz", gzip.compress(b"lang,id,query,passage\nen,1,a,b\n", mtime=0)[:-9], "gzip data truncated"),
        ("a.tsv", b"query\tpassage\na\n", "a.tsv:2: 1 values for 2 columns"),
        ("a.json", b'[{"id": 1}, 7]', "a.json:1: cannot tell the format from the keys (id)"),
        ("a.json", b' [7, {"id": 1}]', "a.json:1: cannot tell the format from the keys (id)"),
        ("a.json", b'[{"id": 1, "lang": "en", "query": "a", "passage": "b"}, 7]', "a.json row 2: expected an object"),
        ("a.json", b'[{"id": 1,\n}]', "a.json:2: malformed JSON ("),
        ("a.xlsx", b"PK", "a.xlsx: a spreadsheet, which is not read: save it as CSV or Parquet"),
        ("a.parquet", b"PAR1", "a.parquet: cannot be read ("),
        ("a.arrow", b"no arrow at all", "a.arrow: cannot be read ("),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        read(tmp_path / name, ids="given")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_bad_row_of_parquet_is_named_by_its_number_and_column_and_can_be_skipped(tmp_path: Path) -> None:
    records = [{"id": n, "lang": "en" if n != 2 else "cz", "query": "a", "passage": "b"} for n in range(4)]
    parquet(tmp_path / "rows.parquet", records)
    with pytest.raises(DataError, match=r"rows\.parquet row 3: 'lang': unknown language code 'cz', did you mean 'cs'"):
        read(tmp_path / "rows.parquet")
    bad = BadRows(skip=True)
    assert [row.id for row in read_rows(config(tmp_path / "rows.parquet"), bad)] == ["0", "1", "3"]
    assert bad.count == 1


def test_a_cell_that_never_ends_is_more_than_a_row_to_skip(tmp_path: Path) -> None:
    lines = ["query,passage", "a,b", '"c,d', *(f"q{n},p{n}" for n in range(1000))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    bad = BadRows(skip=True)
    with pytest.raises(DataError, match=r"rows\.csv:3 to 1003: malformed CSV \(unexpected end of data\)"):
        list(read_rows(config(tmp_path / "rows.csv", lang="en", ids="line"), bad))
    (tmp_path / "rows.csv").write_text("\n".join([*lines[:2], '"c"d,e', "f,g"]))
    assert [row.query for row in read_rows(config(tmp_path / "rows.csv", lang="en", ids="line"), bad)] == ["a", "f"]


def test_flags_of_machine_translation_are_no_maltese(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,en,de,mt\n1,hello,hallo,True\n2,bye,tschüss,false\n3,yes,ja,iva\n")
    languages = [(row.id, row.lang) for row in read(tmp_path / "rows.csv")]
    assert languages == [
        *((n, lang) for n in "12" for lang in ("en", "de")),
        *(("3", lang) for lang in ("en", "de", "mt")),
    ]


def test_a_column_that_the_config_names_must_be_there(tmp_path: Path) -> None:
    parquet(tmp_path / "rows.parquet", [{"question": "a", "context": "b"}])
    with pytest.raises(DataError) as raised:
        read(tmp_path / "rows.parquet", columns={"query": "qestion", "passage": "context"})
    assert str(raised.value) == (
        f"{tmp_path}/rows.parquet row 1: no column 'qestion' (columns here: question, context), did you mean "
        f"'question'?: correct the dataset's columns"
    )


def test_splits_of_a_saved_folder_are_named_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    saved_splits(tmp_path / "saved", RECORDS)
    assert len(read(tmp_path / "saved", split="test")) == 1
    with pytest.raises(DataError, match=r"no split 'dev' \(splits: train, test\), set the dataset's split to train"):
        read(tmp_path / "saved", split="dev")
    next((tmp_path / "saved" / "train").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match=r"data-00000-of-00001\.arrow is missing, save it again"):
        read(tmp_path / "saved")
    (tmp_path / "saved" / "train" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"no complete folder of save_to_disk"):
        read(tmp_path / "saved")


def test_a_folder_of_other_files_says_how_to_name_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", RECORDS)
    with pytest.raises(DataError) as raised:
        read(tmp_path)
    assert str(raised.value).endswith(f"is a folder, name its files (e.g. {tmp_path}/**/*.parquet)")
    assert len(read(tmp_path / "**" / "*.parquet")) == len(RECORDS)


def test_a_dataset_of_the_hub_is_read_from_what_the_library_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "faq").mkdir()
    parquet(tmp_path / "faq" / "train.parquet", RECORDS)  # the library takes a folder for a dataset of the hub
    assert len(read(f"hub:{tmp_path}/faq")) == len(RECORDS)
    with pytest.raises(DataError, match=r"no split 'test' \(splits: train\)"):
        read(f"hub:{tmp_path}/faq", split="test")


def test_without_a_network_a_dataset_of_the_hub_is_an_error_that_says_how_to_download_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as raised:
        read("hub:nobody/nothing-of-that-name")
    assert "hub:nobody/nothing-of-that-name: cannot be had (" in str(raised.value)
    assert "hf download --repo-type dataset nobody/nothing-of-that-name --local-dir FOLDER" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_a_library_the_error_names_the_extra_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet(tmp_path / "rows.parquet", RECORDS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        DataError, match=r"rows\.parquet: reading it needs pyarrow, type: pip install 'hybrid_jax\[tables"
    ):
        read(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"hub:faq: reading it needs datasets, type: pip install 'hybrid_jax\[datasets"):
        read("hub:faq")


def test_the_first_record_is_found_behind_bad_rows_but_not_searched_for_forever(tmp_path: Path) -> None:
    for name, bad, good, record in (
        ("a.jsonl", "oops\n", '{"a": 1}\n', {"a": 1}),
        ("a.csv", "1,2\n", "1\n", {"a": "1"}),
    ):
        head = "a\n" if name.endswith("csv") else ""
        (tmp_path / name).write_text(head + bad + good)
        assert first_record(tmp_path / name) == record
        (tmp_path / name).write_text(head + bad * 2000 + good)
        assert first_record(tmp_path / name) is None


def test_lines_of_a_csv_are_numbered_as_editors_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'a,b\r\n"1\r\n1",2\r\n\r\n3,\r\n')
    assert list(read_records(tmp_path / "a.csv", BadRows(skip=False))) == [
        (2, {"a": "1\r\n1", "b": "2"}),
        (5, {"a": "3", "b": None}),
    ]


def test_a_csv_may_begin_with_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\r\n  \r\na;b\r\n1;2,3\r\n")
    assert list(read_records(tmp_path / "a.csv", BadRows(skip=False))) == [(4, {"a": "1", "b": "2,3"})]


def test_one_saved_dataset_has_no_splits_but_the_one_that_it_was(tmp_path: Path) -> None:
    saved(tmp_path / "saved", RECORDS)
    with pytest.raises(DataError, match=r"saved: one dataset without splits, but split is 'test': leave .* split out"):
        read(tmp_path / "saved", split="test")
    datasets.Dataset.from_list(RECORDS, split=datasets.Split.TEST).save_to_disk(tmp_path / "test")
    assert len(read(tmp_path / "test", split="test")) == len(read(tmp_path / "test")) == len(RECORDS)
