"""Draws a sweep's charts with matplotlib: small ones for the page, and figures for papers that hold several of them."""

import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hybrid_jax.ablate.axis import Axis
from hybrid_jax.ablate.charts import Chart, Front, Line
from hybrid_jax.eval.comparison import Estimate
from hybrid_jax.eval.report.figures import FORMATS, FULL_WIDTH, INK, MAIN, PALE, STYLE, save

DODGE = 0.012
"""How far the intervals of two lines at one x are moved apart, as a share of the axis."""
NAMED_DODGE = 0.12
"""The same between arms without a number, as a share of the distance between them."""
LONGEST_LEVEL_NAME = 6
"""Longer names of arms are turned."""


def write(folder: Path, name: str, axis: Axis, charts: Sequence[Chart | Front]) -> list[Path]:
    """NAME.png, NAME.svg and NAME.pdf, with all the charts; returns their paths."""
    with rc_context(STYLE):
        return save(folder, name, _paper(axis, charts))


def for_page(axis: Axis, chart: Chart | Front, name: str, small: bool = False) -> str:
    """One chart as SVG source, without a title, which is the page's text. Charts of different names share no id.

    A small one, of several in a row, has no label at its axis either.
    """
    with rc_context({**STYLE, "font.size": 8, "svg.hashsalt": name}):
        width, height = (2.3, 1.45) if small else (3.1, 1.75)
        figure = Figure(figsize=(width, height + _names_height(axis, chart, width)), layout="constrained")
        draw(figure.add_subplot(), axis, chart, width)
        if isinstance(chart, Chart) and axis.label and not small:
            figure.supxlabel(axis.label, fontsize=8, color=INK)
        content = StringIO()
        figure.savefig(content, format="svg", metadata=FORMATS["svg"], transparent=True)
    return content.getvalue()


def draw(axes: Axes, axis: Axis, chart: Chart | Front, width: float) -> None:
    """Draws one chart of that width in inches, intervals included, without title and legend."""
    if isinstance(chart, Front):
        _front(axes, chart)
    else:
        _curve(axes, axis, chart, width)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(color=PALE, labelcolor=INK)


def _curve(axes: Axes, axis: Axis, chart: Chart, inches: float) -> None:
    if chart.log:
        _log(axes, "y")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
    axes.grid(axis="y", color=PALE, alpha=0.35, lw=0.5)
    if chart.difference:
        axes.axhline(0.0, color=INK, lw=0.8)
    width = DODGE * max(1.0, axis.ticks[-1][0]) if axis.numeric else NAMED_DODGE
    for place, line in enumerate(chart.lines):
        shift = width * (place - (len(chart.lines) - 1) / 2)
        _line(axes, line, shift)
    values = [value for line in chart.lines for _, value in (*line.joined, *line.points)]
    if chart.low is not None:
        axes.set_ylim(bottom=chart.low)
    elif min((value.low for value in values), default=-1.0) >= 0 > axes.get_ylim()[0]:
        axes.set_ylim(bottom=0.0)  # no share, rank or gap below 0 was measured: leave no room for one
    if chart.high is not None:
        axes.set_ylim(top=chart.high)
    last = max(at for at, _ in axis.ticks)
    margin = 0.06 * max(1.0, last) if axis.numeric else 0.5
    axes.set_xlim(-margin, last + margin)
    axes.set_xticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])
    if _turn(axis, inches):
        for (at, _), label in zip(axis.ticks, axes.get_xticklabels(), strict=True):
            if at > 1 or not axis.numeric:
                level = "center" if _turn(axis, inches) == 90 else "baseline"
                label.set(rotation=_turn(axis, inches), ha="right", va=level, rotation_mode="anchor")


def _line(axes: Axes, line: Line, shift: float) -> None:
    for joined, points in ((True, line.joined), (False, line.points)):
        if not points:
            continue
        at = [x + shift for x, _ in points]
        means = [value.estimate for _, value in points]
        arms = [
            [value.estimate - value.low for _, value in points],
            [value.high - value.estimate for _, value in points],
        ]
        dashes = line.dashes if joined else "none"
        axes.plot(at, means, color=line.colour, marker=line.mark, ms=3.5, ls=dashes, lw=1.2, clip_on=False)
        axes.errorbar(at, means, arms, ecolor=line.colour, elinewidth=0.9, capsize=1.8, fmt="none")


