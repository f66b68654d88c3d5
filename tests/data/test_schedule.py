"""The schedule is a pure function of (mixture, pools, batch size, seed, step), and its counts are what was asked."""

import hashlib
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_jax.data.schedule import BatchPlan, Kind, MixtureConfig, Pools, Sampling, Schedule

POOLS = {
    "parallel": Pools({"de": 96, "en": 160, "th": 64}, 170, 130, aligned=np.arange(100) % 7 + 2),
    "native": Pools({"en": 320, "ko": 64}, same_language=0, cross_lingual=0),
    "bitext": Pools({}, same_language=0, cross_lingual=390),
}
THREE_KINDS = MixtureConfig(weights={"monolingual": 3, "same_language": 1, "cross_lingual": 2})
MIXTURES = {
    "alpha": MixtureConfig(monolingual_fraction=0.3),
    "three kinds": THREE_KINDS,
    "curriculum": MixtureConfig(monolingual_fraction=((10, 0.9), (60, 0.2))),
    "bernoulli": MixtureConfig(draw="bernoulli"),
    "aligned": MixtureConfig(monolingual_fraction=0.4, others="aligned"),
    "aligned curriculum": MixtureConfig(monolingual_fraction=((10, 0.9), (60, 0.2)), others="aligned", group_size=8),
    "sampling": MixtureConfig(dataset_sampling="uniform", language_sampling="smoothed"),
}
BATCH = 32

DIGEST = """
import hashlib
from hybrid_jax.data.schedule import MixtureConfig, Pools, Schedule
schedule = Schedule(MixtureConfig(), {"one": Pools({"de": 99, "en": 64}, 0, 77)}, 8, 5)
plans = [schedule(step) for step in (0, 1, 2, 3, 10**9)]
plans = repr([(q.kind, q.language, q.rows.tolist(), q.random.tolist()) for p in plans for q in p.parts])
print(hashlib.sha256(plans.encode()).hexdigest())
"""


def _digest(schedule: Schedule) -> str:
    """The hash of five plans, one of them far off; DIGEST prints that of its schedule."""
    plans = [schedule(step) for step in (0, 1, 2, 3, 10**9)]
    text = repr([(q.kind, q.language, q.rows.tolist(), q.random.tolist()) for p in plans for q in p.parts])
    return hashlib.sha256(text.encode()).hexdigest()


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _same(one: BatchPlan, other: BatchPlan) -> bool:
    named = [(p.step, p.dataset, [(part.kind, part.language) for part in p.parts]) for p in (one, other)]
    parts = zip(one.parts, other.parts, strict=False)
    return named[0] == named[1] and all(
        np.array_equal(p.rows, q.rows) and np.array_equal(p.random, q.random) for p, q in parts
    )


def _schedule(mixture: MixtureConfig, seed: int = 0) -> Schedule:
    return Schedule(mixture, POOLS, BATCH, seed)


@pytest.mark.parametrize("name", ["alpha", "three kinds", "aligned", "sampling"])
def test_every_kind_is_within_one_of_its_weight_after_any_step(name: str):
    schedule, counts = _schedule(MIXTURES[name]), Counter[str]()
    for step in range(100):
        counts[schedule(step).kind] += 1
        for kind, share in MIXTURES[name].shares.items():
            assert abs(counts[kind] - (step + 1) * share) < 1


@pytest.mark.parametrize("name", ["curriculum", "aligned curriculum"])
def test_a_curriculum_is_within_one_of_the_sum_of_its_alphas(name: str):
    schedule, count, due = _schedule(MIXTURES[name]), 0, 0.0
    for step in range(120):
        count += schedule(step).kind == "monolingual"
        due += float(np.interp(step, [10, 60], [0.9, 0.2]))
        assert abs(count - due) < 1


@pytest.mark.parametrize("alpha", [0.0, 0.3, ((0, 0.5), (1000, 0.1))])
def test_coin_flips_come_close_to_alpha(alpha: float | tuple[tuple[int, float], ...]):
    n = 500
    schedule = _schedule(MixtureConfig(monolingual_fraction=alpha, draw="bernoulli"))
    kinds = Counter(schedule(step).kind for step in range(n))
    share = alpha if isinstance(alpha, float) else 0.4  # halfway down from 0.5 to 0.3
    assert abs(kinds["monolingual"] - n * share) <= 5 * np.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("name", MIXTURES)
