"""Batches of several kinds: the exact number of pairs of each, as a pure function of seed and step, over all hosts."""

import math
from collections import Counter
from dataclasses import fields
from fractions import Fraction

import jax
import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_jax.config import Config, ConfigError, check
from hybrid_jax.data.describe import preview
from hybrid_jax.data.pairing import pair_part
from hybrid_jax.data.pipeline import DataConfig, Pipeline
from hybrid_jax.data.schedule import KINDS, MixtureConfig, Pools, Schedule
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.records import step_record

BATCH = 32
POOLS = {
    "a": Pools({"de": 70, "en": 64}, 90, 130, aligned=np.full(60, 5)),
    "b": Pools({"en": 40, "th": 99}, 50, 64, aligned=np.arange(60) % 3 + 2),
}
MIXTURE = MixtureConfig(monolingual_fraction=0.25, mix="pairs")


def _schedule(mixture: MixtureConfig, seed: int = 0, batch_size: int = BATCH) -> Schedule:
    return Schedule(mixture, POOLS, batch_size, seed)


def _counts(schedule: Schedule, step: int) -> dict[str, int]:
    return {part.kind: len(part.rows) for part in schedule(step).parts}


@pytest.mark.parametrize("batch_size", [2, 5, 7, 32])
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.7])
def test_every_batch_has_alpha_of_its_pairs_monolingual_rounded_half_up(alpha: float, batch_size: int):
    schedule = _schedule(MixtureConfig(monolingual_fraction=alpha, mix="pairs"), batch_size=batch_size)
    expected = math.floor(Fraction(str(alpha)) * batch_size + Fraction(1, 2))
    for step in (*range(9), 10**9):
        assert _counts(schedule, step) == {"monolingual": expected, "cross_lingual": batch_size - expected}


def test_four_kinds_have_their_shares_in_order_one_after_another():
    weights = {"monolingual": 1, "same_language": 2, "cross_lingual": 3, "aligned": 2}
    plan = _schedule(MixtureConfig.model_validate({"weights": weights, "mix": "pairs"}))(3)
    assert [(part.kind, len(part.rows)) for part in plan.parts] == list(zip(KINDS, (4, 8, 12, 8), strict=True))
    assert plan.kind == "monolingual + same_language + cross_lingual + aligned"


def test_a_curriculum_changes_the_number_of_pairs_from_step_to_step():
    schedule = _schedule(MixtureConfig(monolingual_fraction=((2, 1.0), (10, 0.0)), mix="pairs"))
    counts = [_counts(schedule, step).get("monolingual", 0) for step in range(13)]
    assert counts == [32, 32, 32, 28, 24, 20, 16, 12, 8, 4, 0, 0, 0]
    assert [_counts(schedule, step).get("cross_lingual", 0) for step in range(13)] == [32 - n for n in counts]


@pytest.mark.parametrize("alpha", [0.3, 0.7])
def test_a_curriculum_that_stays_rounds_as_a_constant_does(alpha: float):
    constant, staying = (
        _schedule(MixtureConfig(monolingual_fraction=fraction, mix="pairs"), batch_size=5)
        for fraction in (alpha, ((0, alpha), (100, alpha)))
    )
    for step in (0, 1, 50, 99, 100, 200):
        assert _counts(staying, step) == _counts(constant, step)


def test_each_part_reads_its_pool_epoch_by_epoch():
    """Half of 32 pairs: 4 parts an epoch of 64 pairs in German, as many in English, and 8 cross-lingual ones."""
    pools = {"one": Pools({"de": 64, "en": 64}, 0, 128)}
    schedule = Schedule(MixtureConfig(monolingual_fraction=0.5, mix="pairs"), pools, BATCH, seed=0)
    for first in (0, 8, 80):
        read: dict[str | None, list[np.ndarray]] = {}
        for step in range(first, first + 8):
            for part in schedule(step).parts:
                read.setdefault(part.language, []).append(part.rows)
        assert {language: len(rows) for language, rows in read.items()} == {"de": 4, "en": 4, None: 8}
        for rows in read.values():
            assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(16 * len(rows)))


