"""Chance, an oracle and language alone get from the whole evaluation what can be worked out for them on paper.

`test_bias.py` does this for each measure by itself; here it is the tool: `runner.run`, its macro means and its panel,
on languages of different sizes and, where there are real data, on the pools of XQuAD-R and MLQA-R.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support.calibration import figures, models, named
from support.expectations import expected

from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures.panel import DEPTH, MEASURES
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask, mlqa_r, xquad_r


def uneven() -> RetrievalTask:
    """240 questions in two or three of four languages, whose pools of 150 to 400 hold others beside the answers."""
    rng = np.random.default_rng(5)
    sizes = {"ar": 150, "de": 250, "en": 400, "th": 200}
    asked = {f"{row:03}": sorted(rng.choice([*sizes], size=2 + row % 2, replace=False)) for row in range(240)}
    queries = [(language, name) for name, languages in asked.items() for language in languages]
    pool = [(language, f"{place:03}") for language, size in sizes.items() for place in rng.permutation(size)]
    free = {language: rng.permutation(size).tolist() for language, size in sizes.items()}
    # Several questions of a language can have the same answer: there are fewer candidates than questions.
    answer = {query: f"{free[query[0]][row % sizes[query[0]]]:03}" for row, query in enumerate(queries)}
    row_of = {candidate: row for row, candidate in enumerate(pool)}
    relevance = [
        (row, row_of[language, answer[language, name]])
        for row, (_, name) in enumerate(queries)
        for language in asked[name]
    ]
    return RetrievalTask(
        name="uneven",
        queries=tuple(Query(name, language, "") for language, name in queries),
        candidates=tuple(Candidate(name, language, ("",)) for language, name in pool),
        relevance=np.array(relevance),
        candidate_texts=("text",),
    )


def some(task: RetrievalTask, questions: int) -> RetrievalTask:
    """That many question ids in all their languages; every candidate stays."""
    ids = sorted({query.id for query in task.queries})
    chosen = set(np.random.default_rng(1).permutation(ids)[:questions].tolist())
    rows = [row for row, query in enumerate(task.queries) if query.id in chosen]
    number = {row: place for place, row in enumerate(rows)}
    relevance = [(number[query], held) for query, held in task.relevance.tolist() if query in number]
    return replace(task, queries=tuple(task.queries[row] for row in rows), relevance=np.array(relevance))


@dataclass(frozen=True)
class Calibration:
    """{model: {figure: value}}, measured and worked out, and the 95 % intervals of random embeddings."""

    measured: Mapping[str, Mapping[str, float]]
    expected: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    chance: Mapping[str, float]
    """How far random embeddings may be off in the figures that have no interval, or none that is about the formula."""


def chance(task: RetrievalTask) -> dict[str, float]:
    languages, size = len({row.language for row in task.candidates}), len(task.candidates)
    complete = expected(task)["random"][f"bias/complete@{DEPTH}"]
    return {
        # Four standard errors of a share so small that no question may have it, which leaves the bootstrap no spread.
        f"bias/complete@{DEPTH}": 4 * math.sqrt(complete / len(task.queries)),
        # Four standard errors: of a share among the fifth that is held out, of the skewness of so many counts.
        "bias/language_probe": 4 * math.sqrt((1 / languages) * (1 - 1 / languages) / (size / 5)),
        f"bias/hubness@{DEPTH}": 4 * math.sqrt(6 / size),
        f"bias/hub_share@{DEPTH}": 0.15 * 0.02,
        # Worked out for lists that share no candidate; of 1,000 candidates, two lists of 20 share 0.4.
        f"bias/rank_correlation@{DEPTH}": 0.03,
    }


TASKS: dict[str, Callable[[Path], RetrievalTask]] = {
    "uneven": lambda data: uneven(),
    "xquad_r": xquad_r,
    "mlqa_r": mlqa_r,
}
# Nothing about these two is drawn by chance, so a few questions show as much; the pools stay whole.
QUESTIONS = {"oracle": 150, "language only": 40}


@pytest.fixture(scope="module", params=TASKS)
def calibration(request: pytest.FixtureRequest) -> Calibration:
    data = Path() if request.param == "uneven" else request.getfixturevalue("real_data")
    task = named(TASKS[request.param](data))
    small = request.param == "uneven"
    tasks = {name: task if small or name == "random" else some(task, QUESTIONS[name]) for name in models(task)}
    results = {name: run(models(one)[name], [one])["tasks"][one.name] for name, one in tasks.items()}
    intervals = {
        f"{metric}/{setting}": (low, high)
        for metric, settings in results["random"]["intervals"].items()
        for setting, (low, high) in settings.items()
    }
    panel = {f"bias/{name}": row for name, row in results["random"]["bias"].items() if row["low"] is not None}
    intervals |= {name: (row["low"], row["high"]) for name, row in panel.items()}
    known = {name: dict(expected(one)[name]) for name, one in tasks.items()}
    if not small:
        # Translations are known by the questions that they answer: without those the split cuts them apart, and the
        # probe is asked for a language that it has met every other translation in.
        del known["oracle"]["bias/language_probe"]
    return Calibration(
        {name: figures(result) for name, result in results.items()},
        known,
        {**intervals, "rank_distance": intervals["bias/rank_distance"]},
        chance(task),
    )


def test_random_embeddings_get_what_chance_gives(calibration: Calibration):
    found, known = calibration.measured["random"], calibration.expected["random"]
    for figure, value in known.items():
        if figure in calibration.chance:
            margin = calibration.chance[figure]
        else:  # two half-widths of a 95 % interval are four standard errors
            low, high = calibration.intervals[figure]
            margin = high - low + 1e-12
        assert found[figure] == pytest.approx(value, abs=margin), figure
    assert len(known) >= 20


def test_an_oracle_is_perfect(calibration: Calibration):
    found, known = calibration.measured["oracle"], calibration.expected["oracle"]
    for figure, value in known.items():
        margin = calibration.chance[figure] if figure == "bias/language_probe" else 1e-9
        assert found[figure] == pytest.approx(value, abs=margin), figure
    assert len(known) >= 20


def test_language_alone_gets_what_the_tie_rule_gives(calibration: Calibration):
    found, known = calibration.measured["language only"], calibration.expected["language only"]
    for figure, value in known.items():
        assert found[figure] == pytest.approx(value, rel=1e-9, abs=1e-12), figure
    assert len(known) >= 18


def test_language_alone_is_the_most_biased_of_the_three(calibration: Calibration):
    # Max@R counts how deep one reads, which is deep without any bias too; no language is favoured over all others by
    # whoever favours each query's own.
    neither = {"max_rank", "favoured_language", *(name for name in MEASURES if MEASURES[name].biased == "neither")}
    most, others = calibration.measured["language only"], [calibration.measured[name] for name in ("random", "oracle")]
    names = [name for name in MEASURES if f"bias/{name}" in most and name not in neither]
    assert len(names) >= 10
    for name in names:
        sign = 1 if MEASURES[name].biased == "higher" else -1
        assert all(sign * most[f"bias/{name}"] >= sign * other[f"bias/{name}"] for other in others), name


def test_the_test_of_equal_ranks_is_left_out_where_it_is_blind(calibration: Calibration):
    assert f"bias/equal_rank@{DEPTH}" not in calibration.measured["random"]
