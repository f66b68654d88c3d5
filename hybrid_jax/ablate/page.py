"""A sweep's page: SWEEP/page/index.html, and beside it the same as figures and tables for papers and programs.

index.html                         one self-contained page: no script, no request, light and dark
figures/TASK-NAME.png, .svg, .pdf  curves, effects, bias, languages, languages-bias and front of every task
table.csv, table.tex, runs.csv     `tables.py` says what is in them; changes.csv where arms are crossed with a field,
                                   pairs.csv where candidates are in several languages
"""

import re
from collections.abc import Mapping, Sequence, Set
from math import isnan
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from hybrid_jax.ablate import changes, charts, effects, figures, findings, pairs, tables
from hybrid_jax.ablate.axis import Axis, axis_of
from hybrid_jax.ablate.changes import Change
from hybrid_jax.ablate.charts import Chart, Front
from hybrid_jax.ablate.folder import Cost
from hybrid_jax.ablate.other_tasks import others
from hybrid_jax.ablate.results import Sweep, read_sweep
from hybrid_jax.ablate.statistics import Figure, Kind, Statistics, Table, analyse, space_measures
from hybrid_jax.disk.files import atomic_files
from hybrid_jax.eval.comparison import Difference
from hybrid_jax.eval.measures.catalogue import METRICS, SPACE_BIAS
from hybrid_jax.eval.report import rows
from hybrid_jax.eval.report.figures import FORMATS, INK, MAIN, OTHERS, PALE
from hybrid_jax.eval.report.file_names import FileNames
from hybrid_jax.eval.report.page import environment

COLOURS = {INK: "--ink", PALE: "--soft", "#ffffff": "--card", "#000000": "--ink"} | {
    colour: f"--m{number}" for number, (colour, _) in enumerate((MAIN, *OTHERS))
}
"""Colours of the figures for papers, and the page's names for what replaces them in light and in dark."""
SMALL = ("languages", "languages-bias")
"""The groups of small multiples."""
Drawn = tuple[Axis, Sequence[Chart | Front]]
"""The charts of one figure, and the axis that they are drawn along."""
GLYPHS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚"}


def write_page(sweep: Path) -> Path:
    """Writes the page of the sweep in that folder from the runs that are evaluated by now, and returns its path.

    Raises ValueError in one line if nothing is evaluated yet or a file is damaged, OSError if the disk is full.
    """
    read = read_sweep(sweep)
    statistics = analyse(read)
    axis = axis_of(read.arms)
    folder, names = sweep / "page", FileNames()
    along = effects.axis_of_groups(read)
    changed = {task: changes.changes(read, task) for task in read.tasks}
    grouped = {task: pairs.grouped(read, task) for task in read.tasks}
    tasks, drawings = [], set[Path]()
    for task in read.tasks:
        drawn = _charts(axis, read, statistics, task)
        if along and (along_groups := effects.effects(along, read, statistics, task)):
            drawn["effects"] = (along, along_groups)
        for name, (at, group) in drawn.items():
            drawings.update(figures.write(folder / "figures", f"{names.of(task)}-{name}", at, group))
        tasks.append({**_task(read, statistics, task, drawn, grouped[task]), "changes": _changes(changed[task])})
    contents = {
        "index.html": _html(read, statistics, axis, changed, tasks),
        "table.csv": tables.arms_csv(read, statistics),
        "table.tex": tables.latex(read, statistics),
        "runs.csv": tables.runs_csv(read),
    }
    if any(changed.values()):
        contents["changes.csv"] = tables.changes_csv(changed)
    if any(of_task.distant or of_task.trained for of_task in grouped.values()):
        contents["pairs.csv"] = tables.pairs_csv(read, grouped)
    atomic_files(folder, {name: content.encode() for name, content in contents.items()})
    _remove_others(folder, {*drawings, *(folder / name for name in contents)})
    return folder / "index.html"


def _remove_others(folder: Path, written: Set[Path]) -> None:
    """Removes what only an earlier page of the sweep has: tables and figures against baselines that it had then."""
    csv = [folder / "changes.csv", folder / "pairs.csv"]
    earlier = [*csv, *(file for kind in FORMATS for file in (folder / "figures").glob(f"*.{kind}"))]
    for file in earlier:
        if file not in written:
            file.unlink(missing_ok=True)


