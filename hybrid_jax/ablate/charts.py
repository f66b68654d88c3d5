"""What the sweep's charts show, without how they are drawn: `figures.py` draws them for papers and for the page."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import NamedTuple

from hybrid_jax.ablate.axis import Axis
from hybrid_jax.ablate.results import Sweep
from hybrid_jax.ablate.statistics import Figure, Statistics, language_estimates, space_measures
from hybrid_jax.eval.comparison import Estimate
from hybrid_jax.eval.languages import language
from hybrid_jax.eval.measures.catalogue import MAP, METRICS, RANK_DISTANCE, SETTINGS, Setting
from hybrid_jax.eval.measures.parts import PART_LABELS
from hybrid_jax.eval.report.figures import MAIN, OTHERS, SETTING_STYLES
from hybrid_jax.eval.report.layout import by_script

DASHES = ("-", "--", ":", "-.")
LOG_RATIO = 5
"""From this ratio of the largest to the smallest mean on, rank distances have a log scale."""
Values = Mapping[str, Estimate]
"""By arm."""


class Line(NamedTuple):
    """The arms' values of one figure: those on the axis joined, the others as points."""

    label: str
    colour: str
    mark: str
    dashes: str
    joined: list[tuple[float, Estimate]]
    """(x, estimate) of the arms that a line joins."""
    points: list[tuple[float, Estimate]]
    """The same of the arms beside the axis."""


class Chart(NamedTuple):
    """One small chart over the sweep's axis."""

    title: str
    about: str
    lines: list[Line]
    log: bool
    low: float | None
    """The lower end of the y axis; None for one that fits the values."""
    high: float | None
    difference: bool = False
    """Whether it shows differences, so that 0 has a line."""


class Point(NamedTuple):
    """One arm in a chart of quality against bias."""

    number: int
    """Its place among the arms, from 1."""
    arm: str
    bias: Estimate
    quality: Estimate
    on_front: bool
    """Whether no other arm has both a mean quality as high and a mean bias as low, one of them better."""


class Front(NamedTuple):
    """Quality against bias."""

    title: str
    points: list[Point]
    log: bool


def headline(axis: Axis, statistics: Statistics, task: str) -> list[Chart]:
    """mAP in every setting, and the rank distance."""

    charts = _map_charts(axis, partial(statistics.by_arm, task), 0.0, None)
    distance = statistics.by_arm(task, (RANK_DISTANCE.name, "multilingual"))
    if distance:
        charts.append(_chart(axis, RANK_DISTANCE.label, "lower is less language bias", distance))
    return charts


def bias(axis: Axis, sweep: Sweep, statistics: Statistics, task: str) -> list[Chart]:
    """The other measures of bias, each on a scale of its own."""
    charts = []
    for name, setting in statistics.figures(task, "bias"):
        values = statistics.by_arm(task, (name, setting))
        charts.append(_chart(axis, METRICS[name].label, _direction(name), values))
    for name, by_arm in space_measures(sweep, task).items():
        means = {arm: sum(values) / len(values) for arm, values in by_arm.items()}
        values = {arm: Estimate(estimate=mean, low=mean, high=mean) for arm, mean in means.items()}
        charts.append(_chart(axis, METRICS[name].label, f"{_direction(name)}; no interval", values))
    return charts


def by_language(axis: Axis, sweep: Sweep, task: str) -> tuple[list[Chart], list[Chart]]:
    """A chart of mAP for every query language, all with one scale, and a chart of the rank distance for each."""
    maps = {setting: language_estimates(sweep, task, (MAP.name, setting)) for setting in SETTINGS}
    shown = [setting for setting in SETTINGS if maps[setting]]
    top = max(value.high for setting in shown for arms in maps[setting].values() for value in arms.values())
    distances: Mapping[str, Values] = {}
    if all(RANK_DISTANCE.name in run.tables[task].multilingual for runs in sweep.runs.values() for run in runs):
        distances = language_estimates(sweep, task, (RANK_DISTANCE.name, "multilingual"))
    quality, bias = [], []
    for code in by_script(sorted({code for setting in shown for code in maps[setting]})):

        def values(figure: Figure, code: str = code) -> Values:
            return maps[figure[1]].get(code, {})

        charts = _map_charts(axis, values, 0.0, min(1.0, top * 1.03))
        # With several series a language has a chart per setting; the small multiples show the pool of all languages.
        quality.append(charts[-1]._replace(title=_name(code), about=charts[-1].title if len(charts) > 1 else ""))
        if code in distances:
            bias.append(_chart(axis, _name(code), "", distances[code]))
    everything = [value for chart in bias for line in chart.lines for _, value in (*line.joined, *line.points)]
    log, low, _ = _scale(everything)
    high = max((value.high for value in everything), default=None)
    return quality, [chart._replace(log=log, low=low, high=high and 1.05 * high) for chart in bias]


