"""Where everything in a page's drawings goes: heatmaps, the bias panel's strips, curves. Numbers only.

Knows: report.json, scales. Does not know: SVG, colours, text (the templates draw what is computed here).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hybrid_jax.eval.languages import UNKNOWN, language, script_name
from hybrid_jax.eval.per_query import SETTINGS
from hybrid_jax.eval.report.rows import SHORT, BiasRow, Report

LEAST_SPAN = 0.05
"""A heatmap's colours span at least this much mAP, so that noise does not look like a difference."""
SHADES = 10
GAP = 7
"""Between two scripts, where a cell is 42 wide and 34 high."""
WIDTH, HEIGHT = 42, 34

Pairs = Mapping[str, Mapping[str, Mapping[str, Any]]]
Drawing = dict[str, Any]


def quality_map(pairs: Pairs) -> Drawing:
    """mAP of every pair; the darker the better."""
    values = [scores["map"] for row in pairs.values() for scores in row.values()]
    low, high = min(values), max(values)
    widen = max(0.0, LEAST_SPAN - (high - low)) / 2
    low, high = max(0.0, low - widen), min(1.0, high + widen)
    drawing = _grid(pairs, "map", lambda value: (value - low) / (high - low), _short_share)
    return drawing | {"name": "map", "low": f"{low:.2f}", "high": f"{high:.2f}"}


def depth_map(pairs: Pairs, candidates: int) -> Drawing:
    """Median rank of the best answer of every pair, on a log scale up to the pool; the darker the deeper."""
    most = math.log(max(2, candidates))
    drawing = _grid(pairs, "translation_rank", lambda value: math.log(max(1.0, value)) / most, _short_rank)
    return drawing | {"name": "translation_rank", "low": "1", "high": f"{candidates:,}"}


def strip(row: BiasRow, candidates: int) -> Drawing:
    """Places from 0 (no bias at all) to 1 (nothing but language) of a measure's values on its own natural scale."""
    low, high = 0.0, 1.0
    if row.name in ("rank_distance", "max_rank"):
        high = float(candidates)
    elif row.name == "log_rank_distance":
        high = math.log2(max(2, candidates))
    elif row.name.startswith("rank_correlation"):
        low = -1.0
    elif row.name.endswith("_gap"):
        low, high = -0.2, 1.0 if row.name.startswith("lone") else 0.2
    elif row.name.startswith("hubness"):
        low, high = 0.0, max(10.0, *(found["value"] for _, found in (("", row.here), *row.others)))

    def place(value: float | None) -> float | None:
        if value is None:
            return None
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(share if row.biased == "higher" else 1 - share, 4)

    here = row.here
    ends = sorted(place(here[end]) or 0.0 for end in ("low", "high")) if here["low"] is not None else None
    others = [(label, place(found["value"])) for label, found in row.others if found["value"] is not None]
    return {"here": place(here["value"]), "ends": ends, "unbiased": place(here["unbiased"]), "others": others}


def curves(report: Report) -> list[Drawing]:
    """For each task of a watched run: mAP in each setting over the steps, 600 wide and 200 high; and the best step."""
    records: Sequence[Mapping[str, Any]] = report.get("curve", ())
    if len(records) < 2:
        return []
    steps = [record["step"] for record in records]
    first, last = min(steps), max(steps)
    found = []
    for key in records[-1]["figures"]:
        lines = {}
        for setting in SETTINGS:
            points = [(r["step"], r["figures"].get(key, {}).get("map", {}).get(setting)) for r in records]
            known = [(step, value) for step, value in points if value is not None]
            if known:
                lines[setting] = known
        if not lines:
            continue
        values = [value for line in lines.values() for _, value in line]
        ticks = _ticks(max(values))
        high = ticks[-1]
        found.append(
            {
                "key": key,
                "ticks": [(tick, round(200 * (1 - tick / high), 1)) for tick in ticks],
                "first": first,
                "last": last,
                "lines": [
                    {
                        "setting": setting,
                        "label": SHORT[setting],
                        "last": line[-1][1],
                        "points": [
                            {
                                "step": step,
                                "value": value,
                                "x": round(600 * (step - first) / (last - first), 1),
                                "y": round(200 * (1 - value / high), 1),
                            }
                            for step, value in line
                        ],
                    }
                    for setting, line in lines.items()
                ],
            }
        )
    return found


def _ticks(most: float) -> list[float]:
    """From 0 to the first round number from `most` on, in 3 to 6 equal steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(most, 1e-3)))
    step = next(size for size in (power / 5, power / 2, power, 2 * power) if most / size <= 6)
    return [step * part for part in range(max(1, math.ceil(most / step - 1e-9)) + 1)]


def _grid(pairs: Pairs, name: str, share: Any, label: Any) -> Drawing:
    """Cells of query language × candidate language, languages of one script together, shades from 0 to SHADES - 1."""
    rows = _by_script(list(pairs))
    columns = _by_script(sorted({other for row in pairs.values() for other in row}))
    down, across = _places(rows, HEIGHT), _places(columns, WIDTH)
    cells = [
        {
            "x": across[other],
            "y": down[code],
            "query": code,
            "candidate": other,
            "value": scores[name],
            "label": label(scores[name]),
            "questions": scores["questions"],
            "shade": max(0, min(SHADES - 1, int(SHADES * share(scores[name])))),
        }
        for code, row in pairs.items()
        for other, scores in row.items()
    ]
    scripts: dict[str, list[str]] = {}
    for code in rows:
        scripts.setdefault(_script(code), []).append(code)
    return {
        "cells": cells,
        "rows": down,
        "columns": across,
        "scripts": [(script, down[codes[0]], down[codes[-1]] + HEIGHT) for script, codes in scripts.items()],
        "width": max(across.values()) + WIDTH,
        "height": max(down.values()) + HEIGHT,
        "shades": range(SHADES),
    }


def _by_script(codes: Sequence[str]) -> list[str]:
    """Scripts with most languages first, then by name; languages of a script by code."""
    scripts = [_script(code) for code in codes]
    return sorted(codes, key=lambda code: (-scripts.count(_script(code)), _script(code), code))


def _script(code: str) -> str:
    known = language(code)
    return script_name(known.script) if known else UNKNOWN


def _places(codes: Sequence[str], size: int) -> dict[str, int]:
    """Where each code's row or column begins, with a gap before another script."""
    place, found = 0, {codes[0]: 0}
    for before, code in pairwise(codes):
        place += size + (GAP if _script(before) != _script(code) else 0)
        found[code] = place
    return found


def _short_share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")[:4]


def _short_rank(value: float) -> str:
    if value < 999.5:
        return f"{value:.0f}"
    return f"{value / 1000:.1f}k" if value < 9_950 else f"{value / 1000:.0f}k"
