"""How a language × language figure and a curve are laid out, whoever draws them: the page and the figures for papers.

Knows: languages' scripts, scales, short numbers. Does not know: sizes, colours, what draws.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hybrid_jax.eval.languages import UNKNOWN, language, script_name
from hybrid_jax.eval.measures.catalogue import SETTINGS

LEAST_SPAN = 0.05
"""A heatmap's colours span at least this much mAP, so that noise does not look like a difference."""
GAP = 0.18
"""Between two scripts, in cells."""

Pairs = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""{query language: {candidate language: its scores}}, a result's "pairs"."""


def script(code: str) -> str:
    """The name of the script that a language is written in."""
    known = language(code)
    return script_name(known.script) if known else UNKNOWN


def by_script(codes: Sequence[str]) -> list[str]:
    """Scripts with most languages first, then by name; languages of a script by code."""
    scripts = [script(code) for code in codes]
    return sorted(codes, key=lambda code: (-scripts.count(script(code)), script(code), code))


def places(codes: Sequence[str]) -> dict[str, float]:
    """Where each code's row or column begins, in cells, with a gap before another script."""
    found = {codes[0]: 0.0}
    for before, code in pairwise(codes):
        found[code] = found[before] + 1 + (GAP if script(before) != script(code) else 0)
    return found


def quality_span(pairs: Pairs) -> tuple[float, float]:
    """The lowest and the highest mAP that a heatmap's colours tell apart."""
    values = [scores["map"] for row in pairs.values() for scores in row.values()]
    low, high = min(values), max(values)
    widen = max(0.0, LEAST_SPAN - (high - low)) / 2
    return max(0.0, low - widen), min(1.0, high + widen)


def short_rank(value: float) -> str:
    """A rank in at most four characters: 7, 950, 1.2k, 13k."""
    if value < 999.5:
        return f"{value:.0f}"
    return f"{value / 1000:.1f}k" if value < 9_950 else f"{value / 1000:.0f}k"


def curve_lines(points: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[int, float]]]:
    """{setting: (step, mAP) in the steps' order} of a task of a watched run; empty for one without mAP."""
    lines = {}
    for setting in SETTINGS:
        found = [(point["step"], point["figures"].get(key, {}).get("map", {}).get(setting)) for point in points]
        known = sorted((step, value) for step, value in found if value is not None)
        if known:
            lines[setting] = known
    return lines
