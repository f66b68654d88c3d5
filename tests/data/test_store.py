"""A store gives back what was written, all or nothing, and knows which passages are the same up to translation."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.data.records import DataError, Passage, Row
from hybrid_jax.data.schedule import Kind
from hybrid_jax.data.store import ENTRY, Store, pool_sizes
from hybrid_jax.data.store_writer import write_store

MakeStore = Callable[[Iterable[Row]], Store]


def _aligned(records: int, languages: str = "de en th") -> Iterator[Row]:
    for i in range(records):
        for lang in languages.split():
            yield Row(f"r{i}", lang, f"{lang} query {i}", f"{lang} passage {i}", where=f"f.jsonl:{i}")


def _passage_groups(store: Store) -> dict[tuple[str, str], int]:
    """{(record id, language): group of its passage}."""
    held = store.entries[store.entries["passage"] >= 0]
    return {
        (store.ids[entry["record"]], store.languages[entry["lang"]]): int(store.text_group[entry["passage"]])
        for entry in held
    }


def test_a_store_gives_back_its_rows(make_store: MakeStore):
    rows = [
        Row("a", "de", "wer?", "Er.", title="Titel", negatives=(Passage("Sie."), Passage("Es."))),
        Row("b", "th", "ใคร", None),
        Row("a", "en", None, "he\nhimself"),
        Row("b", "en", "who?", "Er."),
    ]
    store = make_store(rows)
    found = {}
    for entry in store.entries:
        first = int(entry["first_negative"])
        negatives = store.negatives[first : first + entry["negatives"]]
        found[store.ids[entry["record"]], store.languages[entry["lang"]]] = (
            store.texts[entry["query"]] if entry["query"] >= 0 else None,
            store.texts[entry["passage"]] if entry["passage"] >= 0 else None,
            [store.texts[number] for number in negatives],
        )
    assert found == {
        ("a", "de"): ("wer?", "Titel Er.", ["Sie.", "Es."]),
        ("a", "en"): (None, "he\nhimself", []),
        ("b", "th"): ("ใคร", None, []),
        ("b", "en"): ("who?", "Er.", []),
    }
    assert store.record_offsets.tolist() == [0, 2, 4]
    assert {key: store.meta[key] for key in ("name", "records", "entries", "texts")} == {
        "name": "made",
        "records": 2,
        "entries": 4,
        "texts": 8,
    }


def test_equal_texts_are_kept_once(make_store: MakeStore):
    store = make_store([Row("a", "en", "same", "same"), Row("a", "de", "same", "other", negatives=(Passage("same"),))])
    assert list(store.texts) == ["same", "other"]


def test_arrays_are_mapped_not_read(make_store: MakeStore):
    store = make_store(_aligned(4))
    for array in (store.entries, store.record_offsets, store.text_group):
        assert isinstance(array, np.memmap)
    assert store.entries.dtype == ENTRY


def test_the_same_text_the_same_id_and_translations_link_passages(make_store: MakeStore):
    groups = _passage_groups(
        make_store(
            [
                Row("a", "en", "q1", "shared text"),
                Row("a", "de", "q2", "geteilter Text"),
                Row("b", "en", "q3", "shared text"),  # the text of a
                Row("b", "th", "q4", "ข้อความ", passage_id="p"),
                Row("c", "zh", "q5", "文本", passage_id="p"),  # the passage id of b: a chain to a's German
                Row("d", "en", "shared text", "unrelated"),  # as a query the text links nothing
                Row("e", "en", "q6", "another", negatives=(Passage("shared text"),)),  # nor as a negative
                Row("f", "de", "q7", None),
            ]
        )
    )
    linked = {groups[key] for key in groups if key[0] in "abc"}
    assert len(linked) == 1
    assert len({groups["d", "en"], groups["e", "en"], *linked}) == 3


def test_a_negative_that_is_another_passage_has_its_group(make_store: MakeStore):
    store = make_store(
        [Row("a", "en", "q1", "one"), Row("b", "en", "q2", "two", negatives=(Passage("one"), Passage("three")))]
    )
    negatives = store.text_group[store.negatives]
    assert negatives[0] == store.record_group[0]
    assert negatives[1] not in store.record_group


def test_pools_by_kind(make_store: MakeStore):
    rows = [
        Row("both", "de", "q", "p"),
        Row("both", "en", "q1", "p1"),
        Row("alone", "en", "q2", "p2"),
        Row("split", "en", "q3", None),
        Row("split", "de", None, "p4"),
        Row("queries", "en", "q5", None),
        Row("queries", "de", "q6", None),
    ]
    store = make_store(rows)
    every = np.ones(4, bool)
    named: dict[Kind, dict[str | None, np.ndarray]] = {kind: store.pools(kind, every) for kind in store.kinds}
    assert list(named["monolingual"]) == ["de", "en"]
    for lang, entries in named["monolingual"].items():
        assert {store.languages[number] for number in store.entries[entries]["lang"]} == {lang}
    assert [store.ids[i] for i in store.entries[named["monolingual"]["en"]]["record"]] == ["both", "alone"]
    assert [store.ids[i] for i in named["same_language"][None]] == ["both", "alone"]
    assert [store.ids[i] for i in named["cross_lingual"][None]] == ["both", "split"]
    assert [store.ids[i] for i in named["aligned"][None]] == ["both"]
    sizes = pool_sizes(store, named)
    assert (dict(sizes.monolingual), sizes.same_language, sizes.cross_lingual) == ({"de": 1, "en": 2}, 2, 2)
    assert sizes.aligned.tolist() == [2]
    only = np.array([False, True, False, False])
    assert store.pools("cross_lingual", only)[None].tolist() == []
    assert [len(rows) for rows in store.pools("monolingual", only).values()] == [1]


def test_a_kind_that_the_dataset_is_not_used_for_has_no_pool(make_store: MakeStore):
    folder = make_store(_aligned(3)).folder
    assert Store(folder, ("cross_lingual",)).pools("monolingual", np.ones(3, bool)) == {}


def test_held_out_records_take_their_whole_group_along(make_store: MakeStore):
    def rows() -> Iterator[Row]:
        for i in range(1200):  # every three records share a passage in one of the two languages
            yield Row(f"r{i}", "en", f"q{i}", f"passage {i // 3}" if i % 2 else f"own {i}")
            yield Row(f"r{i}", "de", f"f{i}", f"eigen {i}" if i % 2 else f"Absatz {i // 3}")

    store = make_store(rows())
    held_out = store.held_out(0.2)
    assert not set(store.record_group[held_out]) & set(store.record_group[~held_out])
    groups = len(np.unique(store.record_group))
    assert groups < 900  # or there would be nothing to keep together
    assert 0.1 < held_out.mean() < 0.3
    assert not store.held_out(0.0).any()
    assert (held_out <= store.held_out(0.5)).all()  # a larger share only adds to it


def test_what_is_held_out_depends_on_ids_alone(make_store: MakeStore):
    """Not on the order of the rows, nor on what else the dataset holds."""
    one, other = make_store(_aligned(200)), make_store(reversed(list(_aligned(300))))
    held_out = [{store.ids[i] for i in np.flatnonzero(store.held_out(0.3))} for store in (one, other)]
    assert held_out[0] == held_out[1] & set(one.ids)
    assert held_out[0]


def test_a_reading_that_fails_leaves_nothing(tmp_path: Path):
    def rows() -> Iterator[Row]:
        yield from _aligned(5)
        raise DataError("f.jsonl:6: bad")

    with pytest.raises(DataError, match=r"f\.jsonl:6"):
        write_store(rows(), tmp_path / "cache" / "store", dict)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_rows_at_all_leave_nothing(tmp_path: Path):
    with pytest.raises(DataError, match="without rows"):
        write_store([], tmp_path / "store", dict)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once_leave_one_whole_store(tmp_path: Path):
    folder = tmp_path / "store"

    def rows() -> Iterator[Row]:
        yield from _aligned(3)
        write_store(_aligned(3), folder, dict)  # the other process is faster
        yield from _aligned(1, "ru")

    write_store(rows(), folder, dict)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert Store(folder).languages == ["de", "en", "th"]


def test_records_that_serve_some_kinds_only_are_counted(make_store: MakeStore):
    store = make_store(
        [
            Row("both", "de", "q", "p"),
            Row("both", "en", "q", "p"),
            Row("one language", "de", "q", "p"),
            Row("across", "de", "q", None),
            Row("across", "en", None, "p"),
            Row("queries", "de", "q", None),
            Row("queries", "en", "q", None),
        ]
    )
    assert store.describe_uses(("monolingual", "cross_lingual")) == [
        "1 records serve monolingual only: their query and passage are in one language",
        "1 records serve cross_lingual only: no language has both their query and their passage",
        "1 records serve no batch: a query or a passage is missing",
    ]
    assert store.describe_uses(("monolingual", "same_language")) == [
        "2 records serve no batch: no language has both their query and their passage",
    ]
    assert store.describe_uses(("cross_lingual",)) == [
        "2 records serve no batch: no query and passage in two languages",
    ]
    assert store.describe_uses(("aligned",)) == []
    (across,) = store.pools("cross_lingual", np.ones(4, bool)).values()
    assert [store.ids[record] for record in across] == ["both", "across"]
