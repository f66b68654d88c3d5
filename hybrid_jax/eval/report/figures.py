"""The figures of a report as files to put in a paper: each as PNG, SVG and PDF.

    NAME-map               mAP of every query language and candidate language
    NAME-translation-rank  how deep the best answer in a language lies among all candidates, on a log scale
    NAME-bias              the bias panel: this model with its 95 % interval, the others, and where no bias would be
    NAME-curve             mAP over the steps of a watched run

The two heatmaps exist where a task has answers in other languages than the question's. There are no titles: captions
belong to the paper. Text stays text in SVG and PDF, and the same report gives the same bytes. The functions that return
a `Figure` draw in the current matplotlib style; `write` sets `STYLE`.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from hybrid_jax.disk.files import atomic_file
from hybrid_jax.eval.measures.catalogue import BIAS, Metric, Setting
from hybrid_jax.eval.report.file_names import FileNames
from hybrid_jax.eval.report.layout import (
    Heatmap,
    curve_lines,
    depth_map,
    quality_map,
    scale_ticks,
    short_rank,
    short_share,
)
from hybrid_jax.eval.report.schema import BiasValue, CurvePoint, Report

FORMATS = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
"""File formats, with the metadata that would otherwise hold the date or a version."""
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: figures are the same on every machine
    "font.size": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "hybrid_jax",
    "pdf.fonttype": 42,
}
FULL_WIDTH = 6.3
"""Width of a page's text in inches; a column has half of it."""
LEAST_CELL, MOST_CELL = 0.2, 0.28
"""Inches: "1.4k" fits into the smallest cell, and 18 such cells into the page."""
INK, PALE = "#222222", "#9a9a9a"
# Okabe & Ito's colours, each with a shape: distinct for the colour-blind and in black and white.
MAIN = ("#0072B2", "o")
OTHERS = (("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#D55E00", "v"), ("#56B4E9", "P"))
SETTING_STYLES: Mapping[Setting, tuple[str, str, str, str]] = {
    "monolingual": ("monolingual", "#E69F00", "s", "--"),
    "cross_lingual": ("cross-lingual", "#009E73", "^", ":"),
    "multilingual": ("multilingual", "#0072B2", "o", "-"),
}

_PLAIN_LEGEND: Mapping[str, Any] = {
    "frameon": False,
    "borderaxespad": 0.0,
    "handletextpad": 0.2,
    "columnspacing": 1.0,
    "handlelength": 1.6,
}


def write(folder: Path, report: Report) -> list[Path]:
    """Draws every figure that the report has numbers for; returns the files, three per figure."""
    names = FileNames()
    with rc_context(STYLE):
        return [path for name, figure in _drawn(report, names) for path in save(folder, name, figure)]


