"""What the whole evaluation must say of the three models of `calibration.py`, on any task.

`calibrate` runs `full_ranking.run` on each model and works out what it should find; each `check_` function compares the
two in one respect.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from support.calibration import figures, models, named
from support.expectations import expected

from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures.catalogue import BIAS, DEPTH
from hybrid_jax.eval.tasks import RetrievalTask


@dataclass(frozen=True)
class Calibration:
    """{model: {figure: value}}, measured and worked out, and the 95 % intervals of random embeddings."""

    measured: Mapping[str, Mapping[str, float]]
    expected: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    margins: Mapping[str, float]
    """How far random embeddings may be off in the figures without an interval, or with one that is not about them."""


def calibrate(task: RetrievalTask, questions: Mapping[str, int] | None = None) -> Calibration:
    """Evaluates the three models on all candidates; a model in `questions` on that many of the question ids.

    The oracle's probe is not checked on such a part of a task: the probe keeps translations on one side of its split,
    and it knows translations by the questions that they answer.
    """
    task = named(task)
    tasks = {name: _part(task, questions[name]) if questions and name in questions else task for name in models(task)}
    results = {name: run(models(part)[name], [part]).tasks[part.name] for name, part in tasks.items()}
    intervals = {
        f"{metric}/{setting}": limits
        for metric, settings in results["random"].intervals.items()
        for setting, limits in settings.items()
    }
    intervals["rank_distance"] = intervals["rank_distance/multilingual"]
    for name, value in results["random"].bias.items():
        if value.low is not None and value.high is not None:
            intervals[f"bias/{name}"] = value.low, value.high
    worked_out = {name: dict(expected(part)[name]) for name, part in tasks.items()}
    if questions and "oracle" in questions:
        del worked_out["oracle"]["bias/language_probe"]
    measured = {
        name: {figure: value for figure, value in figures(result).items() if value is not None}
        for name, result in results.items()
    }
    return Calibration(measured, worked_out, intervals, _margins(task))


def check_random_embeddings(calibration: Calibration) -> None:
    """Random embeddings get what chance gives."""
    measured, worked_out = calibration.measured["random"], calibration.expected["random"]
    for figure, value in worked_out.items():
        if figure in calibration.margins:
            margin = calibration.margins[figure]
        else:  # two half-widths of a 95 % interval are four standard errors
            low, high = calibration.intervals[figure]
            margin = high - low + 1e-12
        assert measured[figure] == pytest.approx(value, abs=margin), figure
    assert len(worked_out) >= 20


def check_oracle(calibration: Calibration) -> None:
    """An oracle is perfect."""
    measured, worked_out = calibration.measured["oracle"], calibration.expected["oracle"]
    for figure, value in worked_out.items():
        margin = calibration.margins[figure] if figure == "bias/language_probe" else 1e-9
        assert measured[figure] == pytest.approx(value, abs=margin), figure
    assert len(worked_out) >= 20


def check_language_alone(calibration: Calibration) -> None:
    """Language alone gets what the tie rule gives."""
    measured, worked_out = calibration.measured["language only"], calibration.expected["language only"]
    for figure, value in worked_out.items():
        assert measured[figure] == pytest.approx(value, rel=1e-9, abs=1e-12), figure
    assert len(worked_out) >= 18


def check_language_alone_is_most_biased(calibration: Calibration) -> None:
    """No measure of bias finds more of it in the other two."""
    # Max@R is high without any bias too; a model that prefers each query's own language favours none overall.
    neutral = {"max_rank", "favoured_language", *(name for name in BIAS if BIAS[name].better == "neither")}
    most = calibration.measured["language only"]
    others = [calibration.measured[name] for name in ("random", "oracle")]
    names = [name for name in BIAS if f"bias/{name}" in most and name not in neutral]
    assert len(names) >= 10
    for name in names:
        sign = 1 if BIAS[name].better == "lower" else -1
        assert all(sign * most[f"bias/{name}"] >= sign * other[f"bias/{name}"] for other in others), name


def check_blind_test_is_left_out(calibration: Calibration) -> None:
    """The test of equal ranks says nothing where no language has several answers, so it has no value."""
    assert f"bias/equal_rank@{DEPTH}" not in calibration.measured["random"]


def _part(task: RetrievalTask, questions: int) -> RetrievalTask:
    """That many question ids in all their languages; every candidate stays."""
    ids = sorted({query.id for query in task.queries})
    chosen = set(np.random.default_rng(1).permutation(ids)[:questions].tolist())
    rows = [row for row, query in enumerate(task.queries) if query.id in chosen]
    number = {row: place for place, row in enumerate(rows)}
    relevance = [(number[query], candidate) for query, candidate in task.relevance.tolist() if query in number]
    return replace(task, queries=tuple(task.queries[row] for row in rows), relevance=np.array(relevance))


def _margins(task: RetrievalTask) -> dict[str, float]:
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


CHECKS = {
    "random embeddings get what chance gives": check_random_embeddings,
    "an oracle is perfect": check_oracle,
    "language alone gets what the tie rule gives": check_language_alone,
    "language alone is the most biased of the three": check_language_alone_is_most_biased,
    "the test of equal ranks is left out where it is blind": check_blind_test_is_left_out,
}
"""What must hold of every calibration, on a small task in the suite and at full size in `make parity`."""
