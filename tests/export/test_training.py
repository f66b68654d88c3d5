"""What a card says of a run's training, in words: only what the run did."""

from collections import Counter
from typing import Any

import pytest

from hybrid_jax.data.schedule import MixtureConfig
from hybrid_jax.export.training import Training
from hybrid_jax.runs.trained_on import TrainedOn

BOTH = ["monolingual", "cross_lingual"]


def training(mixture: dict[str, Any] | None = None, kinds: list[str] | None = None, languages: str = "") -> Training:
    """Of a run with this mixture; its log, if any, has a batch of each kind and a query in each language."""
    seen = None
    if kinds is not None:
        queries = Counter((kinds[0], language) for language in languages.split())
        seen = TrainedOn(len(kinds), logged=len(kinds), batches=Counter(kinds), queries=queries)
    return Training({"mixture": MixtureConfig(**(mixture or {})).model_dump(mode="json")}, {}, seen)


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        ({}, "monolingual and cross-lingual batches"),
        ({"monolingual_fraction": 1.0}, "monolingual batches"),
        ({"monolingual_fraction": 0.0}, "cross-lingual batches"),
        ({"monolingual_fraction": 0.0, "others": "aligned"}, "aligned batches"),
        ({"weights": {"same_language": 1, "cross_lingual": 0}}, "same-language batches"),
        (
            {"weights": {"aligned": 1, "same_language": 1, "monolingual": 1}},
            "monolingual, same-language and aligned batches",
        ),
        ({"mix": "pairs"}, "batches of monolingual and cross-lingual pairs"),
    ],
)
def test_a_run_without_a_log_is_described_by_its_mixture(mixture: dict[str, Any], words: str):
    described = training(mixture)
    assert described.batches == words
    assert described.is_hybrid == ("monolingual and cross-lingual" in words)
    assert described.is_multilingual == ("cross-lingual" in words)


def test_the_log_decides_where_there_is_one():
    """A run that was stopped has not seen every kind that its curriculum would have come to."""
    curriculum = {"monolingual_fraction": ((0, 1.0), (10, 0.0))}
    assert training(curriculum).batches == "monolingual and cross-lingual batches"
    assert training(curriculum, ["monolingual"], "de").batches == "monolingual batches"
    assert training(curriculum, BOTH, "de en").batches == "monolingual and cross-lingual batches"


def test_one_language_is_not_multilingual_however_it_is_written():
    assert training({}, BOTH, "de en").is_multilingual
    assert not training({}, ["monolingual"], "de").is_multilingual
    assert not training({}, ["monolingual"], "pt pt-BR").is_multilingual


def test_the_function_that_replaced_the_loss_is_named():
    assert training().objective is None
    assert training()._replace(data={"the objective": "mine.hinge"}).objective == "mine.hinge"
