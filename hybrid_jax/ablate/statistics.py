"""The statistics of a sweep: every figure of every arm with its interval, and the tests against the baselines.

Everything is `eval compare`'s: an interval covers questions (those on one paragraph are resampled together,
with their translations) and, where an arm has several seeds, seeds; a test pairs the two arms question by question (an
arm and its own runs after debiasing also seed by seed). A *table* is one task's headline figures, or its bias measures,
or the metrics of a searched pool or of mined bitext, against one baseline. Holm's correction is over a table, which
controls the probability of any false verdict in it; Benjamini and Hochberg's (1995) is over all tables of the sweep,
which controls the expected share of false ones among the differences that are called real.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.eval.compare import compare
from hybrid_jax.eval.comparison import Difference, Estimate
from hybrid_jax.eval.measures import per_query, stats
from hybrid_jax.eval.measures.catalogue import (
    BITEXT,
    MAP,
    PER_QUERY_BIAS,
    POOLS,
    RANK_DISTANCE,
    SETTINGS,
    SPACE_BIAS,
    Metric,
    Setting,
)
from hybrid_jax.eval.measures.parts import Part
from hybrid_jax.eval.measures.units import Units

OtherKind = Literal["search", "bitext"]
Kind = Literal["headline", "bias"] | OtherKind
Figure = tuple[str, Part]
"""A metric's name and what it is measured in: a setting, a searched pool or mined bitext."""
HEADLINE: tuple[tuple[str, Setting], ...] = (
    *((MAP.name, setting) for setting in SETTINGS),
    (RANK_DISTANCE.name, "multilingual"),
)
TESTED_BIAS: Mapping[str, Metric] = {
    name: metric for name, metric in PER_QUERY_BIAS.items() if metric.better != "neither" and name != RANK_DISTANCE.name
}
"""The bias measures that have a value for every query and a better side, without the rank distance of the headline."""

FIGURES: Mapping[Kind, tuple[Figure, ...]] = {
    "headline": HEADLINE,
    "bias": tuple((name, "multilingual") for name in TESTED_BIAS),
    "search": tuple((name, "search") for name in POOLS),
    "bitext": tuple((name, "bitext") for name in BITEXT),
}
OTHER_KINDS: tuple[OtherKind, ...] = ("search", "bitext")
"""What a task that is not ranked in full has."""
_PARTS: Mapping[Kind, tuple[Part, ...]] = {
    "headline": SETTINGS,
    "bias": SETTINGS,
    "search": ("search",),
    "bitext": ("bitext",),
}
"""Where the figures of a kind are looked for; what has none of the kind has nothing in the last one."""


@dataclass(frozen=True)
class PairedTest:
    """One arm against a baseline in one figure."""

    arm: str
    figure: Figure
    difference: Difference
    """Arm minus baseline; its `p_holm` is corrected over the table."""
    q: float
    """p corrected by Benjamini and Hochberg over the whole sweep."""
    recipes: bool
    """Whether both arms have several seeds: only then does the test speak of recipes rather than of checkpoints."""


@dataclass(frozen=True)
class Table:
    """One family of tests."""

    task: str
    kind: Kind
    baseline: str
    tests: tuple[PairedTest, ...]

    def test(self, arm: str, figure: Figure) -> PairedTest | None:
        """The test of one arm in one figure; None for the baseline itself."""
        return next((test for test in self.tests if (test.arm, test.figure) == (arm, figure)), None)

    def arms(self) -> list[str]:
        """The tested arms."""
        return list(dict.fromkeys(test.arm for test in self.tests))


