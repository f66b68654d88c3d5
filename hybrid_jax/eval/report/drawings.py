"""Where everything in a page's drawings goes: heatmaps, the bias panel's strips, curves. Numbers only.

Knows: report.json, scales. Does not know: SVG, colours, text (the templates draw what is computed here).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_jax.eval.report.layout import Pairs, by_script, curve_lines, places, quality_span, script, short_rank
from hybrid_jax.eval.report.rows import SHORT, BiasRow, Report

SHADES = 10
WIDTH, HEIGHT = 42, 34
"""Of a heatmap's cell."""

Drawing = dict[str, Any]


def quality_map(pairs: Pairs) -> Drawing:
    """mAP of every pair; the darker the better."""
    low, high = quality_span(pairs)
    drawing = _grid(pairs, "map", lambda value: (value - low) / (high - low), _short_share)
    return drawing | {"name": "map", "low": f"{low:.2f}", "high": f"{high:.2f}"}


def depth_map(pairs: Pairs, candidates: int) -> Drawing:
    """Median rank of the best answer of every pair, on a log scale up to the pool; the darker the deeper."""
    most = math.log(max(2, candidates))
    drawing = _grid(pairs, "translation_rank", lambda value: math.log(max(1.0, value)) / most, short_rank)
    return drawing | {"name": "translation_rank", "low": "1", "high": f"{candidates:,}"}


def strip(row: BiasRow, candidates: int) -> Drawing | None:
    """Places from 0 (no bias at all) to 1 (nothing but language) of a measure's values on its own natural scale; None
    for a measure that is not about bias alone."""
    if row.biased == "neither":
        return None
    low, high = 0.0, 1.0
    if row.name in ("rank_distance", "max_rank"):
        high = float(candidates)
    elif row.name == "log_rank_distance":
        high = math.log2(max(2, candidates))
    elif row.name.startswith("rank_correlation"):
        low = -1.0
    elif row.name == "removal_gap":  # at most 1 / (R - 1) for R answers
        high = max(0.2, *(found["value"] for _, found in (("", row.here), *row.others)))

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
    """For each task of a watched run: mAP in each setting over the steps, 600 wide and 200 high."""
    records: Sequence[Mapping[str, Any]] = report.get("curve", ())
    if len(records) < 2:
        return []
    steps = [record["step"] for record in records]
    first, last = min(steps), max(steps)
    found = []
    for key in records[-1]["figures"]:
        lines = curve_lines(records, key)
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
    rows = by_script(list(pairs))
    columns = by_script(sorted({other for row in pairs.values() for other in row}))
    down = {code: round(HEIGHT * place, 1) for code, place in places(rows).items()}
    across = {code: round(WIDTH * place, 1) for code, place in places(columns).items()}
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
        scripts.setdefault(script(code), []).append(code)
    return {
        "cells": cells,
        "rows": down,
        "columns": across,
        "scripts": [(script, down[codes[0]], down[codes[-1]] + HEIGHT) for script, codes in scripts.items()],
        "width": max(across.values()) + WIDTH,
        "height": max(down.values()) + HEIGHT,
        "shades": range(SHADES),
    }


def _short_share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")[:4]