def _front(axes: Axes, chart: Front) -> None:
    if chart.log:
        _log(axes, "x")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(_number))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(_number))
    front = sorted((point.bias.estimate, point.quality.estimate) for point in chart.points if point.on_front)
    axes.plot(*zip(*front, strict=True), color=MAIN[0], lw=1.0, drawstyle="steps-post", alpha=0.7, zorder=1)
    for point in chart.points:
        x, y = point.bias, point.quality
        colour = MAIN[0] if point.on_front else PALE
        axes.plot([x.low, x.high], [y.estimate] * 2, color=colour, lw=0.9, zorder=2)
        axes.plot([x.estimate] * 2, [y.low, y.high], color=colour, lw=0.9, zorder=2)
        face = colour if point.on_front else "white"
        axes.plot(x.estimate, y.estimate, "o", ms=8.5, mec=colour, mfc=face, zorder=3)
        ink = "white" if point.on_front else INK
        axes.annotate(
            str(point.number),
            (x.estimate, y.estimate),
            ha="center",
            va="center_baseline",
            color=ink,
            fontsize=6,
            zorder=4,
        )
    axes.set_xlim(*_room([point.bias for point in chart.points], chart.log))
    axes.set_ylim(*_room([point.quality for point in chart.points]))
    axes.set_xlabel("rank distance", color=INK)
    axes.set_ylabel(chart.title, color=INK)


def _room(values: Sequence[Estimate], log: bool = False) -> tuple[float, float]:
    """Ends of an axis that shows all means, and of an interval as much as half of the arms need."""
    scaled = np.log([value.estimate for value in values]) if log else np.array([value.estimate for value in values])
    halves = [(value.high - value.low) / 2 / (value.estimate if log else 1) for value in values]
    margin = max(0.2 * float(np.ptp(scaled)), float(np.median(halves))) or 0.05
    low, high = float(scaled.min()) - margin, float(scaled.max()) + margin
    return (float(np.exp(low)), float(np.exp(high))) if log else (low, high)


def _log(axes: Axes, which: str) -> None:
    getattr(axes, f"set_{which}scale")("log", nonpositive="clip")
    scale = axes.yaxis if which == "y" else axes.xaxis
    # Numbers side by side need more room than numbers above one another.
    scale.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if which == "y" else (1.0, 3.0)))
    scale.set_major_formatter(FuncFormatter(_number))
    scale.set_minor_formatter(NullFormatter())


def _paper(axis: Axis, charts: Sequence[Chart | Front]) -> Figure:
    """The charts in a grid, each with its title, and one legend above."""
    most = 4 if len(charts) > 6 and axis.numeric and not axis.beside else 3
    columns = min(most, len(charts))
    rows = math.ceil(len(charts) / columns)
    inches = FULL_WIDTH / most
    width = inches * columns
    high = (1.35 if columns == 4 else 1.75) + _names_height(axis, charts[0], inches)
    figure = Figure(figsize=(width, rows * high + 0.25), layout="constrained")
    for number, chart in enumerate(charts, start=1):
        axes = figure.add_subplot(rows, columns, number)
        draw(axes, axis, chart, inches)
        if isinstance(chart, Chart):
            axes.set_title(chart.title, fontsize=7, color=INK)
    if isinstance(charts[0], Chart) and axis.label:
        figure.supxlabel(axis.label, fontsize=7, color=INK)
    keys = _keys(charts)
    if keys:
        figure.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 4), frameon=False)
    return figure


def _keys(charts: Sequence[Chart | Front]) -> list[Any]:
    """The legend: the lines, or the arms behind the numbers."""
    first = charts[0]
    if isinstance(first, Front):
        return [Line2D([], [], ls="none", label=f"{point.number}  {point.arm}") for point in first.points]
    lines: Mapping[str, Line] = {
        line.label: line for chart in charts if isinstance(chart, Chart) for line in chart.lines
    }
    return [
        Line2D([], [], color=line.colour, marker=line.mark, ms=3.5, ls=line.dashes, lw=1.2, label=label)
        for label, line in lines.items()
        if label
    ]


def _turn(axis: Axis, inches: float) -> int:
    """By how many degrees the arms' names are turned in a chart of that width, so that no text covers another."""
    names = [(at, text) for at, text in axis.ticks if at > 1 or not axis.numeric]
    if all(len(text) <= LONGEST_LEVEL_NAME for _, text in names):
        return 0
    return 35 if not axis.numeric and 0.8 * inches / max(1.0, axis.ticks[-1][0]) > 0.2 else 90


def _names_height(axis: Axis, chart: Chart | Front, inches: float) -> float:
    """Inches below the axis that the arms' turned names take."""
    turn = 0 if isinstance(chart, Front) else _turn(axis, inches)
    longest = max(len(text) for _, text in axis.ticks)
    return longest * {0: 0.0, 35: 0.04, 90: 0.065}[turn]


def _number(value: float, _: object = None) -> str:
    return f"{value:,.6g}".replace("-", "\u2212")
