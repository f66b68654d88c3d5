"""Pairs are in the languages of their kind, chosen by weight; hard negatives are in the passage's language."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from hybrid_jax.data.hashing import mix
from hybrid_jax.data.pairing import Pairs, pair_part
from hybrid_jax.data.records import Passage, Row
from hybrid_jax.data.schedule import KINDS, Kind, Part
from hybrid_jax.data.store import Store

MakeStore = Callable[[Iterable[Row]], Store]
EQUAL: dict[str, float] = dict.fromkeys(("de", "en", "th", "zh"), 1.0)


def _rows(records: int, negatives: int = 0) -> Iterator[Row]:
    """Records in three or four languages; in every third record Thai has only a passage, English only a query."""
    for i in range(records):
        for lang in ("de", "en", "th", "zh")[: 3 + i % 2]:
            query = None if (lang, i % 3) == ("th", 0) else f"{lang} query {i}"
            passage = None if (lang, i % 3) == ("en", 0) else f"{lang} passage {i}"
            others = tuple(Passage(f"{lang} not {i}, {n}") for n in range(negatives))
            yield Row(f"r{i}", lang, query, passage, None, others)


def _pairs(
    store: Store, kind: Kind, weights: dict[str, float] | None = None, hard_negatives: int = 0, repeats: int = 1
) -> tuple[Pairs, np.ndarray]:
    """All rows of a kind's pool (monolingual: of German), `repeats` times with other random numbers."""
    pool = store.pools(kind, np.ones(len(store.record_offsets) - 1, bool))["de" if kind == "monolingual" else None]
    rows = np.tile(np.arange(len(pool)), repeats)
    random = mix(np.arange(len(rows), dtype=np.uint64))
    part = Part(kind, "de" if kind == "monolingual" else None, rows, random)
    return pair_part(store, pool, part, weights or EQUAL, hard_negatives), pool[rows]


def _check_languages(store: Store, pairs: Pairs) -> None:
    """Every text is the one that its record holds in the language said."""
    for i, record in enumerate(pairs.records):
        number = store.ids[record].removeprefix("r")
        query_lang, passage_lang = store.languages[pairs.query_langs[i]], store.languages[pairs.passage_langs[i]]
        assert store.texts[pairs.queries[i]] == f"{query_lang} query {number}"
        assert store.texts[pairs.passages[i, 0]] == f"{passage_lang} passage {number}"


def test_monolingual_pairs_are_the_entries_of_one_language(make_store: MakeStore):
    store = make_store(_rows(12))
    pairs, entries = _pairs(store, "monolingual")
    _check_languages(store, pairs)
    assert {store.languages[i] for i in (*pairs.query_langs, *pairs.passage_langs)} == {"de"}
    assert np.array_equal(pairs.records, store.entries["record"][entries])


def test_same_language_pairs_are_mixed_but_each_in_one_language(make_store: MakeStore):
    store = make_store(_rows(12))
    pairs, records = _pairs(store, "same_language", repeats=8)
    _check_languages(store, pairs)
    assert np.array_equal(pairs.query_langs, pairs.passage_langs)
    assert len(np.unique(pairs.query_langs)) == 4
    assert np.array_equal(pairs.records, records)


def test_cross_lingual_pairs_never_share_a_language(make_store: MakeStore):
    store = make_store(_rows(12))
    pairs, records = _pairs(store, "cross_lingual", repeats=20)
    _check_languages(store, pairs)
    assert (pairs.query_langs != pairs.passage_langs).all()
    assert len(set(zip(pairs.query_langs.tolist(), pairs.passage_langs.tolist(), strict=True))) == 12
    assert np.array_equal(pairs.records, records)


@pytest.mark.parametrize("weights", [EQUAL, {"de": 1.0, "en": 3.0, "th": 2.0, "zh": 1.0}], ids=["equal", "weighted"])
def test_language_pairs_come_in_proportion_to_both_weights(make_store: MakeStore, weights: dict[str, float]):
    store = make_store(row for row in _rows(2) if row.id == "r1")  # all four languages, both sides
    n = 6000
    pairs, _ = _pairs(store, "cross_lingual", weights, repeats=n)
    names = [store.languages[i] for i in pairs.query_langs], [store.languages[i] for i in pairs.passage_langs]
    found = Counter(zip(*names, strict=True))
    chance = {(q, p): weights[q] * weights[p] for q in EQUAL for p in EQUAL if q != p}
    for choice, weight in chance.items():
        share = weight / sum(chance.values())
        assert abs(found[choice] - n * share) < 5 * np.sqrt(n * share)


