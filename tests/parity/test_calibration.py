"""The calibration of `tests/eval/test_calibration.py` on the pools of XQuAD-R and MLQA-R: three minutes on 2 cores."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.calibration_checks import (
    Calibration,
    calibrate,
    check_blind_test_is_left_out,
    check_language_alone,
    check_language_alone_is_most_biased,
    check_oracle,
    check_random_embeddings,
)

from hybrid_jax.eval.tasks import RetrievalTask, mlqa_r, xquad_r

TASKS: Mapping[str, Callable[[Path], RetrievalTask]] = {"xquad_r": xquad_r, "mlqa_r": mlqa_r}
QUESTIONS = {"oracle": 150, "language only": 40}
"""Nothing about these two is random, so that a few questions show as much; the pools stay whole."""


@pytest.fixture(scope="module", params=TASKS)
def calibration(request: pytest.FixtureRequest, real_data: Path) -> Calibration:
    return calibrate(TASKS[request.param](real_data), QUESTIONS)


def test_random_embeddings_get_what_chance_gives(calibration: Calibration):
    check_random_embeddings(calibration)


def test_an_oracle_is_perfect(calibration: Calibration):
    check_oracle(calibration)


def test_language_alone_gets_what_the_tie_rule_gives(calibration: Calibration):
    check_language_alone(calibration)


def test_language_alone_is_the_most_biased_of_the_three(calibration: Calibration):
    check_language_alone_is_most_biased(calibration)


def test_the_test_of_equal_ranks_is_left_out_where_it_is_blind(calibration: Calibration):
    check_blind_test_is_left_out(calibration)