def save(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Writes one figure in every format, in the current matplotlib style; returns the files."""
    paths = []
    for form, metadata in FORMATS.items():
        path = folder / f"{name}.{form}"
        content = BytesIO()
        figure.savefig(content, format=form, metadata=metadata)
        with atomic_file(path) as file:
            file.write(content.getvalue())
        paths.append(path)
    return paths


def _drawn(report: Report, names: FileNames) -> Iterator[tuple[str, Figure]]:
    for key, result in report.tasks.items():
        if any(query != candidate for query, row in result.pairs.items() for candidate in row):
            yield f"{names.of(key)}-map", heatmap(quality_map(result.pairs))
            yield f"{names.of(key)}-translation-rank", heatmap(depth_map(result.pairs, result.candidates))
        if result.bias:
            others = {label: tasks[key].bias for label, tasks in report.others.items() if key in tasks}
            yield f"{names.of(key)}-bias", bias_panel(report.label, result.bias, others)
    for key in report.curve[-1].figures if len(report.curve) > 1 else ():
        figure = curve(report.curve, key)
        if figure is not None:
            yield f"{names.of(key)}-curve", figure


def bias_panel(label: str, here: Mapping[str, BiasValue], others: Mapping[str, Mapping[str, BiasValue]]) -> Figure:
    """A row for each measure of bias on a scale of its own, turned so that bias grows to the right.

    `here` is the panel of the model called `label`, `others` are those of the models beside it, each by measure.
    """
    shown = [
        (metric, value)
        for name, metric in BIAS.items()
        if name in here and (value := here[name].value) is not None and metric.better != "neither"
    ]
    lines = 0.07 * max(0, len(others) - 1)
    row, head = 0.36 + lines, 0.30  # inches
    height = head + row * len(shown)
    figure = Figure(figsize=(FULL_WIDTH, height))
    looks = [(label, here, *MAIN)] + [
        (name, panel, *look) for (name, panel), look in zip(others.items(), cycle(OTHERS), strict=False)
    ]
    for number, (metric, value) in enumerate(shown):
        bottom = height - head - row * (number + 1)
        axes = figure.add_axes((0.31, (bottom + 0.17) / height, 0.6, (0.16 + lines) / height))
        series = [(panel[metric.name], colour, mark) for _, panel, colour, mark in looks if metric.name in panel]
        _measure(axes, metric, series)
        middle = (bottom + 0.25 + lines / 2) / height
        figure.text(0.295, middle, metric.label, ha="right", va="center", color=INK)
        figure.text(1.0, middle, _number(value), ha="right", va="center", color=MAIN[0])
    keys = [
        Line2D([], [], color=colour, marker=mark, ms=4, mfc=colour if panel is here else "white", ls="none", label=name)
        for name, panel, colour, mark in looks
    ]
    keys.append(Line2D([], [], color=INK, marker="|", ms=8, mew=1.2, ls="none", label="no bias"))
    figure.legend(handles=keys, loc="upper left", bbox_to_anchor=(0.0, 1.0), ncols=len(keys), **_PLAIN_LEGEND)
    figure.text(
        0.91, 1 - 0.07 / height, "more language bias \u2192", ha="right", va="center", color=INK, style="italic"
    )
    return figure


def curve(points: Sequence[CurvePoint], key: str) -> Figure | None:
    """mAP of a task over the steps of a watched run; None where the task has no mAP."""
    lines = curve_lines(points, key)
    if not lines:
        return None
    figure = Figure(figsize=(FULL_WIDTH / 2, 2.1), layout="constrained")
    axes = figure.add_subplot()
    for setting, line in lines.items():
        name, colour, mark, dashes = SETTING_STYLES[setting]
        marked = {"marker": mark, "ms": 3} if len(line) <= 30 else {}
        axes.plot(*zip(*line, strict=True), color=colour, ls=dashes, lw=1.2, label=name, **marked)
    axes.set(xlabel="step", ylabel="mAP")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=len(lines), **_PLAIN_LEGEND)
    return figure


def heatmap(layout: Heatmap) -> Figure:
    """Cells with their values, languages of one script together, the diagonal outlined."""
    quality = layout.metric == "map"
    hue = colormaps["Blues" if quality else "Oranges"]
    scale = (Normalize if quality else LogNorm)(layout.low, layout.high)
    codes, names = (
        max(len(layout.labels[code]) for code in layout.rows),
        max(len(script.name) for script in layout.scripts),
    )
    longest = max(len(layout.labels[code]) for code in layout.columns)
    turned = longest > 3  # "zho_Hans" does not fit side by side
    # Inches; a letter takes 0.06 at 7 points and 0.052 at 6.
    left, right = 0.3 + 0.06 * codes, 0.16 + 0.052 * names
    below = 0.3 + (0.06 * longest if turned else 0.1)
    cell_size = min(MOST_CELL, max(LEAST_CELL, (FULL_WIDTH - left - right) / layout.width))
    top, bottom = max(0.05, 0.42 - cell_size * layout.height / 2), below + 0.42
    wide, high = cell_size * layout.width, cell_size * layout.height
    width, height = left + wide + right, top + high + bottom
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    for cell in layout.cells:
        colour = hue(cell.shade)
        axes.add_patch(Rectangle((cell.left, cell.top), 1, 1, facecolor=colour, edgecolor="white", lw=0.6))
        if cell.query == cell.candidate:
            inner = (cell.left + 0.04, cell.top + 0.04)
            axes.add_patch(Rectangle(inner, 0.92, 0.92, fill=False, edgecolor=INK, lw=1.0, zorder=3))
        axes.text(
            *(cell.left + 0.5, cell.top + 0.52),
            short_share(cell.value, 2) if quality else short_rank(cell.value),
            ha="center",
            va="center",
            fontsize=5.5 if cell_size > 0.23 else 5,
            color="white" if _dark(colour) else INK,
        )
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.set_xticks(
        [start + 0.5 for start in layout.columns.values()], [layout.labels[code] for code in layout.columns]
    )
    axes.set_yticks([start + 0.5 for start in layout.rows.values()], [layout.labels[code] for code in layout.rows])
    axes.tick_params(length=0, pad=2)
    if turned:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set(xlabel="candidate language", ylabel="query language")
    axes.spines[:].set_visible(False)
    for script in layout.scripts:  # its name at the side, with a line along its rows
        ends = [script.top + 0.1, script.bottom - 0.1]
        axes.plot([layout.width + 0.22] * 2, ends, color=PALE, lw=0.8, clip_on=False)
        middle = (script.top + script.bottom) / 2
        axes.text(layout.width + 0.45, middle, script.name, ha="left", va="center", fontsize=6, color=INK)
    means = "mAP" if quality else "median rank of the best answer"
    _scale_bar(figure, (left / width, 0.32 / height, wide / width, 0.06 / height), scale, hue, means)
    if not quality:
        figure.axes[-1].xaxis.set_ticks([value for value, _ in scale_ticks(layout)])
    return figure


def _scale_bar(
    figure: Figure, place: tuple[float, float, float, float], scale: Normalize, hue: Colormap, means: str
) -> None:
    bar = figure.colorbar(ScalarMappable(scale, hue), cax=figure.add_axes(place), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6, pad=1.5, length=2)
    bar.ax.xaxis.set_minor_locator(NullLocator())
    if isinstance(scale, LogNorm):
        bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: f"{rank:,.0f}"))
    else:
        bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.set_label(means, labelpad=1.5)


def _measure(axes: Axes, metric: Metric, series: Sequence[tuple[BiasValue, str, str]]) -> None:
    """One row of the bias panel from (value, colour, marker) of each model, the evaluated one first."""
    unbiased = series[0][0].unbiased
    values = [number for value, _, _ in series for number in (value.value, value.low, value.high)] + [unbiased]
    numbers = [number for number in values if number is not None]
    margin = 0.06 * (max(numbers) - min(numbers)) or 0.05 * max(1.0, abs(numbers[0]))
    low, high = min(numbers) - margin, max(numbers) + margin
    axes.set_xlim((low, high) if metric.better == "lower" else (high, low))
    axes.set_ylim(-1, 1)
    if unbiased is not None:
        axes.plot([unbiased] * 2, [-0.9, 0.9], color=INK, lw=1.2, zorder=1)
    heights = np.linspace(0.75, -0.75, len(series)) if len(series) > 1 else [0.0]  # so that no interval hides another
    for depth, ((value, colour, mark), y) in enumerate(zip(series, heights, strict=True)):
        if value.value is None:
            continue
        order = 10 - depth
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [y, y], color=colour, lw=1.3, solid_capstyle="butt", zorder=order)
        face = colour if depth == 0 else "white"
        axes.plot(value.value, y, mark, ms=3.2, mec=colour, mfc=face, mew=0.8, zorder=order, clip_on=False)
    axes.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}".replace("-", "\u2212")))
    axes.tick_params(axis="x", labelsize=5.5, pad=1.5, length=2, color=PALE, labelcolor=INK)
    axes.set_yticks([])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.patch.set_visible(False)


def _dark(colour: Sequence[float]) -> bool:
    """Whether white text is easier to read on the colour than black, by relative luminance (WCAG 2)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) < 0.18


def _number(value: float) -> str:
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}".replace("-", "\u2212")