@dataclass(frozen=True)
class Statistics:
    """All estimates and tests of a sweep."""

    estimates: Mapping[tuple[str, str, Figure], Estimate]
    """By task, arm and figure."""
    tables: tuple[Table, ...]
    left_out: Mapping[str, Sequence[str]]
    """By task, the metrics that some runs have and others lack, or have of other queries; none where all agree."""

    def of_task(self, task: str, kind: Kind) -> list[Table]:
        """A task's tables of one kind, one for each baseline."""
        return [table for table in self.tables if (table.task, table.kind) == (task, kind)]

    def of_kind(self, kind: Kind) -> list[Table]:
        """The tables of one kind, of all tasks, in their order."""
        return [table for table in self.tables if table.kind == kind]

    def figures(self, task: str, kind: Kind) -> list[Figure]:
        """The figures of one kind that the task has, in their order."""
        order = FIGURES[kind]
        measured = {figure for key, _, figure in self.estimates if key == task}
        return [figure for figure in order if figure in measured]

    def by_arm(self, task: str, figure: Figure) -> dict[str, Estimate]:
        """One figure of every arm; empty where the task does not have it."""
        return {
            arm: value for (key, arm, measured), value in self.estimates.items() if (key, measured) == (task, figure)
        }


def analyse(sweep: Sweep) -> Statistics:
    """The statistics of the evaluated runs.

    A baseline without evaluated runs gets no table. Raises ValueError where runs were not evaluated on the same data.
    """
    estimates: dict[tuple[str, str, Figure], Estimate] = {}
    tables: list[Table] = []
    left_out: dict[str, list[str]] = {}
    for task in (*sweep.tasks, *sweep.other_tasks):
        for kind, figures in FIGURES.items():
            names = list(dict.fromkeys(name for name, _ in figures))
            metrics = _measured(sweep, task, names, _PARTS[kind])
            if lacking := [n for n in names if n not in metrics and _somewhere(sweep, task, n, _PARTS[kind])]:
                left_out.setdefault(task, []).extend(lacking)
            estimates |= _estimates(sweep, task, metrics, _PARTS[kind])
            for baseline in sweep.plan.baselines:
                tested = [arm for arm in sweep.plan.tested(baseline) if arm in sweep.runs]
                if metrics and tested and baseline in sweep.runs:
                    tables.append(_table(sweep, task, kind, [baseline, *tested], metrics))
    return Statistics(estimates, tuple(_discoveries(tables)), left_out)


def language_estimates(sweep: Sweep, task: str, figure: Figure) -> dict[str, dict[str, Estimate]]:
    """{query language: {arm: estimate}} of one figure; languages and arms without a value are left out."""
    by_language: dict[str, dict[str, Estimate]] = {}
    languages = {language for runs in sweep.runs.values() for language in runs[0].tables[task].languages}
    for language in sorted(languages):
        for arm, runs in sweep.runs.items():
            values = [_of_language(run, task, figure, language) for run in runs]
            if not any(np.isnan(value).all() for value in values):
                tables = [run.tables[task] for run in runs]
                rows = [table.clustered(value) for table, value in zip(tables, values, strict=True)]
                by_language.setdefault(language, {})[arm] = _estimate(np.stack(rows), tables[0].units)
    return by_language


def space_measures(sweep: Sweep, task: str) -> dict[str, dict[str, list[float]]]:
    """{measure of the whole embedding space: {arm: its value in every run}}, as the reports have them; no intervals."""
    measured: dict[str, dict[str, list[float]]] = {}
    for name, metric in SPACE_BIAS.items():
        for arm, runs in sweep.runs.items():
            values = [run.report.tasks[task].bias[name].value for run in runs if name in run.report.tasks[task].bias]
            finite = [value for value in values if value is not None]
            if metric.better != "neither" and len(finite) == len(runs):
                measured.setdefault(name, {})[arm] = finite
    return {name: arms for name, arms in measured.items() if len(arms) == len(sweep.runs)}


def _measured(sweep: Sweep, task: str, names: Sequence[str], parts: Sequence[Part]) -> list[str]:
    """The metrics that every run has in the last of the parts, of the same queries: others do not compare."""
    tables = _tables(sweep, task)
    return [
        name
        for name in names
        if all(_has(table, name, parts) for table in tables) and all(_same_queries(tables, name, p) for p in parts)
    ]


