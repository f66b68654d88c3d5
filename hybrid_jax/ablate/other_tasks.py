"""Tables of searched pools and mined bitext, whose values per query are not kept: means over seeds, without tests."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.eval.measures.catalogue import BITEXT, POOLS, Metric
from hybrid_jax.eval.report.rows import amount
from hybrid_jax.eval.report.scores import Scores


class OtherTask(NamedTuple):
    """One searched pool or one mined bitext."""

    key: str
    facts: str
    header: list[str]
    rows: dict[str, list[tuple[str, str]]]
    """{arm: (mean over seeds, every seed's value) of every metric}, as text."""


def others(sweep: Sweep) -> list[OtherTask]:
    """The searched pools, then the mined bitext, that every evaluated run has."""
    runs = [run for group in sweep.runs.values() for run in group]
    tables = []
    for metrics in (POOLS, BITEXT):
        for key in _results(runs[0], metrics):
            if all(key in _results(run, metrics) for run in runs):
                rows = {
                    arm: _row(metrics, [_results(run, metrics)[key] for run in group])
                    for arm, group in sweep.runs.items()
                }
                labels = [metric.label for metric in metrics.values()]
                tables.append(OtherTask(key, _about(runs[0], key), labels, rows))
    return tables


def _results(run: Evaluated, metrics: Mapping[str, Metric]) -> Mapping[str, Scores[float]]:
    return run.report.searches if metrics is POOLS else run.report.bitext


def _about(run: Evaluated, key: str) -> str:
    return (run.report.searches[key] if key in run.report.searches else run.report.bitext[key]).about


def _row(metrics: Mapping[str, Metric], results: Sequence[Scores[float]]) -> list[tuple[str, str]]:
    cells = []
    for name in metrics:
        values = [result[name] for result in results]
        seeds = ", ".join(amount(name, value) for value in values) if len(values) > 1 else ""
        cells.append((amount(name, sum(values) / len(values)), seeds))
    return cells
