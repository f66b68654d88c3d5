"""A sweep as tables: CSV for programs, LaTeX for papers.

table.csv has a row per task, figure, arm and baseline: the mean over the runs, its interval and the test. runs.csv has
a row per task, figure, arm and seed, with the value that the run's report.json has. changes.csv, of a sweep with
groups, has a row per test of whether a difference changes from group to group. pairs.csv has a row per task, arm, group
of language pairs and baseline: the mean cross-lingual mAP and the difference, each with its interval.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from math import isnan

from hybrid_jax.ablate.changes import Change
from hybrid_jax.ablate.findings import figure_label
from hybrid_jax.ablate.pairs import Grouped
from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.ablate.statistics import (
    FIGURES,
    HEADLINE,
    OTHER_KINDS,
    TESTED_BIAS,
    Figure,
    Kind,
    Statistics,
    Table,
)
from hybrid_jax.eval.measures.catalogue import SPACE_BIAS
from hybrid_jax.eval.report.rows import amount

ARM_COLUMNS = ("task", "metric", "setting", "arm", "seeds", "mean", "low", "high")
TEST_COLUMNS = ("baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "q", "verdict", "about")
CHANGE_COLUMNS = ("task", "metric", "setting", "arm", "baseline", "first", "change", "low", "high")
CHANGE_COLUMNS += ("p", "p_holm", "verdict", "about")
PAIR_COLUMNS = ("task", "arm", "seeds", "group", "pairs", "mean", "low", "high")
PAIR_COLUMNS += ("baseline", "difference", "difference_low", "difference_high")
RUN_COLUMNS = ("task", "metric", "setting", "arm", "seed", "value")
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def arms_csv(sweep: Sweep, statistics: Statistics) -> str:
    """table.csv. The columns of a test are empty for the baseline itself."""
    rows = []
    for (task, arm, figure), value in statistics.estimates.items():
        start = [task, *figure, arm, len(sweep.runs[arm]), value.estimate, value.low, value.high]
        tests = [
            [table.baseline, *_test(table, arm, figure)]
            for table in statistics.tables
            if table.task == task and table.test(arm, figure)
        ]
        rows += [start + test for test in tests or [[""] * len(TEST_COLUMNS)]]
    return _csv((*ARM_COLUMNS, *TEST_COLUMNS), rows)


def runs_csv(sweep: Sweep) -> str:
    """runs.csv."""
    rows = [
        [task, *figure, arm, run.seed, value]
        for task in (*sweep.tasks, *sweep.other_tasks)
        for arm, runs in sweep.runs.items()
        for run in runs
        for figure, value in _reported(run, task)
    ]
    return _csv(RUN_COLUMNS, rows)


def changes_csv(changes: Mapping[str, Sequence[Change]]) -> str:
    """changes.csv, of the changes of each task."""
    rows = [
        [task, *one.figure, one.arm, one.baseline, one.first, *one.change.model_dump().values(), _about(one.recipes)]
        for task, of_task in changes.items()
        for one in of_task
    ]
    return _csv(CHANGE_COLUMNS, rows)


def pairs_csv(sweep: Sweep, grouped: Mapping[str, Grouped]) -> str:
    """pairs.csv. The columns of a difference are empty for the baseline itself."""
    rows = []
    for task, of_task in grouped.items():
        for by_arm in (of_task.distant, of_task.trained):
            for arm, group, mean in ((arm, *one) for arm, of_arm in by_arm.items() for one in of_arm.items()):
                start = [task, arm, len(sweep.runs[arm]), group, mean.pairs, *_ends(mean.mean)]
                differences = [[name, *_ends(difference)] for name, difference in mean.against.items()]
                rows += [start + difference for difference in differences or [[""] * 4]]
    return _csv(PAIR_COLUMNS, rows)


def _ends(interval: Sequence[float]) -> list[object]:
    """An estimate and its interval, empty where there is none."""
    return ["" if isnan(value) else value for value in interval]


def latex(sweep: Sweep, statistics: Statistics) -> str:
    """table.tex: for every task and baseline a `tabular` (booktabs) of the headline figures (of searched pools
    and bitext: the metrics), with verdicts as signs."""
    parts = []
    kinds: dict[str, Kind] = dict.fromkeys(sweep.tasks, "headline")
    kinds |= {task: kind for kind in OTHER_KINDS for task in sweep.other_tasks if statistics.figures(task, kind)}
    for task, kind in kinds.items():
        figures = statistics.figures(task, kind)
        for table in statistics.of_task(task, kind) or [Table(task, kind, "", ())]:
            parts.append("\n".join(_tabular(sweep, statistics, table, figures)))
    return "\n\n".join(parts) + "\n"


def _tabular(sweep: Sweep, statistics: Statistics, table: Table, figures: Sequence[Figure]) -> Iterator[str]:
    yield f"% {table.task}: mean over seeds, below it the 95 % interval over questions and seeds."
    arms = [table.baseline, *table.arms()] if table.tests else list(sweep.runs)
    if table.tests:
        corrected = f"{len(table.tests)} tests corrected by Holm"
        yield f"% + better, - worse than {table.baseline} at .05, {corrected}; no sign: no evidence."
        if not all(test.recipes for test in table.tests):
            yield "% * one of the two has a single seed: the verdict is about checkpoints, not about recipes."
    yield f"\\begin{{tabular}}{{lr{'r' * len(figures)}}}"
    yield "\\toprule"
    yield " & ".join(["arm", "seeds", *(_escaped(figure_label(figure)) for figure in figures)]) + r" \\"
    yield "\\midrule"
    for arm in arms:
        values = [statistics.estimates[table.task, arm, figure] for figure in figures]
        signs = [_sign(table, arm, figure) for figure in figures]
        means = [
            f"${amount(name, value.estimate)}{sign}$"
            for (name, _), value, sign in zip(figures, values, signs, strict=True)
        ]
        ends = [
            f"{{\\scriptsize [{amount(name, value.low)}, {amount(name, value.high)}]}}"
            for (name, _), value in zip(figures, values, strict=True)
        ]
        yield " & ".join([_escaped(arm), str(len(sweep.runs[arm])), *means]) + r" \\"
        yield " & ".join(["", "", *ends]) + r" \\"
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _sign(table: Table, arm: str, figure: Figure) -> str:
    test = table.test(arm, figure)
    sign = {"better": "+", "worse": "-"}.get(test.difference.verdict) if test else None
    return f"^{{{sign}{'' if test.recipes else '*'}}}" if test and sign else ""


def _test(table: Table, arm: str, figure: Figure) -> list[object]:
    test = table.test(arm, figure)
    if test is None:
        return [""] * (len(TEST_COLUMNS) - 1)
    value = test.difference
    interval = [value.difference, value.low, value.high]
    return [*interval, value.p, value.p_holm, test.q, value.verdict, _about(test.recipes)]


def _about(recipes: bool) -> str:
    return "recipes" if recipes else "checkpoints"


def _reported(run: Evaluated, task: str) -> Iterator[tuple[Figure, float]]:
    """The headline figures and the bias measures of one run, or the metrics of a pool or bitext, from its report."""
    for kind, scores in zip(OTHER_KINDS, (run.report.searches, run.report.bitext), strict=True):
        if task in scores:
            yield from ((figure, scores[task][figure[0]]) for figure in FIGURES[kind])
            return
    result = run.report.tasks[task]
    for name, setting in HEADLINE:
        value = result.value(name, setting)
        if value is not None:
            yield (name, setting), value
    for name in (*TESTED_BIAS, *SPACE_BIAS):
        if name in result.bias and (value := result.bias[name].value) is not None:
            yield (name, "multilingual"), value


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(sign, sign) for sign in text)
