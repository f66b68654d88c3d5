"""Arms: named mixtures are the batches they say, grids are crossed, and names are names of folders."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.ablate.arms import ALPHA, LONGEST_NAME, MIX, MIXTURES, OTHERS, WEIGHTS, ArmError, arms, label, mixture
from hybrid_jax.data.schedule import MixtureConfig, Pools, Schedule

POOLS = {"a": Pools(monolingual={"de": 64, "en": 64}, same_language=128, cross_lingual=64)}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def kinds(name: str, steps: int) -> str:
    """The kinds of the arm's batches, a letter each: m, s or c."""
    overrides = mixture(name, steps).overrides
    config = MixtureConfig.model_validate({field.removeprefix("mixture."): v for field, v in overrides.items()})
    schedule = Schedule(config, POOLS, batch_size=8, seed=0)
    return "".join(schedule(step).kind[0] for step in range(steps))


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [
        ("x-x-mono", 6, "mmmmmm"),
        ("x-x", 6, "ssssss"),
        ("x-y", 6, "cccccc"),
        ("mono-then-cross", 8, "mmmmcccc"),
        ("cross-then-mono", 8, "ccccmmmm"),
        ("mono-then-cross", 7, "mmmcccc"),
        ("mono-then-cross", 2, "mc"),
        ("cross-then-mono", 3, "cmm"),
        ("mono-to-cross", 2, "mc"),
    ],
)
def test_a_named_mixture_gives_these_batches(name: str, steps: int, expected: str):
    assert kinds(name, steps) == expected


def test_hybrid_pairs_mixes_in_every_batch_and_the_papers_arms_never_do():
    assert kinds("hybrid-pairs", 4) == "mmmm"  # monolingual + cross_lingual
    config = mixture("hybrid-pairs", 4).overrides
    assert (config[ALPHA], config[OTHERS], config[MIX]) == (0.5, "cross_lingual", "pairs")
    assert all(mixture(name, 4).overrides[MIX] == "batches" for name in MIXTURES if name not in ("hybrid-pairs", "x-x"))


def test_the_hybrid_is_half_monolingual_and_linear_curricula_are_so_on_the_whole():
    assert sorted(kinds("hybrid", 10)) == list("cccccmmmmm")
    falling, rising = kinds("mono-to-cross", 100), kinds("cross-to-mono", 100)
    assert falling.count("m") == rising.count("m") == 50
    # The mean α of the first quarter of the steps is 1 - 12 / 99 = 0.88, that of the last 0.12.
    assert [falling[:25].count("m"), falling[75:].count("m")] == [22, 3]
    assert [rising[:25].count("m"), rising[75:].count("m")] == [3, 22]


def test_a_named_mixture_replaces_what_the_base_config_says_beside_alpha():
    assert all(WEIGHTS in mixture(name, 10).overrides for name in MIXTURES)
    with_alpha = [mixture(name, 10).overrides for name in MIXTURES if name != "x-x"]
    assert all(overrides[OTHERS] == "cross_lingual" for overrides in with_alpha)


def test_constant_mixtures_stand_on_the_axis_of_alpha_and_the_others_beside_it():
    axes = {name: mixture(name, 10).axis for name in MIXTURES}
    constant = {name: axis[ALPHA] for name, axis in axes.items() if ALPHA in axis}
    assert constant == {"x-x-mono": 1.0, "x-y": 0.0, "hybrid": 0.5}
    assert all(axis == {"mixture": name} for name, axis in axes.items() if name not in constant)


def test_a_grid_is_crossed_and_named_arms_stand_beside_alpha():
    grid = {ALPHA: [0, 0.5], "model.temperature": [0.05, 0.1]}
    made, errors = arms(grid, ["x-x"], {"mine": {"loss.directions": "both"}}, steps=10)
    assert errors == []
    assert [(arm.name, arm.axis) for arm in made] == [
        ("alpha=0_temperature=0.05", {ALPHA: 0, "model.temperature": 0.05}),
        ("alpha=0.5_temperature=0.05", {ALPHA: 0.5, "model.temperature": 0.05}),
        ("x-x_temperature=0.05", {"mixture": "x-x", "model.temperature": 0.05}),
        ("mine_temperature=0.05", {"loss.directions": "both", "model.temperature": 0.05}),
        ("alpha=0_temperature=0.1", {ALPHA: 0, "model.temperature": 0.1}),
        ("alpha=0.5_temperature=0.1", {ALPHA: 0.5, "model.temperature": 0.1}),
        ("x-x_temperature=0.1", {"mixture": "x-x", "model.temperature": 0.1}),
        ("mine_temperature=0.1", {"loss.directions": "both", "model.temperature": 0.1}),
    ]
    assert made[2].overrides == {WEIGHTS: {"same_language": 1.0}, "model.temperature": 0.05}


def test_a_schedule_over_time_follows_the_steps_of_its_own_arm():
    made, _ = arms({"steps": [10, 20]}, ["mono-then-cross"], {}, steps=99)
    assert [arm.overrides[ALPHA] for arm in made] == [[[4, 1.0], [5, 0.0]], [[9, 1.0], [10, 0.0]]]


def test_fields_with_the_same_last_part_keep_their_whole_names():
    grid = {"data.datasets.0.languages": [["de", "en"]], "data.datasets.1.languages": [["en"]]}
    made, _ = arms(grid, [], {}, steps=10)
    assert [arm.name for arm in made] == ["data.datasets.0.languages=de+en_data.datasets.1.languages=en"]


@pytest.mark.parametrize(
    ("grid", "named", "own", "message"),
    [
        ({}, [], {}, "nothing varies: give --grid"),
        ({}, ["x-z"], {}, "--arms 'x-z': known are x-x-mono, x-x, x-y"),
        ({"steps": [1]}, ["mono-then-cross"], {}, "needs 2 steps or more, not 1"),
        ({}, [], {"a/b": {}}, "arm 'a/b': a name has at most"),
        ({ALPHA: [1, 1]}, [], {}, "two arms are called 'alpha=1'"),
        ({}, ["x-x"], {"X-X": {}}, "two arms are called 'x-x'"),
        ({"steps": [5]}, [], {"a": {"steps": 6}}, "arm 'a' sets steps, which the grid varies"),
    ],
)
def test_arms_that_cannot_be_made_are_a_line_each(grid: Any, named: list[str], own: Any, message: str):
    _, errors = arms(grid, named, own, steps=10)
    assert len(errors) == 1
    assert message in errors[0]


def test_a_name_that_is_unknown_is_an_error():
    with pytest.raises(ArmError, match="known are"):
        mixture("nothing", 10)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, "0.5"), (1, "1"), (True, "true"), (None, "null"), ("mean", "mean"), (["de", "en"], "de+en"), (-1, "-1")],
)
def test_simple_values_are_spelled_as_they_are(value: Any, expected: str):
    assert label(value) == expected


def test_values_that_lose_signs_in_a_name_stay_apart():
    assert re.fullmatch(r"data-rows-[0-9a-f]{8}", label("data/rows"))
    assert label("data/rows") != label("data:rows") != label("data-rows")


@given(VALUES)
def test_every_value_gives_a_name_for_a_folder(value: Any):
    assert re.fullmatch(r"[A-Za-z0-9._+-]+", label(value))
    made, _ = arms({"a.b": [value]}, [], {}, steps=10)
    assert len(made[0].name) <= LONGEST_NAME
    assert re.fullmatch(r"b=[A-Za-z0-9._+-]+", made[0].name)
