"""A batch is a pure function of (config, seed, step); its packed rows hold what the contract with the model says."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_jax.data.batch import Batch, prefetch
from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.records import DataError
from hybrid_jax.data.schedule import MixtureConfig, Sampling
from hybrid_jax.data.tokenizer import TokenizerConfig
from hybrid_jax.train.records import step_record

Write = Callable[[Path, Iterable[Any]], Path]
STEPS = range(12)
MONOLINGUAL = MixtureConfig(monolingual_fraction=1)


LAYOUT = [Layout(64, 8, (), 1.0, 1, None)]


def _equal(one: Batch, other: Batch) -> bool:
    packed = one.pack(LAYOUT), other.pack(LAYOUT)
    return one.digest == other.digest and all(
        np.array_equal(*arrays) for arrays in zip(*map(jax.tree.leaves, packed), strict=True)
    )


@pytest.mark.parametrize("apart", [False, True])
def test_packed_rows_hold_every_text_of_the_batch(tiny_pipeline: Pipeline, apart: bool):
    layouts = tiny_pipeline.layouts(len(STEPS), apart)
    for step in STEPS:
        batch = tiny_pipeline.batch(step)
        packed = batch.pack(layouts)
        assert all(array.dtype == np.int32 for array in jax.tree.leaves(packed))
        assert (packed.query_group.shape, packed.passage_group.shape) == ((64,), (128,))
        held = {}
        for side in packed.sides:
            assert (side.tokens[side.segments == 0] == tiny_pipeline.tokenizer.pad_id).all()
            for tokens, segments, numbers in zip(*(array.reshape(-1, array.shape[2]) for array in side), strict=True):
                held |= {n: tokens[segments == slot + 1].tolist() for slot, n in enumerate(numbers) if n < 192}
        assert held == {n: batch.tokens(np.array([n])).tolist() for n in range(192)}
        if apart:
            assert packed.sides[0].numbers.min() == 0
            assert packed.sides[1].numbers.min() == 64


def test_rows_hold_their_records_texts_with_prompts(tiny_pipeline: Pipeline, tiny_rows: list[dict[str, Any]]):
    config, of = tiny_pipeline.config, {(row["id"], row["lang"]): row for row in tiny_rows}
    for step in STEPS:
        batch = tiny_pipeline.batch(step)
        queries = [f"Query: {of[key]['query']}" for key in zip(batch.ids, batch.query_languages, strict=True)]
        positives = [of[key] for key in zip(batch.ids, batch.passage_languages, strict=True)]
        passages = [f"Passage: {row['passage']}" for row in positives]
        assert _texts(batch, "query") == _ids(tiny_pipeline, queries, config.max_query_length)
        found = _texts(batch, "passage")
        assert found[::2] == _ids(tiny_pipeline, passages, config.max_passage_length)
        for negative, row, passage in zip(found[1::2], positives, passages, strict=True):
            choices = [f"Passage: {text}" for text in row["negatives"]] or [passage]
            assert negative in _ids(tiny_pipeline, choices, config.max_passage_length)


def _texts(batch: Batch, side: str) -> list[list[int]]:
    queries, passages = batch.sides(apart=True)
    return [batch.tokens(np.array([number])).tolist() for number in (queries if side == "query" else passages)]


def _ids(pipeline: Pipeline, texts: list[str], limit: int) -> list[list[int]]:
    return [row.tolist() for row in pipeline.tokenizer.encode(texts, limit)[0]]


def test_kinds_keep_their_promise_about_languages(tiny_pipeline: Pipeline):
    kinds = set()
    for step in STEPS:
        batch = tiny_pipeline.batch(step)
        kinds.add(batch.plan.kind)
        pairs = list(zip(batch.query_languages, batch.passage_languages, strict=True))
        if batch.plan.kind == "cross_lingual":
            assert all(query != passage for query, passage in pairs)
        else:
            assert all(query == passage for query, passage in pairs)
        assert len(set(pairs)) == {"monolingual": 1, "same_language": 3, "cross_lingual": 6}[batch.plan.kind]
        assert len(set(batch.ids)) == 64
    assert len(kinds) == 3


def test_a_query_shares_its_group_with_its_own_passages_only(tiny_pipeline: Pipeline):
    """The tiny corpus has no two passages alike, but rows without hard negatives repeat their positive."""
    for step in STEPS:
        batch = tiny_pipeline.batch(step)
        queries, passages = batch.pairs.groups, batch.pairs.passage_groups.ravel()
        same = queries[:, None] == passages[None, :]
        assert np.array_equal(np.flatnonzero(same[:, ::2]), np.arange(64) * 65)
        has_negatives = np.array([int(name[1:]) % 4 == 0 for name in batch.ids])
        assert np.array_equal(same[:, 1::2], np.diag(~has_negatives))


@pytest.mark.parametrize("hosts", [1, 2, 4, 64])
def test_hosts_together_hold_the_global_batch(tiny_pipeline: Pipeline, hosts: int):
    layouts = tiny_pipeline.layouts(12, apart=False, devices=64)
    for step in (0, 1, 2, 10**9):
        batch = tiny_pipeline.batch(step)
        whole, parts = batch.pack(layouts), [batch.pack(layouts, host, hosts) for host in range(hosts)]
        for array, *own in zip(*map(jax.tree.leaves, (whole, *parts)), strict=True):
            assert np.array_equal(np.concatenate(own, axis=max(array.ndim - 2, 0)), array)
            assert {part.size for part in own} == {array.size // hosts}


def test_the_log_counts_the_tokens_of_all_hosts_without_padding(tiny_pipeline: Pipeline):
    layouts = tiny_pipeline.layouts(len(STEPS), apart=True, devices=4)
    for step in STEPS:
        batch = tiny_pipeline.batch(step)
        sides = [side for host in range(4) for side in batch.pack(layouts, host, 4).sides]
        assert step_record(batch, {})["tokens"] == sum((side.segments > 0).sum() for side in sides)
        assert any((side.segments == 0).any() for side in sides)


def test_a_fresh_pipeline_gives_the_same_batches_from_the_cache(tiny_config: DataConfig, tiny_pipeline: Pipeline):
    mixture = MixtureConfig(weights={"monolingual": 1, "same_language": 1, "cross_lingual": 1})
    said: list[str] = []
    fresh = Pipeline(tiny_config, mixture, batch_size=64, seed=0, report=said.append)
    assert said == []  # nothing was read, trained or tokenised again
    assert all(_equal(fresh.batch(step), tiny_pipeline.batch(step)) for step in reversed(STEPS))
    other = Pipeline(tiny_config, mixture, batch_size=64, seed=1)
    assert not any(_equal(other.batch(step), tiny_pipeline.batch(step)) for step in STEPS)


def test_a_tokenizer_is_trained_anew_for_other_languages_of_the_same_files(tmp_path: Path, write_lines: Write):
    rows = [
        {"id": number, "lang": lang, "query": f"{lang} what is {number}?", "passage": f"{lang} it is {number}."}
        for number in range(40)
        for lang in ("de", "en", "zh")
    ]
    path, trained = write_lines(tmp_path / "x.jsonl", rows), TokenizerConfig(vocab_size=300)

    def tokenizer(*languages: str) -> Path:
        dataset = DatasetConfig(name="x", path=str(path), languages=languages)
        config = DataConfig(datasets=(dataset,), tokenizer=trained, cache_dir=str(tmp_path / "cache"))
        return Pipeline(config, MONOLINGUAL, 2, 0).tokenizer.folder

    assert tokenizer("de", "en") == tokenizer("de", "en") != tokenizer("de", "zh")


def test_changed_files_are_read_again(tmp_path: Path, tiny_config: DataConfig, write_lines: Write):
    def open_it() -> tuple[Pipeline, list[str]]:
        said: list[str] = []
        return Pipeline(config, MONOLINGUAL, 2, 0, report=said.append), said

    rows = [{"id": i, "lang": "en", "query": f"what is {i}", "passage": f"it is {i}"} for i in range(4)]
    config = _config(tiny_config, write_lines(tmp_path / "a.jsonl", rows), tmp_path / "cache")
    open_it()
    write_lines(tmp_path / "a.jsonl", [*rows, {**rows[0], "id": 9}])
    pipeline, said = open_it()
    assert len(pipeline.stores["a"].ids) == 5
    assert any("reading a from" in line for line in said)


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, tiny_config: DataConfig, write_lines: Write):
    rows = [{"id": i, "lang": "en", "query": f"what is {i}", "passage": f"it is {i}"} for i in range(4)]
    config = _config(tiny_config, write_lines(tmp_path / "a.jsonl", rows), tmp_path / "cache")

    def change(line: str) -> None:
        if "reading a from" in line:  # its digest is known by then
            write_lines(tmp_path / "a.jsonl", rows[:3])

    with pytest.raises(DataError, match=r"a\.jsonl has changed while it was read: give the same command again"):
        Pipeline(config, MONOLINGUAL, 2, 0, report=change)
    assert len(Pipeline(config, MONOLINGUAL, 2, 0).stores["a"].ids) == 3


def _config(like: DataConfig, path: Path, cache: Path, **changes: Any) -> DataConfig:
    datasets = (DatasetConfig(name="a", path=str(path)),)
    return like.model_copy(update={"datasets": datasets, "cache_dir": str(cache), "hard_negatives": 0, **changes})


def test_a_run_has_at_most_three_shapes(tiny_pipeline: Pipeline):
    for apart in (False, True):
        layouts = tiny_pipeline.layouts(30, apart)
        packed = [tiny_pipeline.batch(step).pack(layouts) for step in range(30)]
        assert len({tuple(array.shape for array in jax.tree.leaves(batch)) for batch in packed}) <= 3


def test_no_text_of_a_bitext_is_its_own_answer_in_the_held_out_pool(
    tmp_path: Path, tiny_config: DataConfig, write_lines: Write
):
    lines = [{"id": n, **{lang: f"{lang} text {n % 50}" for lang in ("en", "de", "th")}} for n in range(60)]
    changes = {"heldout_fraction": 0.5, "heldout_pool": 100}
    config = _config(tiny_config, write_lines(tmp_path / "a.jsonl", lines), tmp_path / "cache", **changes)
    pool = Pipeline(config, MixtureConfig(monolingual_fraction=0), 4, 0).heldout_pool()
    assert pool is not None
    assert pool.settings == ["cross_lingual", "multilingual"]
    assert {query.language for query in pool.queries} == {"en", "de", "th"}
    assert not {(q.language, q.text) for q in pool.queries} & {(p.language, p.text) for p in pool.passages}


def test_held_out_records_are_never_trained_on(tiny_config: DataConfig):
    mixture = MixtureConfig()
    pipeline = Pipeline(tiny_config.model_copy(update={"heldout_fraction": 0.25}), mixture, 16, seed=0)
    trained = {name for step in range(60) for name in pipeline.batch(step).ids}
    held_out = [pipeline.heldout_batch(step) for step in range(12)]
    tested = {name for batch in held_out for name in batch.ids}
    assert {batch.plan.kind for batch in held_out} == {"monolingual", "cross_lingual"}
    assert not trained & tested
    assert len(trained) + len(tested) == 128


def test_holding_out_less_than_a_batch_is_an_error(tiny_config: DataConfig, tiny_pipeline: Pipeline):
    with pytest.raises(DataError, match=r"heldout_fraction 0\.01 holds out less than one batch of 64 rows: raise it"):
        Pipeline(tiny_config.model_copy(update={"heldout_fraction": 0.01}), MixtureConfig(), 64, seed=0)
    with pytest.raises(ValueError, match=r"no records are held out: set data\.heldout_fraction"):
        tiny_pipeline.heldout_batch(0)


@pytest.mark.parametrize(("sampling", "least", "most"), [("uniform", 25, 55), ("proportional", 1, 20)])
def test_language_sampling_chooses_the_languages_of_cross_lingual_pairs(
    tmp_path: Path, tiny_config: DataConfig, write_lines: Write, sampling: Sampling, least: int, most: int
):
    """Every 8th of 64 records is in Thai, too: a third of its pairs' queries, or 8 of 136 rows' share of them."""
    rows = [
        {
            "id": number,
            "lang": language,
            "query": f"{language} what is {number}?",
            "passage": f"{language} it is {number}.",
        }
        for number in range(64)
        for language in ("en", "de", *(["th"] if number % 8 == 0 else []))
    ]
    config = _config(tiny_config, write_lines(tmp_path / "a.jsonl", rows), tmp_path / "cache")
    mixture = MixtureConfig(monolingual_fraction=0, language_sampling=sampling)
    pipeline = Pipeline(config, mixture, 8, 0)
    languages = Counter(language for step in range(120) for language in pipeline.batch(step).query_languages)
    assert least <= languages["th"] <= most


def test_texts_that_were_cut_are_noted(tmp_path: Path, tiny_config: DataConfig, write_lines: Write):
    rows = [
        {"id": i, "lang": "en", "query": "why " * (1 + 40 * (i < 3)) + str(i), "passage": f"p {i}"} for i in range(8)
    ]
    pipeline = Pipeline(
        _config(tiny_config, write_lines(tmp_path / "a.jsonl", rows), tmp_path / "cache"), MONOLINGUAL, 4, 0
    )
    assert pipeline.notes == ["a: 3 of 8 queries (37.5%) cut at the length limit"]


def test_bad_rows_stop_or_are_skipped_and_noted(tmp_path: Path, tiny_config: DataConfig, write_lines: Write):
    rows = [
        {"id": i, "lang": lang, "query": f"{lang} {i}", "passage": f"p {lang} {i}"}
        for i in range(6)
        for lang in ("en", "de")
    ]
    rows[4]["query"] = 7  # the English of record 2, whose German then stands alone
    config = _config(tiny_config, write_lines(tmp_path / "a.jsonl", rows), tmp_path / "cache")
    with pytest.raises(DataError, match=r"a\.jsonl:5: 'query' must be a text"):
        Pipeline(config, MixtureConfig(), 4, 0)
    for _ in range(2):  # read, and from the cache
        pipeline = Pipeline(config, MixtureConfig(), 4, 0, skip_bad_rows=True)
        skipped, alone = pipeline.notes
        assert skipped.startswith(f"a: 1 bad rows skipped:\n  {tmp_path}/a.jsonl:5: 'query' must be a text")
        assert alone == "a: 1 records serve monolingual only: their query and passage are in one language"


def test_a_record_in_one_language_serves_monolingual_batches_and_is_counted(
    tmp_path: Path, tiny_config: DataConfig, write_lines: Write
):
    rows = [
        {"id": i, "lang": lang, "query": f"{lang} {i}", "passage": f"p {lang} {i}"}
        for i in range(4)
        for lang in ("en", "de")
    ]
    path = write_lines(tmp_path / "a.jsonl", [*rows, {**rows[0], "id": "alone"}])
    config = _config(tiny_config, path, tmp_path / "cache")
    pipeline = Pipeline(config, MixtureConfig(), 4, 0)
    assert pipeline.notes == ["a: 1 records serve monolingual only: their query and passage are in one language"]
    kinds = {batch.plan.kind for batch in map(pipeline.batch, range(40)) if "alone" in batch.ids}
    assert kinds == {"monolingual"}
    assert Pipeline(config, MONOLINGUAL, 4, 0).notes == []


def test_a_run_without_datasets_is_an_error():
    with pytest.raises(DataError, match=r"data\.datasets is empty"):
        Pipeline(DataConfig(), MixtureConfig(), 4, 0)


def test_two_datasets_of_one_name_are_refused():
    with pytest.raises(ValidationError, match=r"names must differ, but .'a'. occur more than once"):
        DataConfig.model_validate({"datasets": [{"name": "a", "path": "demo"}] * 2})


def test_prefetched_batches_come_in_order(tiny_pipeline: Pipeline):
    batches = list(prefetch(tiny_pipeline.batch, 3, 9))
    assert [batch.plan.step for batch in batches] == list(range(3, 9))
    assert all(_equal(batch, tiny_pipeline.batch(batch.plan.step)) for batch in batches)
    assert list(prefetch(tiny_pipeline.batch, 3, 3)) == []


def test_an_error_while_prefetching_comes_at_its_step(tiny_pipeline: Pipeline):
    def make(step: int) -> Batch:
        if step == 5:
            raise DataError("step 5 is bad")
        return tiny_pipeline.batch(step)

    batches = prefetch(make, 3, 9)
    assert [next(batches).plan.step for _ in range(2)] == [3, 4]
    with pytest.raises(DataError, match="step 5 is bad"):
        next(batches)


def test_real_text_gives_whole_batches(real_data: Path, tmp_path: Path):
    """Sections of documents and translated news, 11 languages of each; a part of the files, to be quick."""
    train = real_data / "train"
    docs = _every_nth_line(train / "qa_parallel_docs.jsonl.gz", 10, tmp_path / "docs.jsonl")
    news = _every_nth_line(train / "bitext_ntrex128_11way.jsonl.gz", 10, tmp_path / "news.jsonl")
    config = DataConfig(
        datasets=(
            DatasetConfig(name="docs", path=str(docs), kinds=("monolingual",)),
            DatasetConfig(name="news", path=str(news)),
        ),
        tokenizer=TokenizerConfig(vocab_size=4000, training_characters=60_000),
        max_query_length=32,
        max_passage_length=48,
        cache_dir=str(tmp_path / "cache"),
    )
    pipeline = Pipeline(config, MixtureConfig(), 32, seed=0)
    entries = {
        (name, store.ids[entry["record"]], store.languages[entry["lang"]]): entry
        for name, store in pipeline.stores.items()
        for entry in store.entries
    }
    sources = set()
    for step in range(22):
        batch = pipeline.batch(step)
        sources.add((batch.plan.dataset, batch.plan.kind, batch.plan.parts[0].language))
        store = pipeline.stores[batch.plan.dataset]
        assert len(set(batch.ids)) == 32
        keys = [zip(batch.ids, langs, strict=True) for langs in (batch.query_languages, batch.passage_languages)]
        queries = [store.texts[entries[batch.plan.dataset, *key]["query"]] for key in keys[0]]
        passages = [store.texts[entries[batch.plan.dataset, *key]["passage"]] for key in keys[1]]
        assert _texts(batch, "query") == _ids(pipeline, [f"Query: {text}" for text in queries], 32)
        assert _texts(batch, "passage") == _ids(pipeline, [f"Passage: {text}" for text in passages], 48)
    assert len(sources) == 12
    assert {dataset for dataset, kind, _ in sources if kind == "cross_lingual"} == {"news"}


def _every_nth_line(source: Path, n: int, target: Path) -> Path:
    with gzip.open(source, "rb") as lines:
        target.write_bytes(b"".join(line for number, line in enumerate(lines) if number % n == 0))
    return target


def test_more_hard_negatives_than_any_row_has_are_refused(tiny_config: DataConfig):
    with pytest.raises(DataError, match=r"data\.hard_negatives 99: no row has more than"):
        Pipeline(tiny_config.model_copy(update={"hard_negatives": 99}), MixtureConfig(), 4, seed=0)


def test_thirds_can_be_held_out_of(tiny_config: DataConfig):
    thirds = MixtureConfig(weights={"monolingual": 1, "same_language": 1, "cross_lingual": 1})
    pipeline = Pipeline(tiny_config.model_copy(update={"heldout_fraction": 0.25}), thirds, 8, seed=0)
    kinds = Counter(pipeline.heldout_batch(step).plan.kind for step in range(30))
    assert kinds == {"monolingual": 10, "same_language": 10, "cross_lingual": 10}
