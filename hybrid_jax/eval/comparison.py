"""A comparison of systems as types, and as tables for a terminal. `compare.py` makes it."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.tables import aligned
from hybrid_jax.eval.measures.catalogue import METRICS
from hybrid_jax.eval.measures.parts import PART_LABELS, Part

SCHEMA_VERSION = 1
Verdict = Literal["better", "worse", "higher", "lower", "no evidence"]
"""Of a metric that only describes, such as `first_right_other`, a difference is "higher" or "lower"."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Model):
    """The macro mean of one system, with its interval."""

    estimate: float
    low: float
    high: float


class Difference(_Model):
    """A system minus the baseline, with its interval."""

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    """Corrected over all differences of the comparison."""
    verdict: Verdict


class MetricRow(_Model):
    """One metric in one setting."""

    metric: str
    setting: Part
    systems: dict[str, Estimate]
    """By the system's name."""
    against_baseline: dict[str, Difference]
    """By the system's name; every system after the first."""
    intervals: bool = True
    """Whether there are intervals and verdicts: not where a language has too few questions or paragraphs for one (see
    `stats.enough`)."""


class TaskComparison(_Model):
    """One task that all runs were evaluated on."""

    queries: int
    questions: int
    """Translations of a question count once."""
    units: int
    """What is resampled and swapped: questions, of which those on one paragraph count once."""
    rows: list[MetricRow]


class Comparison(_Model):
    """What `compare` writes with --json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    baseline: str
    """The first system."""
    systems: dict[str, int]
    """How many runs each system has."""
    confidence: float
    """Of the intervals."""
    notes: list[str]
    """What was left out, and what a verdict does not cover."""
    tasks: dict[str, TaskComparison]
    """By task key."""
    runs: dict[str, list[str]] = {}
    """The per-query files of each system, where it was read from files."""

    def json_value(self) -> dict[str, Any]:
        """As plain JSON values; the ends of intervals that there are not are null."""
        value = self.model_dump(mode="json")
        for row in (row for task in value["tasks"].values() for row in task["rows"] if not row["intervals"]):
            for bounded in (*row["systems"].values(), *row["against_baseline"].values()):
                bounded |= {"low": None, "high": None}
        return value


def text(comparison: Comparison) -> str:
    """The tables and verdicts for a terminal."""
    names = {name: name if runs == 1 else f"{name} ({runs} runs)" for name, runs in comparison.systems.items()}
    tests = sum(len(row.against_baseline) for task in comparison.tasks.values() for row in task.rows)
    percent = f"{comparison.confidence:.0%}".replace("%", " %")
    lines: list[str] = []
    for key, task in comparison.tasks.items():
        size = f"{task.queries:,} queries, {task.questions:,} questions"
        drawn = f" in {task.units:,} groups by paragraph" if task.units < task.questions else ""
        lines += [f"{key}: {size}{drawn}; {percent} intervals", ""]
        rows = [["metric", "", *names.values()]]
        for row in task.rows:
            rows.append([*_label(row), *(_bounds(row, value.estimate, value) for value in row.systems.values())])
        lines += [*_table(rows), ""]
        for name in list(names)[1:]:
            baseline = names[comparison.baseline]
            lines.append(f"{names[name]} against {baseline}, difference and p (Holm, {tests} tests):")
            rows = []
            for row in task.rows:
                value = row.against_baseline[name]
                p = "p < 0.0001" if value.p_holm < 1e-4 else f"p = {value.p_holm:.4f}"
                rows.append([*_label(row), value.verdict, _bounds(row, value.difference, value, "+"), p])
            lines += [*_table(rows), ""]
    return "\n".join([*lines, *(f"note: {note}" for note in comparison.notes)]).rstrip() + "\n"


def _label(row: MetricRow) -> list[str]:
    return [METRICS[row.metric].label, PART_LABELS[row.setting]]


def _bounds(row: MetricRow, number: float, interval: Estimate | Difference, sign: str = "") -> str:
    digits = METRICS[row.metric].digits
    shown, low, high = (f"{value:{sign},.{digits}f}" for value in (number, interval.low, interval.high))
    return f"{shown} [{low}, {high}]" if row.intervals else shown


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["  " + line for line in aligned(rows, left=range(len(rows[0])))]
