"""Does an arm's difference from its baseline change with what the arms are crossed with? "When does it help?", tested.

Arms that are crossed with other fields are tested against the baseline of their own group (`statistics.py`). Here the
difference in each further group is compared with the difference of the same arm in the first group: an interaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hybrid_jax.ablate.arms import Arm
from hybrid_jax.ablate.results import Sweep
from hybrid_jax.ablate.statistics import HEADLINE, Figure
from hybrid_jax.eval.compare import SWAPS_PER_TEST, judged
from hybrid_jax.eval.comparison import Difference
from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.holm import holm


@dataclass(frozen=True)
class Change:
    """One arm's difference in one group, less its difference in the first group, in one figure."""

    arm: str
    """In the further group."""
    baseline: str
    """Of that group."""
    first: str
    """The same arm in the first group."""
    figure: Figure
    change: Difference
    """Its `p_holm` is corrected over all changes of the task. "better": the arm stands better against its baseline."""
    recipes: bool
    """Whether all four arms have several seeds: only then does the test speak of recipes rather than of checkpoints."""


def changes(sweep: Sweep, task: str) -> list[Change]:
    """The changes of every arm of a sweep with groups, in every figure of the headline that the task has.

    Empty without groups. An arm counts where it, its baseline and both of the first group have evaluated runs.
    """
    if not sweep.plan.grouped:
        return []
    compared = [
        (*pair, figure)
        for pair in _pairs(sweep)
        for figure in HEADLINE
        if all(_measured(sweep, task, arm.name, figure) for arms in pair for arm in arms)
    ]
    swaps = max(stats.SWAPS, SWAPS_PER_TEST * len(compared))
    tested: list[stats.Difference] = []
    enough: list[bool] = []
    for (arm, baseline), (first, first_baseline), figure in compared:
        values, *others = (_values(sweep, task, one.name, figure) for one in (arm, baseline, first, first_baseline))
        units = sweep.runs[arm.name][0].tables[task].units
        tested.append(stats.change(values, *others, units=units, swaps=swaps))
        enough.append(stats.enough(values[0], units))
    corrected = holm([change.p for change in tested])
    return [
        Change(
            arm=arm.name,
            baseline=baseline.name,
            first=first.name,
            figure=figure,
            change=judged(figure[0], change, p_holm, known),
            recipes=all(len(sweep.runs[one.name]) > 1 for one in (arm, baseline, first, first_baseline)),
        )
        for ((arm, baseline), (first, first_baseline), figure), change, p_holm, known in zip(
            compared, tested, corrected, enough, strict=True
        )
    ]


def _pairs(sweep: Sweep) -> Iterator[tuple[tuple[Arm, Arm], tuple[Arm, Arm]]]:
    """((arm, its baseline), (the arm in the first group, its baseline)), of every further group."""
    by_name = {arm.name: arm for arm in sweep.arms}
    in_group = {(arm.base, str(arm.group)): arm for arm in sweep.arms}
    first_of: dict[str, Arm] = {}
    for baseline in (by_name[name] for name in sweep.plan.baselines if name in by_name):
        first_baseline = first_of.setdefault(baseline.base, baseline)
        for arm in sweep.arms:
            first = in_group.get((arm.base, str(first_baseline.group)))
            further = arm.group == baseline.group != first_baseline.group
            if further and first is not None and arm.name != baseline.name:
                yield (arm, baseline), (first, first_baseline)


def _measured(sweep: Sweep, task: str, arm: str, figure: Figure) -> bool:
    tables = [run.tables[task].part(figure[1]).get(figure[0]) for run in sweep.runs[arm]]
    return all(values is not None and not np.isnan(values).all() for values in tables)


def _values(sweep: Sweep, task: str, arm: str, figure: Figure) -> stats.Runs:
    name, setting = figure
    return np.stack([run.tables[task].by_question(setting, name) for run in sweep.runs[arm]])
