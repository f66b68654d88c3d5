"""The calibration of `tests/eval/test_calibration.py` on the pools of XQuAD-R and MLQA-R: three minutes on 2 cores."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.calibration_checks import CHECKS, Calibration, calibrate

from hybrid_jax.eval.tasks import RetrievalTask, mlqa_r, xquad_r

TASKS: Mapping[str, Callable[[Path], RetrievalTask]] = {"xquad_r": xquad_r, "mlqa_r": mlqa_r}
QUESTIONS = {"oracle": 150, "language only": 40}
"""Nothing about these two is random, so that a few questions show as much; the pools stay whole."""


@pytest.fixture(scope="module", params=TASKS)
def calibration(request: pytest.FixtureRequest, real_data: Path) -> Calibration:
    return calibrate(TASKS[request.param](real_data), QUESTIONS)


@pytest.mark.parametrize("property", CHECKS)
def test_it_holds_that(property: str, calibration: Calibration):
    CHECKS[property](calibration)
