"""Aligned batches: which records they hold, in which languages, and that they depend on the seed and step alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import jax
import numpy as np
import pytest

from hybrid_jax.data.describe import preview
from hybrid_jax.data.hashing import mix
from hybrid_jax.data.pairing import Pairs, pair_part
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.records import Row
from hybrid_jax.data.schedule import MixtureConfig, Part, Pools, Schedule
from hybrid_jax.data.store import Store

MakeStore = Callable[[Iterable[Row]], Store]
LANGUAGES = ("de", "en", "th", "zh", "hi")
EQUAL: dict[str, float] = dict.fromkeys(LANGUAGES, 1.0)
BATCH, STEPS = 32, 24
SIZES = {"every record in five languages": [5] * 80, "two to six languages": [2 + n * n % 5 for n in range(83)]}


def _schedule(languages: list[int], group_size: int = 4) -> Schedule:
    mixture = MixtureConfig(weights={"aligned": 1}, group_size=group_size)
    return Schedule(mixture, {"one": Pools({}, 0, 0, np.array(languages))}, BATCH, seed=0)


def _runs(rows: np.ndarray) -> list[tuple[int, int]]:
    """Each record of a batch, and how many pairs it gives."""
    return [(record, len(list(run))) for record, run in groupby(rows.tolist())]


@pytest.mark.parametrize("languages", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("group_size", [2, 4, 8])
def test_each_record_gives_a_pair_in_each_language_up_to_the_group_size(languages: list[int], group_size: int):
    for step in range(STEPS):
        runs = _runs(_schedule(languages, group_size)(step).parts[0].rows)
        assert len({record for record, _ in runs}) == len(runs)
        assert sum(pairs for _, pairs in runs) == BATCH
        assert all(pairs == min(languages[record], group_size) for record, pairs in runs[:-1])
        last, pairs = runs[-1]
        assert pairs <= min(languages[last], group_size)  # what the batch has room for


def test_where_every_record_has_enough_languages_an_epoch_reads_each_once():
    schedule = _schedule(SIZES["every record in five languages"])
    epochs = [np.concatenate([schedule(10 * epoch + batch).parts[0].rows for batch in range(10)]) for epoch in range(3)]
    assert all(np.array_equal(np.sort(epoch), np.repeat(np.arange(80), 4)) for epoch in epochs)
    assert len({epoch.tobytes() for epoch in epochs}) == 3


def test_with_shorter_records_no_epoch_reads_one_twice_and_all_have_their_turn():
    languages = SIZES["two to six languages"]
    schedule, per_epoch = _schedule(languages), len(languages) // (BATCH // 2)
    epochs = [
        [record for batch in range(per_epoch) for record, _ in _runs(schedule(epoch * per_epoch + batch).parts[0].rows)]
        for epoch in range(30)
    ]
    assert all(len(epoch) == len(set(epoch)) for epoch in epochs)
    turns = Counter(record for epoch in epochs for record in epoch)
    assert set(turns) == set(range(len(languages)))


def test_others_decides_the_kind_and_nothing_else():
    """Monolingual batches are the same, row by row, and so is the place of the others."""
    pools = {"one": Pools({"de": 70, "en": 64}, 0, 90, np.full(50, 3))}
    one, other = (
        Schedule(MixtureConfig(monolingual_fraction=0.3, others=others), pools, BATCH, 0)
        for others in ("cross_lingual", "aligned")
    )
    for step in range(20):
        plans = one(step), other(step)
        if plans[0].kind == "cross_lingual":
            assert plans[1].kind == "aligned"
        else:
            assert plans[0].kind == plans[1].kind == "monolingual"
            assert np.array_equal(plans[0].parts[0].rows, plans[1].parts[0].rows)


def test_a_batch_of_broken_groups_is_refused():
    with pytest.raises(ValueError) as error:
        _schedule([5] * 80, group_size=5)
    assert str(error.value) == (
        "batch_size 32 is not a multiple of mixture.group_size 5, which aligned batches need: make it 30 or 35"
    )
    pools = {"one": Pools({"de": 64}, 0, 0)}
    Schedule(MixtureConfig(monolingual_fraction=1, group_size=5), pools, BATCH, seed=0)  # has no aligned batches


@pytest.mark.parametrize(("languages", "enough"), [(5, 8), (3, 11), (2, 16)])
def test_as_many_records_are_needed_as_fill_a_batch(languages: int, enough: int):
    _schedule([languages] * enough)
    with pytest.raises(ValueError, match=f"'one' has only {enough - 1} rows for aligned batches of 32"):
        _schedule([languages] * (enough - 1))


def _rows(records: int) -> Iterator[Row]:
    """Records in three to five languages; Hindi is a passage without a query, and German lacks one in every other."""
    for i in range(records):
        for lang in LANGUAGES:
            if lang not in ("th", "zh")[i % 3 :]:
                query = None if lang == "hi" or (lang == "de" and i % 2) else f"{lang} query {i}"
                yield Row(f"r{i}", lang, query, f"{lang} passage {i}")


def _pairs(store: Store, weights: dict[str, float], group_size: int, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """Every record of the pool in as many languages as it has, at most `group_size`; and these numbers of languages."""
    pool = store.pools("aligned", np.ones(len(store.ids), bool))[None]
    counts = np.minimum(store.pair_languages[pool], group_size)
    rows = np.repeat(np.arange(len(pool)), counts)
    random = mix(np.arange(len(rows), dtype=np.uint64) + np.uint64(seed * len(rows)))
    return pair_part(store, pool, Part("aligned", None, rows, random), weights), counts


def test_a_record_stands_in_languages_that_differ_and_each_pair_in_one(make_store: MakeStore):
    store = make_store(_rows(12))
    seen = set()
    for seed in range(8):
        pairs, counts = _pairs(store, EQUAL, 3, seed)
        assert np.array_equal(pairs.query_langs, pairs.passage_langs)
        for i, record in enumerate(pairs.records):
            lang, number = store.languages[pairs.query_langs[i]], store.ids[record].removeprefix("r")
            assert store.texts[pairs.queries[i]] == f"{lang} query {number}"
            assert store.texts[pairs.passages[i, 0]] == f"{lang} passage {number}"
        together = set(zip(pairs.records.tolist(), pairs.query_langs.tolist(), strict=True))
        assert len(together) == len(pairs.records) == counts.sum()
        assert np.array_equal(pairs.groups, store.record_group[pairs.records])
        seen |= {store.languages[lang] for _, lang in together}
    assert seen == {"de", "en", "th", "zh"}


@pytest.mark.parametrize("weights", [EQUAL, {"de": 1.0, "en": 6.0, "th": 2.0, "zh": 1.0, "hi": 1.0}])
def test_languages_are_drawn_by_weight_without_replacement(make_store: MakeStore, weights: dict[str, float]):
    store = make_store(row for row in _rows(4) if row.id == "r2")  # German, English, Thai, Chinese
    n, counts, both_rows = 4000, Counter[tuple[str, str]](), np.zeros(2, int)
    for random in mix(np.arange(2 * n, dtype=np.uint64)).reshape(n, 2):
        part = Part("aligned", None, both_rows, random)
        one, two = pair_part(store, np.zeros(1, int), part, weights).query_langs
        counts[store.languages[one], store.languages[two]] += 1
    drawn = ("de", "en", "th", "zh")
    total = sum(weights[lang] for lang in drawn)
    for one in drawn:
        for two in drawn:
            chance = weights[one] / total * weights[two] / (total - weights[one]) if one != two else 0
            assert abs(counts[one, two] - n * chance) <= 5 * np.sqrt(n * chance)


def test_a_records_languages_follow_from_the_random_number_of_its_first_row(make_store: MakeStore):
    store = make_store(_rows(12))
    pool = store.pools("aligned", np.ones(12, bool))[None]
    rows, random = np.repeat(np.arange(len(pool)), 2), mix(np.arange(2 * len(pool), dtype=np.uint64))

    def languages(random: np.ndarray) -> np.ndarray:
        return pair_part(store, pool, Part("aligned", None, rows, random), EQUAL).query_langs

    first = np.arange(len(rows)) % 2 == 0
    assert np.array_equal(languages(random), languages(np.where(first, random, 7)))
    assert not np.array_equal(languages(random), languages(np.where(first, mix(random), random)))


MIXTURE = MixtureConfig(monolingual_fraction=0.5, others="aligned", group_size=2)


@pytest.fixture(scope="module")
def pipeline(tiny_config: DataConfig) -> Pipeline:
    return Pipeline(tiny_config, MIXTURE, BATCH, seed=0)


@pytest.mark.parametrize("hosts", [1, 2, 32])
def test_hosts_together_hold_the_batch_with_its_groups(pipeline: Pipeline, hosts: int):
    for step in (1, 3, 10**9 + 1):
        whole = pipeline.batch(step)
        assert whole.plan.kind == "aligned"
        assert whole.query_languages == whole.passage_languages
        assert [count for _, count in _runs(whole.pairs.groups)] == [2] * 16
        assert whole.ids[::2] == whole.ids[1::2]
        assert all(one != two for one, two in zip(whole.query_languages[::2], whole.query_languages[1::2], strict=True))
        assert np.array_equal(whole.pairs.passage_groups[:, 0], whole.pairs.groups)
        layouts = pipeline.layouts(20, apart=False, devices=32)
        parts = [whole.pack(layouts, host, hosts) for host in range(hosts)]
        for array, *own in zip(*map(jax.tree.leaves, (whole.pack(layouts), *parts)), strict=True):
            assert np.array_equal(np.concatenate(own, axis=max(array.ndim - 2, 0)), array)


def test_a_batch_does_not_depend_on_what_was_asked_before(pipeline: Pipeline, tiny_config: DataConfig):
    fresh = Pipeline(tiny_config, MIXTURE, BATCH, seed=0)
    for step in (5, 1, 10**9 + 1, 3):
        one, other = fresh.batch(step), pipeline.batch(step)
        assert one.digest == other.digest
        assert all(np.array_equal(getattr(one.pairs, name), value) for name, value in vars(other.pairs).items())
    assert Pipeline(tiny_config, MIXTURE, BATCH, seed=1).batch(1).digest != pipeline.batch(1).digest


def test_held_out_batches_are_aligned_too(tiny_config: DataConfig):
    pipeline = Pipeline(tiny_config.model_copy(update={"heldout_fraction": 0.4}), MIXTURE, BATCH, seed=0)
    trained = {name for step in range(40) for name in pipeline.batch(step).ids}
    batches = [pipeline.heldout_batch(step) for step in range(6)]
    assert [batch.plan.kind for batch in batches] == ["monolingual", "aligned"] * 3
    assert not trained & {name for batch in batches for name in batch.ids}


def test_a_preview_counts_the_records_of_an_aligned_batch(pipeline: Pipeline):
    batch = pipeline.batch(1)
    _, line, last = preview([batch])
    assert ", 16 records  " in line
    assert line.endswith(", ".join(batch.ids[:4:2]))
    assert last == "1 batches: 1 aligned (100.0%)"