def test_pairs_of_one_language_come_in_proportion_to_its_weight(make_store: MakeStore):
    store, n = make_store(row for row in _rows(2) if row.id == "r1"), 6000
    pairs, _ = _pairs(store, "same_language", {"de": 1.0, "en": 3.0, "th": 2.0, "zh": 1.0}, repeats=n)
    found = Counter(store.languages[i] for i in pairs.query_langs)
    for language, share in {"de": 1 / 7, "en": 3 / 7, "th": 2 / 7, "zh": 1 / 7}.items():
        assert abs(found[language] - n * share) < 5 * np.sqrt(n * share)


def test_pairs_follow_their_random_numbers(make_store: MakeStore):
    store = make_store(_rows(12))
    pool = store.pools("cross_lingual", np.ones(12, bool))[None]

    def queries(random: np.ndarray) -> list[int]:
        return pair_part(store, pool, Part("cross_lingual", None, np.arange(12), random), EQUAL).queries.tolist()

    random = mix(np.arange(12, dtype=np.uint64))
    assert queries(random) == queries(random) != queries(mix(random))
    # A row's pair depends on its own random number alone: this is why hosts may cut a batch anywhere.
    other = np.where(np.arange(12) < 6, random, mix(random))
    assert queries(other)[:6] == queries(random)[:6]


@pytest.mark.parametrize("extreme", [0, 2**64 - 1])
def test_the_smallest_and_largest_random_numbers_give_pairs_too(make_store: MakeStore, extreme: int):
    store = make_store(_rows(12))
    pool = store.pools("cross_lingual", np.ones(12, bool))[None]
    random = np.full(12, extreme, np.uint64)
    pairs = pair_part(store, pool, Part("cross_lingual", None, np.arange(12), random), EQUAL)
    _check_languages(store, pairs)
    assert (pairs.query_langs != pairs.passage_langs).all()


@pytest.mark.parametrize("kind", KINDS)
def test_hard_negatives_are_distinct_and_in_the_language_of_the_passage(make_store: MakeStore, kind: Kind):
    store = make_store(_rows(12, negatives=5))
    pairs, _ = _pairs(store, kind, hard_negatives=3, repeats=4)
    assert pairs.passages.shape == pairs.passage_groups.shape == (len(pairs.records), 4)
    used = set()
    for i, record in enumerate(pairs.records):
        texts = [store.texts[number] for number in pairs.passages[i, 1:]]
        lang = store.languages[pairs.passage_langs[i]]
        start = f"{lang} not {store.ids[record].removeprefix('r')}, "
        assert all(text.startswith(start) for text in texts)
        assert len(set(texts)) == 3
        used |= {text.removeprefix(start) for text in texts}
    assert used == set("01234")
    assert not (pairs.passage_groups[:, 1:] == pairs.groups[:, None]).any()


@pytest.mark.parametrize("held", [0, 1, 2])
def test_missing_hard_negatives_are_filled_with_the_positive(make_store: MakeStore, held: int):
    """So the loss masks them: their group is the query's."""
    store = make_store(_rows(6, negatives=held))
    pairs, _ = _pairs(store, "cross_lingual", hard_negatives=3)
    assert (pairs.passages[:, 1 + held :] == pairs.passages[:, :1]).all()
    assert (pairs.passages[:, 1 : 1 + held] != pairs.passages[:, :1]).all()
    assert (pairs.passage_groups[:, 1 + held :] == pairs.groups[:, None]).all()


def test_groups_are_those_of_the_passages(make_store: MakeStore):
    rows = [*_rows(6, negatives=1), Row("copy", "de", "another query", "th passage 4"), Row("copy", "zh", "x", "y")]
    store = make_store(rows)
    pairs, _ = _pairs(store, "cross_lingual", hard_negatives=1, repeats=3)
    by_record: dict[str, set[int]] = {}
    for record, group in zip(pairs.records, pairs.groups.tolist(), strict=True):
        by_record.setdefault(store.ids[record], set()).add(group)
    assert all(len(groups) == 1 for groups in by_record.values())
    assert by_record["copy"] == by_record["r4"]
    assert len(set.union(*by_record.values())) == 6
    assert np.array_equal(pairs.passage_groups[:, 0], pairs.groups)