def _somewhere(sweep: Sweep, task: str, name: str, parts: Sequence[Part]) -> bool:
    """Whether some run has the metric."""
    return any(_has(table, name, parts) for table in _tables(sweep, task))


def _tables(sweep: Sweep, task: str) -> list[per_query.Table]:
    return [run.tables[task] for group in sweep.runs.values() for run in group]


def _has(table: per_query.Table, name: str, parts: Sequence[Part]) -> bool:
    values = table.part(parts[-1])
    return name in values and _any(values[name])


def _same_queries(tables: Sequence[per_query.Table], name: str, setting: Part) -> bool:
    """Whether the metric exists for the same queries in all tables, as far as they have the same queries at all."""
    gaps = [np.isnan(table.part(setting)[name]) for table in tables if name in table.part(setting)]
    if len(gaps) not in (0, len(tables)):
        return False
    return all(gap.shape != gaps[0].shape or np.array_equal(gap, gaps[0]) for gap in gaps)


def _estimates(
    sweep: Sweep, task: str, metrics: Sequence[str], parts: Sequence[Part]
) -> Iterator[tuple[tuple[str, str, Figure], Estimate]]:
    for name in metrics:
        for setting in parts:
            for arm, runs in sweep.runs.items():
                tables = [run.tables[task] for run in runs]
                if all(name in table.part(setting) and _any(table.part(setting)[name]) for table in tables):
                    values = np.stack([table.by_question(setting, name) for table in tables])
                    yield (task, arm, (name, setting)), _estimate(values, tables[0].units)


def matched(sweep: Sweep, baseline: str) -> list[str]:
    """The arms whose runs are the baseline's, debiased."""
    seeds = {arm: [run.seed for run in runs] for arm, runs in sweep.runs.items()}
    debiased = {f"{baseline}+{arm.debias}" for arm in sweep.plan.arms if arm.debias}
    return [arm for arm in sweep.runs if arm in debiased and seeds[arm] == seeds[baseline]]


def _table(sweep: Sweep, task: str, kind: Kind, order: Sequence[str], metrics: Sequence[str]) -> Table:
    """The tests of the arms in `order` against the first of them."""
    baseline = order[0]
    systems = {arm: [run.tables for run in sweep.runs[arm]] for arm in order}
    pairs = [arm for arm in order if arm in matched(sweep, baseline)]
    rows = compare(systems, [task], metrics, matched=pairs).tasks[task].rows
    tests = [
        PairedTest(
            arm=arm,
            figure=(row.metric, row.setting),
            difference=difference,
            q=difference.p,
            recipes=len(sweep.runs[arm]) > 1 and len(sweep.runs[baseline]) > 1,
        )
        for row in rows
        for arm, difference in row.against_baseline.items()
    ]
    return Table(task, kind, baseline, tuple(tests))


def _discoveries(tables: Sequence[Table]) -> Iterator[Table]:
    """The tables with every test's q, over all of them together."""
    p_values = [test.difference.p for table in tables for test in table.tests]
    corrected = iter(false_discovery_control(p_values).tolist() if p_values else ())
    for table in tables:
        yield replace(table, tests=tuple(replace(test, q=next(corrected)) for test in table.tests))


def _of_language(run: Evaluated, task: str, figure: Figure, language: str) -> np.ndarray:
    """The figure's values, NaN for queries of other languages."""
    table = run.tables[task]
    values = table.part(figure[1])[figure[0]].copy()
    values[np.array(table.languages) != language] = np.nan
    return values


def _any(values: np.ndarray) -> bool:
    return not bool(np.isnan(values).all())


def _estimate(runs: np.ndarray, units: Units) -> Estimate:
    estimate, low, high = stats.interval(runs, units)
    return Estimate(estimate=estimate, low=low, high=high)
