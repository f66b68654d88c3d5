"""What heatmaps and curves show and where: shared by the page's SVG (`drawings.py`) and the figures for papers
(`figures.py`). Positions are in cells; sizes, fonts and colours belong to each renderer."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from hybrid_jax.eval.languages import UNKNOWN, language, script_name
from hybrid_jax.eval.measures.catalogue import SETTINGS, Setting
from hybrid_jax.eval.report.schema import CurvePoint, PairScores

LEAST_SPAN = 0.05
"""A heatmap's colours span at least this much mAP, so that noise does not look like a difference."""
LEAST_RATIO = 8.0
"""A depth map's colours span at least this ratio of ranks."""
GAP = 0.18
"""Between the languages of two scripts, in cells."""

Pairs = Mapping[str, Mapping[str, PairScores]]
"""{query language: {candidate language: its scores}}, as in `RankedResult.pairs`."""


class Cell(NamedTuple):
    """One pair of languages in a heatmap."""

    query: str
    candidate: str
    left: float
    top: float
    value: float
    shade: float
    """Where the value lies on the colour scale, from 0 to 1."""
    questions: int


class ScriptRows(NamedTuple):
    """The rows of the query languages that share a script."""

    name: str
    top: float
    bottom: float


class Heatmap(NamedTuple):
    """Query languages as rows, candidate languages as columns, languages of one script together."""

    metric: Literal["map", "translation_rank"]
    cells: list[Cell]
    rows: dict[str, float]
    """The top of each query language's row."""
    columns: dict[str, float]
    """The left of each candidate language's column."""
    scripts: list[ScriptRows]
    labels: dict[str, str]
    """{code: how it is written at its row and column}."""
    low: float
    """The value with the palest colour."""
    high: float
    """The value with the darkest colour."""

    @property
    def width(self) -> float:
        """In cells."""
        return max(self.columns.values()) + 1

    @property
    def height(self) -> float:
        """In cells."""
        return max(self.rows.values()) + 1


def quality_map(pairs: Pairs) -> Heatmap:
    """mAP of every pair; the darker the better."""
    values = [scores["map"] for row in pairs.values() for scores in row.values()]
    low, high = min(values), max(values)
    widen = max(0.0, LEAST_SPAN - (high - low)) / 2
    return _heatmap(pairs, "map", max(0.0, low - widen), min(1.0, high + widen))


def depth_map(pairs: Pairs, candidates: int) -> Heatmap:
    """Median rank of the best answer of every pair among all candidates, on a log scale; the darker the deeper."""
    values = [max(1.0, scores.translation_rank) for row in pairs.values() for scores in row.values()]
    low, high = min(values), max(values)
    widen = max(1.0, LEAST_RATIO / (high / low)) ** 0.5
    low, high = max(1.0, low / widen), min(float(max(2, candidates)), high * widen)
    return _heatmap(pairs, "translation_rank", low, max(high, 2 * low))


def scale_ticks(heatmap: Heatmap) -> list[tuple[float, float]]:
    """(value, its place from 0 to 1) of marks on the colour scale, such that neighbours can be told apart.

    Ranks are marked at 1, 3, 10, 30, … within the scale; mAP, and ranks with fewer than two such marks, at its ends.
    """
    ends = [(heatmap.low, 0.0), (heatmap.high, 1.0)]
    if heatmap.metric == "map":
        return ends
    marks = [float(step * 10**power) for power in range(10) for step in (1, 3)]
    inside = [mark for mark in marks if heatmap.low <= mark <= heatmap.high]
    places = [(mark, _log_share(mark, heatmap.low, heatmap.high)) for mark in inside]
    return places if len(places) > 1 else ends


def _heatmap(pairs: Pairs, metric: Literal["map", "translation_rank"], low: float, high: float) -> Heatmap:
    rows = _starts(by_script(list(pairs)))
    columns = _starts(by_script(sorted({code for row in pairs.values() for code in row})))
    cells = []
    for query, row in pairs.items():
        for candidate, scores in row.items():
            value = scores["map"] if metric == "map" else scores.translation_rank
            shade = (value - low) / (high - low) if metric == "map" else _log_share(value, low, high)
            cells.append(Cell(query, candidate, columns[candidate], rows[query], value, shade, scores.questions))
    scripts = []
    for name, members in groupby(rows, script):
        codes = list(members)
        scripts.append(ScriptRows(name, rows[codes[0]], rows[codes[-1]] + 1))
    return Heatmap(metric, cells, rows, columns, scripts, short_codes({*rows, *columns}), low, high)


def short_codes(codes: Iterable[str]) -> dict[str, str]:
    """{code: the code without its script or region, where no other one has the same language}: "deu_Latn" is "deu"."""
    bases = {code: re.split(r"[-_]", code)[0] for code in codes}
    return {code: base if list(bases.values()).count(base) == 1 else code for code, base in bases.items()}


def _log_share(value: float, low: float, high: float) -> float:
    """Where a rank lies between two others on a log scale."""
    return math.log(max(1.0, value) / low) / math.log(high / low)


def script(code: str) -> str:
    """The name of the script that a language is written in."""
    facts = language(code)
    return script_name(facts.script) if facts else UNKNOWN


def by_script(codes: Sequence[str]) -> list[str]:
    """The codes sorted by script, those with the most languages first, then by code."""
    scripts = [script(code) for code in codes]
    return sorted(codes, key=lambda code: (-scripts.count(script(code)), script(code), code))


def _starts(codes: Sequence[str]) -> dict[str, float]:
    """Where each code's row or column starts, with a gap between scripts."""
    starts = {codes[0]: 0.0}
    for before, code in pairwise(codes):
        starts[code] = starts[before] + 1 + (GAP if script(before) != script(code) else 0)
    return starts


def short_share(value: float, digits: int) -> str:
    """A number from 0 to 1 in at most four characters: .12 or .123, and 1.00."""
    return f"{value:.{digits}f}".removeprefix("0")[:4]


def short_rank(value: float) -> str:
    """A rank in at most four characters: 7, 950, 1.2k, 13k."""
    if value < 999.5:
        return f"{value:.0f}"
    return f"{value / 1000:.1f}k" if value < 9_950 else f"{value / 1000:.0f}k"


def curve_lines(points: Sequence[CurvePoint], key: str) -> dict[Setting, list[tuple[int, float]]]:
    """{setting: [(step, mAP)] by step} of a task of a watched run; empty for a task without mAP."""
    lines: dict[Setting, list[tuple[int, float]]] = {}
    for setting in SETTINGS:
        line = []
        for point in points:
            means = point.figures.get(key, {}).get("map")
            value = means.get(setting) if isinstance(means, dict) else None
            if value is not None:
                line.append((point.step, value))
        if line:
            lines[setting] = sorted(line)
    return lines