@pytest.mark.parametrize("alpha", [0, 1])
def test_with_one_kind_the_batches_are_those_of_whole_batches(alpha: int):
    mixed, whole = (_schedule(MixtureConfig(monolingual_fraction=alpha, mix=mix)) for mix in ("pairs", "batches"))
    for step in range(20):
        one, other = mixed(step), whole(step)
        assert (one.dataset, one.kind) == (other.dataset, other.kind)
        assert np.array_equal(one.parts[0].rows, other.parts[0].rows)
        assert np.array_equal(one.parts[0].random, other.parts[0].random)


def test_datasets_come_in_turns_by_their_rows_of_all_kinds():
    schedule = _schedule(MIXTURE)
    datasets = Counter(schedule(step).dataset for step in range(100))
    assert abs(datasets["a"] - 100 * 264 / (264 + 203)) < 1.05


@pytest.mark.parametrize(
    ("changes", "batch_size", "message"),
    [
        ({"monolingual_fraction": 0.01}, 8, "a batch of 8 pairs has no monolingual ones, whose share is too small"),
        (
            {"others": "aligned", "monolingual_fraction": 0.3},
            32,
            "22 of batch_size 32 pairs are aligned, not a multiple of mixture.group_size 4: change the shares",
        ),
        (
            {"others": "aligned", "monolingual_fraction": [[0, 0.5], [8, 0]]},
            32,
            "a changing number of batch_size 32 pairs are aligned, not a multiple",
        ),
    ],
)
def test_shares_that_a_batch_cannot_have_are_refused(changes: dict[str, object], batch_size: int, message: str):
    mixture = MixtureConfig.model_validate({"mix": "pairs", **changes})
    with pytest.raises(ValueError) as error:
        mixture.check_batch_size(batch_size)
    assert str(error.value).startswith(f"mixture.mix pairs: {message}")
    assert "\n" not in str(error.value)


def test_a_coin_for_whole_batches_is_refused():
    with pytest.raises(ValidationError, match="draw bernoulli flips a coin for whole batches, and mix pairs has none"):
        MixtureConfig(mix="pairs", draw="bernoulli")


def test_negatives_of_one_device_are_refused():
    check(Config(mixture=MIXTURE))
    with pytest.raises(
        ConfigError, match=r"^mixture\.mix pairs with loss\.negatives local: a device has rows of one kind"
    ):
        check(Config(mixture=MIXTURE, loss=LossConfig(negatives="local")))


def test_a_dataset_without_one_of_the_kinds_is_refused_and_small_pools_suffice_for_small_parts():
    pools = {"small": Pools({"de": 8}, 0, 24)}
    Schedule(MIXTURE, pools, BATCH, 0)
    with pytest.raises(ValueError, match=r"'small' has only 7 rows in de for monolingual batches of 8"):
        Schedule(MIXTURE, {"small": Pools({"de": 7}, 0, 24)}, BATCH, 0)
    with pytest.raises(ValueError) as error:
        Schedule(MIXTURE, {**pools, "native": Pools({"en": 320}, 0, 0)}, BATCH, 0)
    assert str(error.value) == (
        "mixture.mix pairs: dataset 'native' has no rows for cross_lingual pairs: leave it out, name the kind in its "
        "kinds, or use mix batches"
    )


@pytest.fixture(scope="module")
def pipeline(tiny_config: DataConfig) -> Pipeline:
    return Pipeline(tiny_config, MIXTURE, BATCH, seed=0)


def test_a_batch_is_the_pairs_of_its_parts_and_masks_cover_all_of_it(pipeline: Pipeline):
    """8 rows in one language, 24 in two; passages of one record are in one group wherever they stand."""
    languages, together = set(), 0
    for step in range(12):
        batch = pipeline.batch(step)
        sides = list(zip(batch.query_languages, batch.passage_languages, strict=True))
        assert len(set(sides[:8])) == 1
        assert all(query == passage for query, passage in sides[:8])
        assert all(query != passage for query, passage in sides[8:])
        languages.add(sides[0][0])
        same_record = np.array(batch.ids)[:, None] == np.array(batch.ids)
        assert np.array_equal(batch.pairs.groups[:, None] == batch.pairs.passage_groups[:, 0], same_record)
        together += same_record[:8, 8:].sum()
    assert languages == {"de", "en", "th"}
    assert together > 0  # some records were in both parts


