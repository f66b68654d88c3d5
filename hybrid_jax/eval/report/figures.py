"""The figures of a report as files to put in a paper: each as PNG, SVG and PDF.

Knows: what `report.json` holds, how a figure for print looks. Does not know: how a number was made, the pages of the
report (`report/`), which draw the same things for a screen.

    NAME-map               mAP of every query language and candidate language
    NAME-translation-rank  how deep the best answer in a language lies among all candidates, on a log scale
    NAME-bias              the bias panel: this model with its 95 % interval, the others, and where no bias would be
    NAME-curve             mAP over the steps of a watched run

The two heatmaps exist where a task has answers in other languages than the question's. There are no titles: captions
say what is shown. Texts stay texts in SVG and PDF, and the same report gives the same bytes. The functions that return
a `Figure` draw in whatever style is set; `write` sets `STYLE`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle, groupby
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
from hybrid_jax.eval.measures.panel import MEASURES, Measure
from hybrid_jax.eval.report.file_names import FileNames
from hybrid_jax.eval.report.layout import Pairs, by_script, curve_lines, places, quality_span, script, short_rank

FORMATS = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
"""And the metadata without which a file would be another one tomorrow."""
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that a figure is the same on every machine
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
"""Inches of a page's text; a column has half of it."""
LEAST_CELL, MOST_CELL = 0.2, 0.28
"""Inches: "1.4k" fits in the least, and 18 languages fit on a page."""
INK, PALE = "#222222", "#9a9a9a"
# Okabe & Ito's colours and a shape each: they differ for the colour-blind and in print without colour.
MAIN = ("#0072B2", "o")
OTHERS = (("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#D55E00", "v"), ("#56B4E9", "P"))
OF_SETTINGS = {
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


def write(folder: Path, report: Mapping[str, Any]) -> list[Path]:
    """Draws all that the report has numbers for; returns the files, three for each figure."""
    names, paths = FileNames(), []
    with rc_context(STYLE):
        for name, figure in _drawn(report, names):
            for form, metadata in FORMATS.items():
                path = folder / f"{name}.{form}"
                content = BytesIO()
                figure.savefig(content, format=form, metadata=metadata)
                with atomic_file(path) as file:
                    file.write(content.getvalue())
                paths.append(path)
    return paths


def _drawn(report: Mapping[str, Any], names: FileNames) -> Iterator[tuple[str, Figure]]:
    for key, result in report["tasks"].items():
        if any(asked != held for asked, row in result["pairs"].items() for held in row):
            yield f"{names.of(key)}-map", quality_map(result["pairs"])
            yield f"{names.of(key)}-translation-rank", depth_map(result["pairs"], result["candidates"])
        if result["bias"]:
            others = {label: tasks[key]["bias"] for label, tasks in report.get("others", {}).items() if key in tasks}
            yield f"{names.of(key)}-bias", bias_panel(report.get("label", "model"), result["bias"], others)
    points = report.get("curve", ())
    for key in points[-1]["figures"] if len(points) > 1 else ():
        figure = curve(points, key)
        if figure is not None:
            yield f"{names.of(key)}-curve", figure


def quality_map(pairs: Pairs) -> Figure:
    """mAP of every pair; the darker the better."""
    return _heatmap(pairs, "map", Normalize(*quality_span(pairs)), colormaps["Blues"], _short_share, "mAP")


def depth_map(pairs: Pairs, candidates: int) -> Figure:
    """Median rank of the best answer of every pair, of all candidates; the darker the deeper."""
    scale = LogNorm(1, max(2, candidates))
    return _heatmap(
        pairs, "translation_rank", scale, colormaps["Oranges"], short_rank, "median rank of the best answer"
    )


def bias_panel(label: str, here: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A row for each measure of bias on a scale of its own, turned so that bias grows to the right.

    `here` and each of `others` are {measure: {"value", "low", "high", "unbiased"}}, values None where unknown.
    """
    known = [name for name in MEASURES if here.get(name, {}).get("value") is not None]
    shown = [name for name in known if MEASURES[name].biased != "neither"]
    row, head = 0.36, 0.30  # inches
    height = head + row * len(shown)
    figure = Figure(figsize=(FULL_WIDTH, height))
    looks = [(label, here, *MAIN)] + [
        (name, panel, *look) for (name, panel), look in zip(others.items(), cycle(OTHERS), strict=False)
    ]
    for number, name in enumerate(shown):
        bottom = height - head - row * (number + 1)
        axes = figure.add_axes((0.31, (bottom + 0.17) / height, 0.6, 0.16 / height))
        _measure(axes, MEASURES[name], [(panel.get(name, {}), colour, mark) for _, panel, colour, mark in looks])
        middle = (bottom + 0.25) / height
        figure.text(0.295, middle, MEASURES[name].label, ha="right", va="center", color=INK)
        figure.text(1.0, middle, _number(here[name]["value"]), ha="right", va="center", color=MAIN[0])
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


def curve(points: Sequence[Mapping[str, Any]], key: str) -> Figure | None:
    """mAP of a task over the steps of a watched run, as in `curve.Point`; None where the task has no mAP."""
    lines = curve_lines(points, key)
    if not lines:
        return None
    figure = Figure(figsize=(FULL_WIDTH / 2, 2.1), layout="constrained")
    axes = figure.add_subplot()
    for setting, known in lines.items():
        name, colour, mark, dashes = OF_SETTINGS[setting]
        marked = {"marker": mark, "ms": 3} if len(known) <= 30 else {}
        axes.plot(*zip(*known, strict=True), color=colour, ls=dashes, lw=1.2, label=name, **marked)
    axes.set(xlabel="step", ylabel="mAP")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=len(lines), **_PLAIN_LEGEND)
    return figure


def _heatmap(
    pairs: Pairs, name: str, scale: Normalize, hue: Colormap, written: Callable[[float], str], means: str
) -> Figure:
    """Cells with their values, languages of one script together, the diagonal outlined."""
    rows = by_script(list(pairs))
    columns = by_script(sorted({other for row in pairs.values() for other in row}))
    down, across = places(rows), places(columns)
    wide, high = max(across.values()) + 1, max(down.values()) + 1  # in cells
    codes, names = max(map(len, rows)), max(len(script(code)) for code in rows)
    turned = max(map(len, columns)) > 3  # "zho_Hans" does not fit side by side
    # Inches, from what a letter takes: 0.06 at 7 points, 0.052 at 6.
    left, right = 0.3 + 0.06 * codes, 0.16 + 0.052 * names
    below = 0.3 + (0.06 * max(map(len, columns)) if turned else 0.1)
    cell = min(MOST_CELL, max(LEAST_CELL, (FULL_WIDTH - left - right) / wide))
    top, bottom = max(0.05, 0.42 - cell * high / 2), below + 0.42
    width, height = left + cell * wide + right, top + cell * high + bottom
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, cell * wide / width, cell * high / height))
    for asked, row in pairs.items():
        for held, scores in row.items():
            value = scores[name]
            colour = hue(scale(max(value, 1.0) if isinstance(scale, LogNorm) else value))
            place = (across[held], down[asked])
            axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, edgecolor="white", lw=0.6))
            if asked == held:
                inner = (place[0] + 0.04, place[1] + 0.04)
                axes.add_patch(Rectangle(inner, 0.92, 0.92, fill=False, edgecolor=INK, lw=1.0, zorder=3))
            axes.text(
                *(place[0] + 0.5, place[1] + 0.52),
                written(value),
                ha="center",
                va="center",
                fontsize=5.5 if cell > 0.23 else 5,
                color="white" if _dark(colour) else INK,
            )
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.set_xticks([place + 0.5 for place in across.values()], list(across))
    axes.set_yticks([place + 0.5 for place in down.values()], list(down))
    axes.tick_params(length=0, pad=2)
    if turned:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set(xlabel="candidate language", ylabel="query language")
    axes.spines[:].set_visible(False)
    _scripts(axes, rows, down, wide)
    _scale_bar(figure, (left / width, 0.32 / height, cell * wide / width, 0.06 / height), scale, hue, means)
    return figure


def _scripts(axes: Axes, rows: Sequence[str], down: Mapping[str, float], wide: float) -> None:
    """The name of each script at the side, with a line along its rows."""
    for name, codes in groupby(rows, script):
        members = list(codes)
        first, last = down[members[0]], down[members[-1]] + 1
        axes.plot([wide + 0.22] * 2, [first + 0.1, last - 0.1], color=PALE, lw=0.8, clip_on=False)
        axes.text(wide + 0.45, (first + last) / 2, name, ha="left", va="center", fontsize=6, color=INK)


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


def _measure(axes: Axes, measure: Measure, series: Sequence[tuple[Mapping[str, Any], str, str]]) -> None:
    """One row of the bias panel: the first of the series is the model that it is about."""
    main = series[0][0]
    values = [found.get(name) for found, _, _ in series for name in ("value", "low", "high")] + [main["unbiased"]]
    known = [value for value in values if value is not None]
    margin = 0.06 * (max(known) - min(known)) or 0.05 * max(1.0, abs(known[0]))
    low, high = min(known) - margin, max(known) + margin
    axes.set_xlim((low, high) if measure.biased == "higher" else (high, low))
    axes.set_ylim(-1, 1)
    if main["unbiased"] is not None:
        axes.plot([main["unbiased"]] * 2, [-0.9, 0.9], color=INK, lw=1.2, zorder=1)
    for depth, (found, colour, mark) in enumerate(series):
        if found.get("value") is None:
            continue
        order = 10 - depth
        if found["low"] is not None:
            axes.plot([found["low"], found["high"]], [0, 0], color=colour, lw=1.6, solid_capstyle="butt", zorder=order)
        face = colour if depth == 0 else "white"
        axes.plot(found["value"], 0, mark, ms=4, mec=colour, mfc=face, mew=0.9, zorder=order, clip_on=False)
    axes.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}".replace("-", "\u2212")))
    axes.tick_params(axis="x", labelsize=5.5, pad=1.5, length=2, color=PALE, labelcolor=INK)
    axes.set_yticks([])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.patch.set_visible(False)


def _dark(colour: Sequence[float]) -> bool:
    """Whether white is easier to read on it than black: by relative luminance (WCAG 2)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) < 0.18


def _short_share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _number(value: float) -> str:
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}".replace("-", "\u2212")
