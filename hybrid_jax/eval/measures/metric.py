"""What is said of one metric: its names, what it answers, which way is better, how it is computed, who defined it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hybrid_jax.eval.measures import metrics

Score = Callable[[metrics.RankRows, metrics.Grades | None], metrics.PerQuery]
"""Ranks of each query's relevant candidates, and their grades (None: all alike) -> one value per query."""


@dataclass(frozen=True)
class Metric:
    """One metric: what it is called, what it tells, and which way is better."""

    name: str
    """Its key in report.json, per_query.npz and curves, and its name in `--metric` and `--metrics`."""
    label: str
    """Its heading in tables and figures."""
    question: str
    """What it answers, in a few words."""
    better: Literal["higher", "lower", "neither"] = "higher"
    """Which way is better; of a bias measure, which way is less bias. "neither" for what only describes."""
    digits: int = 4
    """Decimals in tables."""
    score: Score | None = None
    """Its value per query from the ranks of the relevant candidates, for the metrics that need nothing else."""
    mteb: str | None = None
    """mteb's name, where mteb defines it in the same way."""
    source: str = ""
    """Who defined it."""

    def values(self, ranks: metrics.RankRows, grades: metrics.Grades | None = None) -> metrics.PerQuery:
        """`score` of the ranks. Raises TypeError for a metric that ranks alone do not give."""
        if self.score is None:
            raise TypeError(f"{self.name} cannot be computed from ranks alone")
        return self.score(ranks, grades)


def named(*entries: Metric) -> Mapping[str, Metric]:
    """The metrics by name, in the order given."""
    return {entry.name: entry for entry in entries}