def _html(
    sweep: Sweep,
    statistics: Statistics,
    axis: Axis,
    changed: Mapping[str, Sequence[Change]],
    tasks: Sequence[dict[str, Any]],
) -> str:
    commits = {
        str((run.report.provenance.model_extra or {}).get("evaluated_with", {}).get("git_commit"))  # pyright: ignore
        for runs in sweep.runs.values()
        for run in runs
    }
    return (
        environment("hybrid_jax.ablate")
        .get_template("sweep.html")
        .render(
            name=sweep.folder.resolve().name,
            sweep=sweep,
            axis=axis,
            tasks=tasks,
            supported=findings.supported(sweep, statistics, changed),
            not_supported=findings.not_supported(sweep, statistics, changed),
            leakage=findings.leakage(sweep),
            others=[
                (task, [_against(statistics, table) for table in task.tables]) for task in others(sweep, statistics)
            ],
            costs=_costs(sweep),
            commits=sorted(commits),
            base=yaml.safe_dump(sweep.plan.base, sort_keys=False, allow_unicode=True),
        )
    )


def _charts(axis: Axis, sweep: Sweep, statistics: Statistics, task: str) -> dict[str, Drawn]:
    """The charts of a task by the name of the figure that holds them; none that would be empty."""
    quality, distances = charts.by_language(axis, sweep, task)
    groups: dict[str, Sequence[Chart | Front]] = {
        "curves": charts.headline(axis, statistics, task),
        "front": charts.fronts(sweep, statistics, task) if len(sweep.runs) > 1 else [],
        "bias": charts.bias(axis, sweep, statistics, task),
        "languages": quality,
        "languages-bias": distances,
    }
    return {name: (axis, group) for name, group in groups.items() if group}


def _task(
    sweep: Sweep, statistics: Statistics, task: str, drawn: dict[str, Drawn], grouped: pairs.Grouped
) -> dict[str, Any]:
    """What the template shows of a task."""
    shown = {
        name: [
            {
                "chart": chart,
                "svg": _inline(figures.for_page(at, chart, f"{task}-{name}-{number}", small=name in SMALL)),
            }
            for number, chart in enumerate(group)
        ]
        for name, (at, group) in drawn.items()
    }
    first = next(iter(sweep.runs.values()))[0].report.tasks[task]
    return {
        "key": task,
        "facts": rows.facts(first),
        "charts": shown,
        "legends": {name: _legend(group) for name, (_, group) in drawn.items()},
        "arms": _estimates(sweep, statistics, task, "headline"),
        "bias": _estimates(sweep, statistics, task, "bias"),
        "space": {
            METRICS[name].label: {arm: [rows.amount(name, value) for value in values] for arm, values in by_arm.items()}
            for name, by_arm in space_measures(sweep, task).items()
        },
        "trained_pairs": _pairs(grouped.trained, {}),
        "distant_pairs": _pairs(grouped.distant, grouped.limits),
        "questions": {
            METRICS[name].label: METRICS[name].question
            for name in [*(name for name, _ in statistics.figures(task, "bias")), *SPACE_BIAS]
            if METRICS[name].better != "neither"
        },
        "against": [_against(statistics, table) for table in statistics.of_task(task, "headline")],
        "bias_against": [_against(statistics, table) for table in statistics.of_task(task, "bias")],
    }


def _estimates(sweep: Sweep, statistics: Statistics, task: str, kind: Kind) -> dict[str, Any]:
    """A table of the arms' means: {"header": labels, "rows": {arm: (figure, interval) per column}}."""
    columns = statistics.figures(task, kind)
    by_arm = {arm: [_cell(figure, statistics.estimates[task, arm, figure]) for figure in columns] for arm in sweep.runs}
    return {"header": [findings.figure_label(figure) for figure in columns], "rows": by_arm}


def _pairs(by_arm: Mapping[str, pairs.ByGroup], limits: Mapping[str, float]) -> dict[str, Any]:
    """A table of means over pairs of languages: {"header": groups, "rows": {arm: (mean, lines below it) per group}}."""
    groups = [group for group in (*pairs.TRAINED, *pairs.THIRDS) if any(group in of_arm for of_arm in by_arm.values())]
    header = [f"{group}, up to {limits[group]:.2f}" if group in limits else group for group in groups]
    rows_of = {arm: [_beside(of_arm.get(group)) for group in groups] for arm, of_arm in by_arm.items() if of_arm}
    return {"header": header, "rows": rows_of}


def _beside(group: pairs.GroupMean | None) -> tuple[str, list[str]]:
    """The mean of a group, and its pairs and the differences from baselines below it."""
    if group is None:
        return rows.amount("map", None), []
    below = []
    for name, ends in group.against.items():
        value, *interval = (findings.signed("map", end) for end in ends if not isnan(end))
        below.append(f"{value} " + (f"[{', '.join(interval)}] " if interval else "") + f"from {name}")
    return rows.amount("map", group.mean.estimate), [f"{group.pairs} pairs", *below]


