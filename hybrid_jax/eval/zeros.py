"""Evaluations in which every figure of a task is 0: they are said aloud, since most are mistakes."""

import math
from collections.abc import Iterable
from dataclasses import replace

from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.measures.catalogue import BITEXT, FULL_RANKING, POOLS
from hybrid_jax.eval.report.schema import BitextResult, PoolResult, RankedResult

ZERO_WARNING = (
    "every figure is 0 to four decimals; likely causes: queries and documents of different benchmarks, the wrong "
    "qrels, a model whose weights are damaged or untrained, or a prompt or language that it does not know"
)


def figures(result: RankedResult | PoolResult | BitextResult) -> dict[str, float]:
    """The figures by which a task is judged, each between 0 and 1, by "metric" or "metric.setting"."""
    if isinstance(result, RankedResult):
        values = {f"{name}.{key}": value for name in FULL_RANKING for key, value in result.means(name).items()}
        return {name: value for name, value in values.items() if value is not None}
    return {name: result[name] for name in (POOLS if isinstance(result, PoolResult) else BITEXT)}


def zero_tasks(evaluation: Evaluation) -> list[str]:
    """The keys of the tasks whose every figure is 0.0000. Raises ValueError for a figure that is NaN or infinite."""
    results = {**evaluation.tasks, **evaluation.searches, **evaluation.bitext}
    zeros = []
    for key, result in results.items():
        values = figures(result)
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise ValueError(
                f"task {key}: {wrong[0]} is {values[wrong[0]]}, so the evaluation cannot be used: check that the "
                "model's weights are finite"
            )
        if all(round(value, 4) == 0 for value in values.values()):
            zeros.append(key)
    return zeros


def with_warnings(evaluation: Evaluation, keys: Iterable[str]) -> Evaluation:
    """The same evaluation, with `ZERO_WARNING` at the end of what these tasks' results say about them."""
    warned = set(keys)

    def marked(results):
        return {
            key: result.model_copy(update={"about": f"{result.about}; {ZERO_WARNING}"}) if key in warned else result
            for key, result in results.items()
        }

    return replace(
        evaluation,
        tasks=marked(evaluation.tasks),
        searches=marked(evaluation.searches),
        bitext=marked(evaluation.bitext),
    )