def test_a_batch_joins_what_its_parts_give(pipeline: Pipeline):
    batch, store = pipeline.batch(4), pipeline.stores["tiny"]
    every = np.ones(len(store.ids), bool)
    parts = [
        pair_part(store, store.pools(part.kind, every)[part.language], part, dict.fromkeys(store.languages, 1.0), 1)
        for part in batch.plan.parts
    ]
    for column in fields(batch.pairs):
        joined = np.concatenate([getattr(part, column.name) for part in parts])
        assert np.array_equal(joined, getattr(batch.pairs, column.name))


@pytest.mark.parametrize("hosts", [1, 2, 8])
def test_hosts_together_hold_the_packed_batch(pipeline: Pipeline, hosts: int):
    layouts = pipeline.layouts(20, apart=False, devices=8)
    for step in (0, 3, 10**9):
        whole = pipeline.batch(step)
        parts = [whole.pack(layouts, host, hosts, with_parallel=True) for host in range(hosts)]
        packed = whole.pack(layouts, with_parallel=True)
        assert packed.parallel is not None
        assert np.array_equal(packed.parallel, whole.parallel)
        for array, *own in zip(*map(jax.tree.leaves, (packed, *parts)), strict=True):
            assert np.array_equal(np.concatenate(own, axis=max(array.ndim - 2, 0)), array)


def test_a_batch_does_not_depend_on_what_was_asked_before(pipeline: Pipeline, tiny_config: DataConfig):
    fresh = Pipeline(tiny_config, MIXTURE, BATCH, seed=0)
    for step in (5, 1, 10**9 + 1, 3):
        assert fresh.batch(step).digest == pipeline.batch(step).digest
    assert Pipeline(tiny_config, MIXTURE, BATCH, seed=1).batch(1).digest != pipeline.batch(1).digest


def test_only_queries_of_the_aligned_part_are_translations_of_one_another(tiny_config: DataConfig):
    """A record in both parts has the monolingual row's query in the aligned part, too: that is no translation."""
    mixture = MixtureConfig(monolingual_fraction=0.5, others="aligned", mix="pairs", group_size=2)
    pipeline = Pipeline(tiny_config, mixture, BATCH, seed=0)
    in_both = 0
    for step in range(12):
        batch = pipeline.batch(step)
        parallel = batch.pack(pipeline.layouts(1, apart=False), with_parallel=True).parallel
        assert parallel is not None
        assert parallel[:16].tolist() == list(range(16))
        assert parallel[16:].tolist() == [row + 1 if row % 2 == 0 else row - 1 for row in range(16, 32)]
        assert not (batch.pairs.queries[16:] == batch.pairs.queries[parallel[16:]]).any()
        in_both += len(set(batch.pairs.queries[:16].tolist()) & set(batch.pairs.queries[16:].tolist()))
    assert in_both > 0


def test_held_out_batches_are_of_one_kind_each(tiny_config: DataConfig):
    pipeline = Pipeline(tiny_config.model_copy(update={"heldout_fraction": 0.4}), MIXTURE, 16, seed=0)
    kinds = Counter(pipeline.heldout_batch(step).plan.kind for step in range(8))
    assert kinds == {"monolingual": 2, "cross_lingual": 6}


def test_the_preview_and_the_log_count_pairs_of_each_kind(pipeline: Pipeline):
    batch = pipeline.batch(0)
    _, line, last = preview([batch])
    assert line.split()[1:4] == ["monolingual", "+", "cross_lingual"]
    assert f" {batch.query_languages[0]} + " in line
    assert last == "1 batches: 24 cross_lingual pairs (75.0%), 8 monolingual pairs (25.0%)"
    parts = step_record(batch, {})["parts"]
    assert [(part["kind"], sum(part["query_languages"].values())) for part in parts] == [
        ("monolingual", 8),
        ("cross_lingual", 24),
    ]
    assert parts[0]["passage_languages"] == {batch.query_languages[0]: 8}