def test_a_plan_does_not_depend_on_the_object_or_the_order_of_asking(name: str):
    """Nor does a distant step take long: counting up to step 10**9 would not end within the test's time limit."""
    one, other = _schedule(MIXTURES[name]), _schedule(MIXTURES[name])
    steps = [0, 7, 3, 10**9, 41, 3]
    plans = [one(step) for step in steps]
    assert all(_same(plan, other(plan.step)) for plan in reversed(plans))
    assert not any(_same(plan, _schedule(MIXTURES[name], seed=1)(plan.step)) for plan in plans)


def test_each_pool_is_shuffled_in_its_own_way_which_the_seed_decides():
    pools = {name: Pools({"de": 96, "en": 96}, 0, 96) for name in ("one", "two")}

    def first(seed: int) -> dict[tuple[str, str, str | None], bytes]:
        """The rows of each pool's first batch."""
        schedule, rows = Schedule(MixtureConfig(dataset_sampling="uniform"), pools, BATCH, seed), {}
        for step in range(16):
            plan = schedule(step)
            (part,) = plan.parts
            rows.setdefault((plan.dataset, part.kind, part.language), part.rows.tobytes())
        return rows

    one, other = first(0), first(1)
    assert len(one) == len(set(one.values())) == 6
    assert not any(one[pool] == other[pool] for pool in one)


def test_random_numbers_of_rows_differ_from_step_to_step_and_seed_to_seed():
    numbers = [
        part.random
        for seed in (0, 1)
        for step in range(20)
        for part in _schedule(MixtureConfig(), seed=seed)(step).parts
    ]
    assert len(np.unique(np.concatenate(numbers))) == 2 * 20 * BATCH


def test_a_plan_is_the_same_in_another_process():
    assert _python(DIGEST).strip() == _digest(
        Schedule(MixtureConfig(), {"one": Pools({"de": 99, "en": 64}, 0, 77)}, 8, 5)
    )


PUBLISHED = {
    "alpha": "eab04c35bf3d54fb",
    "three kinds": "dacecf7ba133760d",
    "curriculum": "4c77690521704b51",
    "bernoulli": "bb27402d7e554272",
    "aligned": "2c081d4320855b7a",
    "aligned curriculum": "573293fa07c39f83",
    "sampling": "6b9ecad2714bad9e",
}
"""Digests of five steps' plans. With another one, every config and every published run trains on other batches: that is
a line of the CHANGELOG."""


@pytest.mark.parametrize("name", MIXTURES)
def test_published_runs_can_be_repeated_on_the_same_batches(name: str):
    assert _digest(_schedule(MIXTURES[name]))[:16] == PUBLISHED[name]


@pytest.mark.parametrize("name", MIXTURES)
def test_rows_are_distinct_and_lie_in_the_pool_of_their_plan(name: str):
    schedule = _schedule(MIXTURES[name])
    for step in [*range(30), 10**9]:
        plan = schedule(step)
        pool = POOLS[plan.dataset]
        for part in plan.parts:
            size = pool.monolingual[part.language] if part.language is not None else pool.size(part.kind)
            assert part.kind == "aligned" or len(np.unique(part.rows)) == len(part.rows)
            assert 0 <= part.rows.min() <= part.rows.max() < size
            assert (part.kind == "monolingual") == (part.language is not None)
        assert sum(len(part.rows) for part in plan.parts) == BATCH
        assert len(np.unique(np.concatenate([part.random for part in plan.parts]))) == BATCH


def test_every_row_comes_once_per_epoch_in_another_order_each_time():
    """Each pool's size is a multiple of the batch, and pools are read in turns."""
    pools = {"a": Pools({"de": 3 * BATCH, "en": 5 * BATCH}, 0, 2 * BATCH), "b": Pools({"en": BATCH}, 0, 4 * BATCH)}
    schedule = Schedule(MixtureConfig(dataset_sampling="uniform"), pools, BATCH, seed=0)
    read: dict[tuple[str, Kind, str | None], list[np.ndarray]] = {}
    for step in range(96):
        plan = schedule(step)
        (part,) = plan.parts
        read.setdefault((plan.dataset, part.kind, part.language), []).append(part.rows)
    assert len(read) == 5
    for (dataset, kind, language), batches in read.items():
        size = pools[dataset].monolingual[language] if language is not None else pools[dataset].size(kind)
        per_epoch = size // BATCH
        epochs = [np.concatenate(batches[i : i + per_epoch]) for i in range(0, len(batches) + 1 - per_epoch, per_epoch)]
        assert len(epochs) >= 2
        assert all(np.array_equal(np.sort(epoch), np.arange(size)) for epoch in epochs)
        assert len({epoch.tobytes() for epoch in epochs}) == len(epochs)


