"""Chance, an oracle and language alone get from the whole evaluation what can be worked out for them on paper.

`measures/test_bias.py` does this for each measure by itself; here it is the whole tool, on languages of different
sizes. `tests/parity/test_calibration.py` does the same at the size of XQuAD-R and MLQA-R.
"""

import numpy as np
import pytest
from support.calibration_checks import CHECKS, Calibration, calibrate

from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask


def uneven() -> RetrievalTask:
    """240 questions in two or three of four languages, whose pools of 150 to 400 hold others beside the answers."""
    rng = np.random.default_rng(5)
    sizes = {"ar": 150, "de": 250, "en": 400, "th": 200}
    languages_of = {f"{row:03}": sorted(rng.choice([*sizes], size=2 + row % 2, replace=False)) for row in range(240)}
    queries = [(language, name) for name, languages in languages_of.items() for language in languages]
    pool = [(language, f"{place:03}") for language, size in sizes.items() for place in rng.permutation(size)]
    free = {language: rng.permutation(size).tolist() for language, size in sizes.items()}
    # Several questions of a language can have the same answer: there are fewer candidates than questions.
    answer = {query: f"{free[query[0]][row % sizes[query[0]]]:03}" for row, query in enumerate(queries)}
    row_of = {candidate: row for row, candidate in enumerate(pool)}
    relevance = [
        (row, row_of[language, answer[language, name]])
        for row, (_, name) in enumerate(queries)
        for language in languages_of[name]
    ]
    return RetrievalTask(
        name="uneven",
        queries=tuple(Query(name, language, "") for language, name in queries),
        candidates=tuple(Candidate(name, language, ("",)) for language, name in pool),
        relevance=np.array(relevance),
        candidate_texts=("text",),
    )


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(uneven())


@pytest.mark.parametrize("property", CHECKS)
def test_it_holds_that(property: str, calibration: Calibration):
    CHECKS[property](calibration)
