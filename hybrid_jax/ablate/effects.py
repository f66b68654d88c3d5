"""How the differences from a baseline change along the field that the arms are crossed with: "when does it help?"."""

from collections.abc import Sequence
from itertools import cycle, product

from hybrid_jax.ablate.arms import Arm
from hybrid_jax.ablate.axis import Axis, axis_of
from hybrid_jax.ablate.charts import DASHES, Chart, Line
from hybrid_jax.ablate.findings import figure_label
from hybrid_jax.ablate.results import Sweep
from hybrid_jax.ablate.statistics import Statistics
from hybrid_jax.eval.comparison import Estimate
from hybrid_jax.eval.measures.catalogue import METRICS
from hybrid_jax.eval.report.figures import MAIN, OTHERS


def axis_of_groups(sweep: Sweep) -> Axis | None:
    """The axis of the one field that the groups of a sweep differ in; None for other groups, or without numbers.

    Arms with the same name but for the group are a series of it.
    """
    fields = list(dict.fromkeys(field for arm in sweep.arms for field in arm.group))
    if not sweep.plan.grouped or len(fields) != 1:
        return None
    axis = axis_of([_along(arm, fields[0]) for arm in sweep.arms])
    if not axis.numeric or axis.beside:
        return None
    baselines = dict.fromkeys(arm.base for arm in sweep.plan.arms if arm.name in sweep.plan.baselines)
    return axis._replace(label=f"{axis.label} (0 is {' or '.join(baselines)})")


def effects(axis: Axis, sweep: Sweep, statistics: Statistics, task: str) -> list[Chart]:
    """A chart for each baseline and figure of the headline: every arm's difference from it within its group, with the
    interval."""
    arms = {arm.name: arm for arm in sweep.arms}
    tables = statistics.of_task(task, "headline")
    charts = []
    baselines = dict.fromkeys(arms[table.baseline].base for table in tables)
    for baseline, (name, setting) in product(baselines, statistics.figures(task, "headline")):
        better = "above" if METRICS[name].better == "higher" else "below"
        differences = {
            test.arm: Estimate(estimate=test.difference.difference, low=test.difference.low, high=test.difference.high)
            for table in tables
            for test in table.tests
            if test.figure == (name, setting)
            and arms[table.baseline].base == baseline
            and arms[test.arm].group == arms[table.baseline].group
        }
        charts.append(
            Chart(
                title=figure_label((name, setting)),
                about=f"difference from {baseline}; {better} 0 is better",
                lines=_lines(axis, differences),
                log=False,
                low=None,
                high=None,
                difference=True,
            )
        )
    return charts


def _along(arm: Arm, field: str) -> Arm:
    return Arm(name=arm.name, overrides={}, axis={field: arm.group.get(field), "arm": arm.base})


def _lines(axis: Axis, differences: dict[str, Estimate]) -> list[Line]:
    """A line for each arm that is tested; the baseline is the zero."""
    tested: Sequence[tuple[str, dict[str, float]]] = [
        (name, places) for name, places in axis.series.items() if any(arm in differences for arm in places)
    ]
    looks = zip(cycle((MAIN, *OTHERS)), cycle(DASHES), strict=False)
    return [
        Line(
            label=name.removeprefix("arm "),
            colour=colour,
            mark=mark,
            dashes=dashes,
            joined=[(x, differences[arm]) for arm, x in places.items() if arm in differences],
            points=[],
        )
        for (name, places), ((colour, mark), dashes) in zip(tested, looks, strict=False)
    ]
