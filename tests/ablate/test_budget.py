"""Arms have equal budgets unless a sentence says so: every field of the config either leaves them equal or is named."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_jax.ablate.budget import FREE, NO_MATTER, measured, pairs, unequal
from hybrid_jax.ablate.folder import Cost
from hybrid_jax.config import Config, flat
from hybrid_jax.model.dual_encoder import initialize

BASE = flat(Config().model_dump(mode="json"))
HARMLESS = [f for f in BASE if any(f == part or f.startswith(f"{part}.") for part in (*FREE, *NO_MATTER))]
OTHERS = [field for field in BASE if field not in HARMLESS]


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):  # of datasets
        return [*value, {"name": "another", "languages": None}]
    return value + 1 if isinstance(value, int | float) else "another"


def changed(*fields: str) -> dict[str, Any]:
    return BASE | {field: other(BASE[field]) for field in fields}


def test_both_sorts_of_fields_exist():
    assert {"mixture.monolingual_fraction", "loss.directions", "model.temperature", "log_every"} <= set(HARMLESS)
    assert {"steps", "batch_size", "pretrained", "data.datasets", "optimizer.learning_rate", "seed"} <= set(OTHERS)


@given(st.lists(st.lists(st.sampled_from(HARMLESS), max_size=4), min_size=1, max_size=4))
def test_arms_that_differ_in_harmless_fields_have_equal_budgets(arms: list[list[str]]):
    configs = {str(n): changed(*fields) for n, fields in enumerate(arms)}
    assert len({pairs(config) for config in configs.values()}) == 1
    sentences = unequal(configs)
    assert all(sentence.startswith("The mixtures differ") for sentence in sentences)
    mixtures = [[config[field] for field in config if field.startswith("mixture.")] for config in configs.values()]
    assert bool(sentences) == any(mixture != mixtures[0] for mixture in mixtures)


@given(st.sets(st.sampled_from(OTHERS), min_size=1, max_size=3), st.lists(st.sampled_from(HARMLESS), max_size=3))
def test_every_other_field_that_differs_is_named_with_its_values(fields: set[str], beside: list[str]):
    sentences = unequal({"a": BASE, "b": changed(*fields, *beside), "c": BASE})
    named = {sentence.split()[0] for sentence in sentences if " differs between the arms (a, c: " in sentence}
    assert named == fields
    assert any("different numbers of pairs" in s for s in sentences) == bool(fields & {"steps", "batch_size"})


def test_the_sentence_says_what_it_means():
    assert unequal({"short": BASE | {"steps": 10, "batch_size": 4}, "long": BASE | {"steps": 20, "batch_size": 4}}) == [
        "steps differs between the arms (short: 10; long: 20), so that they see another number of pairs.",
        "The arms train on different numbers of pairs (short: 40; long: 80).",
    ]


def test_halved_steps_of_doubled_batches_are_named_though_the_pairs_are_equal():
    sentences = unequal({"a": BASE | {"steps": 10, "batch_size": 4}, "b": BASE | {"steps": 5, "batch_size": 8}})
    assert [sentence.split()[0] for sentence in sentences] == ["steps", "batch_size"]


def test_a_dataset_that_only_some_arms_read_is_named():
    docs, mlqa = {"name": "docs", "languages": ["en", "tr"]}, {"name": "mlqa", "languages": ["de", "en"]}
    two, three = {"data.datasets": [docs]}, {"data.datasets": [docs, mlqa]}
    sentences = unequal({"two": BASE | two, "three": BASE | three})
    assert sentences[0] == ("Some arms do not read every dataset (two without mlqa), so their topics differ as well.")
    assert sentences[1].startswith("data.datasets differs between the arms (two: docs (en, tr); three: docs (en, tr), ")
    assert len(unequal({"two": BASE | three, "three": BASE | three | {"steps": 7}})) == 2


@settings(max_examples=10)
@given(st.sampled_from([field for field in FREE if field.startswith("model.")]), st.integers(0, 3))
def test_harmless_fields_of_the_model_leave_the_initial_weights(field: str, seed: int):
    encoder = {"vocab_size": 50, "hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 8}
    values = {"model.temperature": 0.1, "model.pooling": "cls"}
    content: dict[str, Any] = {"encoder": {**encoder, "dropout": 0.1, "attention_dropout": 0.1}}
    before = Config.model_validate({"model": content}).model
    name = field.rpartition(".")[2]
    if field.startswith("model.encoder."):
        content = {"encoder": {**content["encoder"], name: 0.3}}
    else:
        content = {**content, name: values[field]}
    after = Config.model_validate({"model": content}).model
    assert after != before
    first, second = (jax.tree.leaves_with_path(initialize(config, seed)) for config in (before, after))
    assert len(first) > 5
    for (path, one), (other_path, two) in zip(first, second, strict=True):
        assert path == other_path
        assert np.array_equal(one, two)


def cost(pairs: int, tokens: int) -> Cost:
    return Cost(seconds_train=1, seconds_eval=1, pairs=pairs, tokens=tokens, host="h")


def test_what_finished_runs_did_is_compared():
    costs = {"a": [cost(80, 1000), cost(80, 1200)], "b": [cost(80, 1210)], "c": []}
    same = {"a seed-0": {"rows": "1"}, "b seed-0": {"rows": "1"}}
    assert measured(costs, same) == ["Mean encoded tokens of the finished runs: a: 1,100; b: 1,210, 10.0% apart."]
    assert measured({"a": [cost(80, 9)], "b": [cost(80, 9)]}, same) == []
    assert measured({}, {**same, "b seed-1": {"rows": "2", "the tokenizer": "3"}}) == [
        "The runs did not read the same text: rows, the tokenizer differs "
        "(a seed-0, b seed-0: text 1; b seed-1: text 2)."
    ]


@pytest.mark.parametrize("fields", [{"steps": 7, "batch_size": 3}])
def test_pairs_are_steps_times_batch_size(fields: dict[str, int]):
    assert pairs(fields) == 21


def test_texts_are_told_apart_by_their_digests():
    sentence = "The runs did not read the same text: rows differs (a: text 1; b: text 2)."
    assert measured({}, {"a": {"rows": "1"}, "b": {"rows": "2"}}) == [sentence]
