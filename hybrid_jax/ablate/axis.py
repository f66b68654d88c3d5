"""Where the arms of a sweep lie on the x axis of its curves, and which of them a line joins."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from hybrid_jax.ablate.arms import Arm

NAMES = {"mixture.monolingual_fraction": "α, the share of monolingual batches", "languages": "training languages"}
LOG_RATIO = 16
"""From this ratio of the largest value to the smallest on, an axis without 0 has a log scale."""
BESIDE = 0.2
"""Distance between the arms beside the axis, as a share of the axis."""


class Axis(NamedTuple):
    """An x axis from 0 to 1, and the arms beside it at its right; arms without a number are all beside it."""

    label: str
    """What the numbers mean; empty if no arm has one."""
    ticks: list[tuple[float, str]]
    """Every place where an arm lies, with its value or, beside the axis, its name."""
    series: dict[str, dict[str, float]]
    """{name: {arm: x}}, in the order of x: arms that differ in the axis alone, joined by a line. The only one is ""."""
    beside: dict[str, float]
    """{arm: x} of the arms that no line joins."""

    @property
    def numeric(self) -> bool:
        """Whether some arms lie on a scale of numbers."""
        return bool(self.series)


def axis_of(arms: Sequence[Arm]) -> Axis:
    """The first field of the arms' `axis` with two numbers is the x axis, every combination of the others a series."""
    fields = list(dict.fromkeys(field for arm in arms for field in arm.axis))
    field = next((field for field in fields if len({arm.axis[field] for arm in arms if _number(arm, field)}) > 1), None)
    on_axis = [arm for arm in arms if field is not None and _number(arm, field)]
    if field is None or not on_axis:
        return Axis("", [(float(at), arm.name) for at, arm in enumerate(arms)], {}, _places(arms, 0.0, 1.0))
    numbers = sorted({float(arm.axis[field]) for arm in on_axis})
    log = numbers[0] > 0 and numbers[-1] / numbers[0] >= LOG_RATIO
    scaled = {number: math.log2(number) if log else number for number in numbers}
    low, high = scaled[numbers[0]], scaled[numbers[-1]]
    place = {number: (at - low) / (high - low) for number, at in scaled.items()}
    series: dict[str, dict[str, float]] = {}
    for arm in sorted(on_axis, key=lambda arm: float(arm.axis[field])):
        others = ", ".join(f"{_short(name)} {_shown(value)}" for name, value in arm.axis.items() if name != field)
        series.setdefault(others, {})[arm.name] = place[float(arm.axis[field])]
    beside = _places([arm for arm in arms if arm not in on_axis], 1 + BESIDE, BESIDE)
    ticks = [(at, f"{number:.6g}") for number, at in place.items()] + [(at, name) for name, at in beside.items()]
    return Axis(NAMES.get(field, field) + (", log scale" if log else ""), ticks, series, beside)


def _number(arm: Arm, field: str) -> bool:
    value = arm.axis.get(field)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _places(arms: Sequence[Arm], first: float, step: float) -> dict[str, float]:
    return {arm.name: first + step * at for at, arm in enumerate(arms)}


def _short(field: str) -> str:
    return field.rpartition(".")[2].replace("_", " ")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