def test_rows_left_over_by_one_epoch_come_in_others():
    schedule = Schedule(MixtureConfig(monolingual_fraction=0), {"one": Pools({}, 0, BATCH + 5)}, BATCH, seed=0)
    assert len(np.unique(np.concatenate([schedule(step).parts[0].rows for step in range(12)]))) == BATCH + 5


SIZES = {"parallel": 320, "native": 384}


@pytest.mark.parametrize(
    ("sampling", "power"), [("uniform", 0.0), ("proportional", 1.0), ("smoothed", 0.5)], ids=lambda value: str(value)
)
def test_datasets_and_languages_come_in_the_shares_asked_for(sampling: Sampling, power: float):
    n = 200
    mixture = MixtureConfig(monolingual_fraction=1, dataset_sampling=sampling, language_sampling=sampling)
    plans = list(map(_schedule(mixture), range(n)))
    datasets = Counter(plan.dataset for plan in plans)
    for name in SIZES:
        # Shares are rounded to 1/10,000: over 200 steps that is a fiftieth of a batch.
        assert abs(datasets[name] - n * _share(SIZES, name, power)) < 1.05
        languages = Counter(str(plan.parts[0].language) for plan in plans if plan.dataset == name)
        for lang in POOLS[name].monolingual:
            assert abs(languages[lang] - datasets[name] * _share(dict(POOLS[name].monolingual), lang, power)) < 1.05


def _share(sizes: dict[str, int], name: str, power: float) -> float:
    return sizes[name] ** power / sum(size**power for size in sizes.values())


def test_smoothing_is_the_exponent():
    assert MixtureConfig(smoothing=0.25).exponent("smoothed") == 0.25
    assert MixtureConfig(smoothing=0.25).exponent("proportional") == 1.0


def test_a_language_smaller_than_a_batch_names_those_to_keep():
    pools = {"web": Pools({"de": 20, "en": 200, "sw": 3, "th": 90}, 0, 0)}
    with pytest.raises(ValueError) as error:
        Schedule(MixtureConfig(monolingual_fraction=1), pools, BATCH, 0)
    assert str(error.value) == (
        "dataset 'web' has only 20 rows in de, 3 rows in sw for monolingual batches of 32: "
        "lower batch_size, or give the dataset languages: [en, th]"
    )


def test_too_few_records_for_a_batch_are_named():
    with pytest.raises(ValueError, match=r"'few' has only 9 rows for cross_lingual batches of 32: lower batch_size"):
        Schedule(MixtureConfig(), {**POOLS, "few": Pools({}, 0, 9)}, BATCH, 0)


def test_a_kind_that_no_dataset_gives_is_named():
    with pytest.raises(ValueError, match="asks for cross_lingual batches, but none of the datasets native has"):
        Schedule(MixtureConfig(), {"native": POOLS["native"]}, BATCH, 0)
    Schedule(MixtureConfig(monolingual_fraction=1), {"native": POOLS["native"]}, BATCH, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"monolingual_fraction": 1.5}, "must lie between 0 and 1"),
        ({"monolingual_fraction": [[10, 0.5], [5, 0.1]]}, "must increase"),
        ({"monolingual_fraction": []}, "must increase"),
        ({"weights": {"monolingual": -1, "cross_lingual": 2}}, "must be zero or more"),
        ({"weights": {"monolingual": 0}}, "one of them above zero"),
        ({"weights": {"bilingual": 1}}, "bilingual"),
        ({"group_size": 1}, "greater than or equal to 2"),
        ({"others": "monolingual"}, "'cross_lingual' or 'aligned'"),
    ],
)
def test_impossible_mixtures_are_refused(fields: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        MixtureConfig.model_validate(fields)


def test_the_two_ways_to_say_half_and_half_are_one():
    by_weight = MixtureConfig(weights={"monolingual": 5, "cross_lingual": 5})
    assert (
        by_weight.shares
        == MixtureConfig(monolingual_fraction=0.5).shares
        == {
            "monolingual": Fraction(1, 2),
            "cross_lingual": Fraction(1, 2),
        }
    )
    assert all(_same(_schedule(by_weight)(step), _schedule(MixtureConfig())(step)) for step in range(8))
