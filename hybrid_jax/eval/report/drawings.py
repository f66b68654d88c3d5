"""The numbers behind the page's drawings: shades of heatmap cells, places on the bias panel's strips, points of curves.

The templates turn them into SVG.
"""

import math
from typing import NamedTuple

from hybrid_jax.eval.measures.catalogue import SETTING_LABELS
from hybrid_jax.eval.report.layout import curve_lines
from hybrid_jax.eval.report.rows import BiasRow
from hybrid_jax.eval.report.schema import Report

SHADES = 10
"""Colours of a heatmap, numbered in the style sheet."""
CURVE_WIDTH, CURVE_HEIGHT = 600, 200


class Strip(NamedTuple):
    """Places on a line from 0 (no language bias) to 1 (nothing but language), on the measure's own scale."""

    here: float | None
    """The evaluated model."""
    ends: tuple[float, float] | None
    """Its interval."""
    unbiased: float | None
    """A model without language bias."""
    others: list[tuple[str, float]]
    """(label, place) of the models beside it."""


class CurveDot(NamedTuple):
    """One evaluated step."""

    step: int
    value: float
    x: float
    y: float


class CurveLine(NamedTuple):
    """mAP in one setting."""

    label: str
    dots: list[CurveDot]


class CurveDrawing(NamedTuple):
    """One task of a watched run."""

    key: str
    ticks: list[tuple[str, float]]
    """(mAP with as many decimals as the steps between ticks need, y)."""
    first: int
    last: int
    """The steps at both ends of the x axis."""
    lines: list[CurveLine]


def shade(share: float) -> int:
    """The number of the colour of a cell whose value lies at this share (0 to 1) of the colour scale."""
    return max(0, min(SHADES - 1, int(SHADES * share)))


def strip(row: BiasRow, candidates: int) -> Strip | None:
    """The strip of a bias measure; None for a measure that describes more than bias."""
    metric = row.metric
    if metric.better == "neither":
        return None
    low, high = 0.0, 1.0
    if metric.name in ("rank_distance", "max_rank"):
        high = float(candidates)
    elif metric.name == "log_rank_distance":
        high = math.log2(max(2, candidates))
    elif metric.name.startswith("rank_correlation"):
        low = -1.0
    elif metric.name == "removal_gap":  # at most 1 / (R - 1) for R answers
        values = [value.value for value in (row.here, *row.others.values())]
        high = max(0.2, *(value for value in values if value is not None))

    def place(value: float | None) -> float | None:
        if value is None:
            return None
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(share if metric.better == "lower" else 1 - share, 4)

    ends = None
    if row.here.low is not None:
        start, end = sorted(place(limit) or 0.0 for limit in (row.here.low, row.here.high))
        ends = (start, end)
    others = [(label, at) for label, value in row.others.items() if (at := place(value.value)) is not None]
    return Strip(place(row.here.value), ends, place(row.here.unbiased), others)


def curves(report: Report) -> list[CurveDrawing]:
    """For each task of a watched run, mAP in each setting over the steps; none before the second evaluated step."""
    points = report.curve
    if len(points) < 2:
        return []
    steps = [point.step for point in points]
    first, last = min(steps), max(steps)
    drawings = []
    for key in points[-1].figures:
        lines = curve_lines(points, key)
        if not lines:
            continue
        ticks = _ticks(max(value for line in lines.values() for _, value in line))
        high = ticks[-1]
        digits = max(2, -math.floor(math.log10(ticks[1]) + 1e-9))

        def dot(step: int, value: float, high: float = high) -> CurveDot:
            x, y = CURVE_WIDTH * (step - first) / (last - first), CURVE_HEIGHT * (1 - value / high)
            return CurveDot(step, value, round(x, 1), round(y, 1))

        drawings.append(
            CurveDrawing(
                key,
                [(f"{tick:.{digits}f}", round(CURVE_HEIGHT * (1 - tick / high), 1)) for tick in ticks],
                first,
                last,
                [
                    CurveLine(SETTING_LABELS[setting], [dot(step, value) for step, value in line])
                    for setting, line in lines.items()
                ],
            )
        )
    return drawings


def _ticks(highest: float) -> list[float]:
    """From 0 to the first round number from `highest` on, in 3 to 6 equal steps of 1, 2 or 5 times a power of 10."""
    power = 10.0 ** math.floor(math.log10(max(highest, 1e-3)))
    step = next(size for size in (power / 5, power / 2, power, 2 * power) if highest / size <= 6)
    return [step * part for part in range(max(1, math.ceil(highest / step - 1e-9)) + 1)]