def fronts(sweep: Sweep, statistics: Statistics, task: str) -> list[Front]:
    """mAP in every setting against the rank distance; empty for a task without one."""
    charts = []
    for metric, setting in statistics.figures(task, "headline"):
        bias = statistics.by_arm(task, (RANK_DISTANCE.name, "multilingual"))
        quality = statistics.by_arm(task, (metric, setting))
        if metric != MAP.name or not bias:
            continue
        front = pareto_front({arm: (bias[arm].estimate, quality[arm].estimate) for arm in sweep.runs})
        points = [
            Point(number, arm, bias[arm], quality[arm], arm in front) for number, arm in enumerate(sweep.runs, start=1)
        ]
        log, _, _ = _scale([point.bias for point in points])
        charts.append(Front(f"{PART_LABELS[setting]} mAP", points, log))
    return charts


def pareto_front(means: Mapping[str, tuple[float, float]]) -> set[str]:
    """The arms, given (bias, quality), that no other arm dominates: none has both at least as good and one better."""
    return {
        arm
        for arm, (bias, quality) in means.items()
        if not any(b <= bias and q >= quality and (b, q) != (bias, quality) for b, q in means.values())
    }


def _map_charts(axis: Axis, values: Callable[[Figure], Values], low: float, high: float | None) -> list[Chart]:
    """One chart with a line per setting or, where the sweep has several series, a chart per setting."""
    measured: dict[Setting, Values] = {setting: arms for setting in SETTINGS if (arms := values((MAP.name, setting)))}
    if len(axis.series) > 1:
        return [
            Chart(f"{PART_LABELS[setting]} mAP", "higher is better", _lines(axis, arms), False, low, high)
            for setting, arms in measured.items()
        ]
    lines = []
    for setting, arms in measured.items():
        name, colour, mark, dashes = SETTING_STYLES[setting]
        [line] = _lines(axis, arms)
        label = f"{PART_LABELS[setting]} {name}"
        lines.append(line._replace(label=label, colour=colour, mark=mark, dashes=dashes))
    return [Chart("mAP", "higher is better", lines, False, low, high)]


def _chart(axis: Axis, title: str, about: str, values: Values) -> Chart:
    log, low, high = _scale(list(values.values())) if title == RANK_DISTANCE.label else (False, None, None)
    return Chart(title, about, _lines(axis, values), log, low, high)


def _scale(values: Sequence[Estimate]) -> tuple[bool, float | None, float | None]:
    """Whether rank distances need a log scale, and its ends; a linear one begins at 0."""
    means = [value.estimate for value in values]
    if not means or min(means) <= 0 or max(means) / min(means) < LOG_RATIO:
        return False, 0.0, None
    return True, max(min(value.low for value in values), min(means) / 3) * 0.9, None


def _lines(axis: Axis, values: Values) -> list[Line]:
    """A line per series; what lies beside the axis belongs to the first."""
    points = [(x, values[arm]) for arm, x in axis.beside.items() if arm in values]
    looks = zip(cycle((MAIN, *OTHERS)), cycle(DASHES), strict=False)
    lines = []
    for (name, arms), ((colour, mark), dashes) in zip((axis.series or {"": {}}).items(), looks, strict=False):
        joined = [(x, values[arm]) for arm, x in arms.items() if arm in values]
        lines.append(Line(name, colour, mark, dashes, joined, [] if lines else points))
    return lines


def _direction(name: str) -> str:
    return "higher is less bias" if METRICS[name].better == "higher" else "lower is less bias"


def _name(code: str) -> str:
    facts = language(code)
    return f"{facts.name} ({code})" if facts else code
