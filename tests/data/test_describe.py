"""Tables count what is there, and line up."""

from collections import Counter
from collections.abc import Callable, Iterable

from hybrid_jax.data.describe import describe, drawn, language_pairs, preview
from hybrid_jax.data.pipeline import Pipeline
from hybrid_jax.data.records import Row
from hybrid_jax.data.schedule import MixtureConfig, Pools
from hybrid_jax.data.store import Store

MakeStore = Callable[[Iterable[Row]], Store]
ROWS = [
    Row("a", "th", "q1", "same passage"),
    Row("a", "de", "q2", "p2"),
    Row("a", "en", "q3", None),
    Row("b", "en", "q4", "same passage"),
    Row("b", "de", None, "p5"),
    Row("c", "de", "q6", "p6"),
]


def test_language_pairs_are_counted_as_by_hand(make_store: MakeStore):
    store = make_store(ROWS)
    by_hand = Counter(
        (query.lang, passage.lang)
        for query in ROWS
        for passage in ROWS
        if query.id == passage.id and query.query and passage.passage
    )
    counts = language_pairs(store)
    found = {(q, p): counts[i, j] for i, q in enumerate(store.languages) for j, p in enumerate(store.languages)}
    assert found == {pair: by_hand[pair] for pair in found}


def test_a_dataset_is_described(make_store: MakeStore):
    lines = describe(make_store(ROWS), heldout_fraction=0.0)
    assert lines == [
        "made: 3 records, 6 rows in 3 languages, 9 different texts",
        "  monolingual batches draw from 4 rows",
        "  same_language batches draw from 3 records",
        "  cross_lingual batches draw from 2 records",
        "  aligned batches draw from 1 records (1 in 2 languages); 2 have query and passage in fewer than two "
        "languages",
        "  1 records serve monolingual only: their query and passage are in one language",
        "  groups, records that share a passage and are never each other's negatives: 2, the largest of 2 records "
        "(a and others)",
        "",
        "  language  queries  passages  pairs in this language",
        "  de              2         3                       2",
        "  en              2         1                       1",
        "  th              1         1                       1",
        "  all             5         5                       4",
        "",
        "  cross-lingual pairs, query language down, passage language across:",
        "      de  en  th",
        "  de   -   0   1",
        "  en   2   -   1",
        "  th   1   0   -",
    ]


def test_translations_are_described_without_pairs_of_a_text_and_itself(make_store: MakeStore):
    store = Store(make_store(ROWS).folder, ("cross_lingual",))
    described = "\n".join(describe(store, heldout_fraction=0.9))
    assert "pairs in this language" not in described
    assert f"held out of training: {store.held_out(0.9).sum()} records" in described


def test_what_each_kind_of_a_run_draws_from_is_counted(tiny_pipeline: Pipeline):
    mixture = MixtureConfig(weights={"monolingual": 1, "cross_lingual": 3})
    assert drawn(tiny_pipeline.sizes, mixture) == [
        ("monolingual", "25% of batches, from 384 rows: de 128, en 128, th 128"),
        ("cross_lingual", "75% of batches, from 128 records: tiny 128"),
    ]
    languages = {f"l{number:02}": number for number in range(15)}
    sizes = {"a": Pools(languages, 0, 9), "b": Pools({"l14": 1000}, 0, 0)}
    [(_, text)] = drawn(sizes, MixtureConfig(weights={"monolingual": 1}))
    assert text.startswith("100% of batches, from 1,105 rows: l14 1,014, l13 13, l12 12, ")
    assert text.endswith("l03 3, +2")
    curriculum = drawn(sizes, MixtureConfig(monolingual_fraction=((0, 1.0), (10, 0.25))))
    assert [text[: text.index(",")] for _, text in curriculum] == ["up to 100% of batches", "up to 75% of batches"]
    mixed = drawn(sizes, MixtureConfig(monolingual_fraction=0.5, mix="pairs"))
    assert [text[: text.index(",")] for _, text in mixed] == ["50% of each batch", "50% of each batch"]


def test_a_preview_shows_every_batch_and_counts_kinds(tiny_pipeline: Pipeline):
    batches = [tiny_pipeline.batch(step) for step in range(90, 96)]
    header, *lines, last = preview(iter(batches))
    assert header.split()[:3] == ["step", "kind", "dataset"]
    for batch, line in zip(batches, lines, strict=True):
        assert line.split()[:3] == [str(batch.plan.step), batch.plan.kind, "tiny"]
        assert batch.digest in line
        assert line.endswith(", ".join(batch.ids[:2]))
        top_language, top_count = Counter(batch.query_languages).most_common(1)[0]
        assert (f" {top_language} {top_count} " in line) == (batch.plan.kind != "monolingual")
    assert last == "6 batches: 2 cross_lingual (33.3%), 2 monolingual (33.3%), 2 same_language (33.3%)"