def _cell(figure: Figure, value: Any) -> tuple[str, str]:
    name = figure[0]
    return rows.amount(name, value.estimate), f"{rows.amount(name, value.low)} – {rows.amount(name, value.high)}"


def _against(statistics: Statistics, table: Table) -> dict[str, Any]:
    """A table of differences from its baseline, with what the page says of each."""
    columns = statistics.figures(table.task, table.kind)
    by_arm: dict[str, list[dict[str, str]]] = {}
    for arm in table.arms():
        tests = [table.test(arm, figure) for figure in columns]
        by_arm[arm] = [
            _tested(test.figure, test.difference, _mark(test.recipes)) | {"q": findings.p_text("q", test.q)}
            for test in tests
            if test is not None
        ]
    header = [findings.figure_label(figure) for figure in columns]
    single = any(not test.recipes for test in table.tests)
    return {"baseline": table.baseline, "header": header, "rows": by_arm, "tests": len(table.tests), "single": single}


def _changes(changed: Sequence[Change]) -> dict[str, Any]:
    """A table of how the differences change from the first group, a row for each arm of the further groups."""
    by_arm: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for change in changed:
        cell = _tested(change.figure, change.change, _mark(change.recipes))
        by_arm.setdefault((change.arm, change.baseline, change.first), []).append(cell)
    header = list(dict.fromkeys(findings.figure_label(change.figure) for change in changed))
    single = any(not change.recipes for change in changed)
    return {"header": header, "rows": by_arm, "tests": len(changed), "single": single}


def _mark(recipes: bool) -> str:
    return "" if recipes else " *"


def _tested(figure: Figure, difference: Difference, mark: str) -> dict[str, str]:
    """A difference as a cell of the page."""
    name = figure[0]
    return {
        "difference": findings.signed(name, difference.difference),
        "interval": " to ".join(findings.signed(name, end) for end in (difference.low, difference.high)),
        "verdict": difference.verdict + mark,
        "kind": difference.verdict.split()[0],
        "p": findings.p_text("p", difference.p_holm),
    }


def _costs(sweep: Sweep) -> dict[str, list[str]]:
    """{arm: runs, seconds of training and of evaluation, pairs, tokens: means over its runs, and a ratio of tokens}."""
    fields = ("seconds_train", "seconds_eval", "pairs", "tokens")
    trained = {arm.name: sweep.runs[arm.name] for arm in sweep.arms if not arm.debias}
    means = {arm: [_mean([run.cost for run in runs], field) for field in fields] for arm, runs in trained.items()}
    first = means.get(sweep.plan.baselines[0], [None] * len(fields))[-1]
    cells = {}
    for arm, values in means.items():
        ratio = None if first in (None, 0) or values[-1] is None else values[-1] / first
        cells[arm] = [str(len(sweep.runs[arm])), *(rows.number(value, 0) for value in values), rows.number(ratio, 3)]
    return cells


def _mean(costs: Sequence[Cost | None], field: str) -> float | None:
    """None where a run is not finished."""
    values = [getattr(cost, field) for cost in costs if cost is not None]
    return sum(values) / len(values) if len(values) == len(costs) else None


def _legend(group: Sequence[Chart | Front]) -> list[tuple[str, str, str]]:
    """(the page's name of a colour, a sign, a label) of every line, or (nothing, number, arm) of every point."""
    if isinstance(first := group[0], Front):
        return [("--ink", str(point.number), point.arm) for point in first.points]
    lines = [line for chart in group if isinstance(chart, Chart) for line in chart.lines if line.label]
    return list(dict.fromkeys((COLOURS[line.colour], GLYPHS[line.mark], line.label) for line in lines))


def _inline(svg: str) -> Markup:
    """matplotlib's SVG as a part of the page: its colours and font become the page's, and its size the chart's."""
    body = svg[svg.index("<svg") : svg.rindex("</svg>") + len("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r'\1 class="chart" aria-hidden="true"', body, count=1)
    body = re.sub(r' id="(?!m|p)[^"]*"', "", body)  # of groups; markers and clip paths are referred to
    body = body.replace("'DejaVu Sans'", "inherit")
    for colour, name in COLOURS.items():
        body = re.sub(f": {colour}\\b", f": var({name})", body, flags=re.IGNORECASE)
    return Markup(re.sub(r"\s*\n\s*", " ", body))
