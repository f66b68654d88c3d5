"""What the page shows of searched pools and mined bitext: means with intervals, and the tests against the baselines."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.ablate.statistics import Figure, OtherKind, Statistics, Table
from hybrid_jax.eval.measures.catalogue import BITEXT, POOLS, Metric
from hybrid_jax.eval.report.rows import amount
from hybrid_jax.eval.report.schema import BitextResult, PoolResult


class OtherTask(NamedTuple):
    """One searched pool or one mined bitext."""

    key: str
    facts: str
    header: list[str]
    rows: dict[str, list[tuple[str, str]]]
    """{arm: (mean over seeds, its interval) of every metric}, as text; every seed's value in place of an interval of a
    metric that single queries do not have."""
    tables: list[Table]
    """The tests, a table for each baseline."""


def others(sweep: Sweep, statistics: Statistics) -> list[OtherTask]:
    """The searched pools, then the mined bitext, that every evaluated run has."""
    tasks = []
    first = next(iter(sweep.runs.values()))[0]
    for key in sweep.other_tasks:
        kind, metrics = _kind(first, key)
        rows = {
            arm: [_cell((name, kind), key, arm, runs, statistics) for name in metrics]
            for arm, runs in sweep.runs.items()
        }
        header = [metric.label for metric in metrics.values()]
        tasks.append(OtherTask(key, _result(first, key).about, header, rows, statistics.of_task(key, kind)))
    return tasks


def _kind(run: Evaluated, key: str) -> tuple[OtherKind, Mapping[str, Metric]]:
    return ("search", POOLS) if key in run.report.searches else ("bitext", BITEXT)


def _cell(figure: Figure, key: str, arm: str, runs: Sequence[Evaluated], statistics: Statistics) -> tuple[str, str]:
    name = figure[0]
    if value := statistics.estimates.get((key, arm, figure)):
        return amount(name, value.estimate), f"{amount(name, value.low)} – {amount(name, value.high)}"
    values = [_result(run, key)[name] for run in runs]
    seeds = ", ".join(amount(name, value) for value in values) if len(values) > 1 else ""
    return amount(name, sum(values) / len(values)), seeds


def _result(run: Evaluated, key: str) -> PoolResult | BitextResult:
    return run.report.searches[key] if key in run.report.searches else run.report.bitext[key]
