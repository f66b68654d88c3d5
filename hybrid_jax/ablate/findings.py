"""What a sweep's data supports and what it does not, in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence

from hybrid_jax.ablate.changes import Change
from hybrid_jax.ablate.charts import pareto_front
from hybrid_jax.ablate.folder import LEAKAGE
from hybrid_jax.ablate.results import Sweep
from hybrid_jax.ablate.statistics import OTHER_KINDS, Figure, PairedTest, Statistics, Table
from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.catalogue import MAP, METRICS, RANK_DISTANCE
from hybrid_jax.eval.measures.parts import PART_LABELS
from hybrid_jax.eval.report.rows import amount

ENOUGH_SEEDS = 5
"""From this many seeds on, the page does not warn of wide intervals (`stats.interval` has the measurements)."""


def supported(sweep: Sweep, statistics: Statistics, changes: Mapping[str, Sequence[Change]]) -> list[str]:
    """What the tests found: for every task, baseline and headline figure (of searched pools and bitext: every metric),
    which arms differ and by how much; and which differences change from group to group, of the `changes` of a task."""
    sentences = []
    for task in sweep.tasks:
        for table in statistics.of_task(task, "headline"):
            differing = list(_differing(statistics, table))
            sentences += differing or [
                f"{task}: no arm is shown to differ from {table.baseline} in mAP or rank distance."
            ]
        sentences += _changing(task, changes[task])
        sentences += _front(sweep, statistics, task)
    for table in (table for kind in OTHER_KINDS for table in statistics.of_kind(kind)):
        differing = list(_differing(statistics, table))
        sentences += differing or [f"{table.task}: no arm is shown to differ from {table.baseline} in any metric."]
    return sentences


def not_supported(sweep: Sweep, statistics: Statistics, changes: Mapping[str, Sequence[Change]]) -> list[str]:
    """What the data is silent about: missing runs, few seeds, unequal arms, what was not tested."""
    return [
        *_missing(sweep),
        *_open(statistics),
        *_seeds(sweep),
        *(f"Not equal between the arms: {sentence.rstrip('.')}." for sentence in sweep.unequal),
        *_costs(sweep),
        *_left_out(sweep, statistics),
        *_few(sweep, statistics),
        *_limits(sweep, statistics, changes),
    ]


def leakage(sweep: Sweep) -> str | None:
    """What leakage.json says, and what follows, in a sentence; None where it was not checked."""
    if sweep.leakage is None:
        return None
    sentence = sweep.leakage.sentence()
    follows = ": figures of what was found may be too high" if sweep.leakage.leaked else ""
    return f"{sentence[0].upper()}{sentence[1:]}{follows} ({LEAKAGE})."


def figure_label(figure: Figure) -> str:
    """A figure in words: "Mul. mAP", or the name of a measure that has one setting alone."""
    name, setting = figure
    return f"{PART_LABELS[setting]} {METRICS[name].label}" if name == MAP.name else METRICS[name].label


def signed(name: str, value: float) -> str:
    """A difference with the decimals of its metric and a sign."""
    return f"{'−' if value < 0 else '+'}{amount(name, abs(value))}"


def p_text(symbol: str, p: float) -> str:
    """A p-value, as "p = 0.0123" or "p < 0.0001", which no line break divides."""
    return (f"{symbol} < 0.0001" if p < 1e-4 else f"{symbol} = {p:.4f}").replace(" ", "\u00a0")


def _differing(statistics: Statistics, table: Table) -> Iterator[str]:
    """The arms with a verdict: "TASK, Mul. mAP: better than BASELINE: ARM by +0.01 [+0.00, +0.02], p = 0.0123."."""
    for figure in statistics.figures(table.task, table.kind):
        parts = []
        for verdict in ("better", "worse"):
            arms = [
                f"{test.arm} by {_difference(test)}, {p_text('p', test.difference.p_holm)}{_about(test.recipes)}"
                for test in table.tests
                if (test.figure, test.difference.verdict) == (figure, verdict)
            ]
            if arms:
                parts.append(f"{verdict} than {table.baseline}: {'; '.join(arms)}")
        if parts:
            yield f"{table.task}, {figure_label(figure)}: {'; '.join(parts)}."


def _changing(task: str, changes: Sequence[Change]) -> Iterator[str]:
    """The differences that change from group to group, or that none is shown to."""
    evident = [one for one in changes if one.change.verdict != "no evidence"]
    if changes and not evident:
        yield f"{task}: no difference from a baseline is shown to change from group to group."
    for one in evident:
        name, change = one.figure[0], one.change
        interval = f"[{signed(name, change.low)}, {signed(name, change.high)}]"
        stands = f"{one.arm} stands {change.verdict} against {one.baseline} than {one.first} against its own baseline"
        by = f"{signed(name, change.difference)} {interval}, {p_text('p', change.p_holm)}{_about(one.recipes)}"
        yield f"{task}, {figure_label(one.figure)}: {stands} by {by}."


def _open(statistics: Statistics) -> Iterator[str]:
    """The arms without a verdict, and how large a difference could still be."""
    for table in (table for kind in ("headline", *OTHER_KINDS) for table in statistics.of_kind(kind)):
        for figure in statistics.figures(table.task, table.kind):
            tests = [test for test in table.tests if test.figure == figure and test.difference.verdict == "no evidence"]
            if tests:
                bounds = [abs(end) for test in tests for end in (test.difference.low, test.difference.high)]
                yield (
                    f"{table.task}, {figure_label(figure)}: no evidence that {_listed([test.arm for test in tests])} "
                    f"{'differs' if len(tests) == 1 else 'differ'} from {table.baseline}, nor that they are equal: "
                    f"differences up to {amount(figure[0], max(bounds))} are possible."
                )


def _about(recipes: bool) -> str:
    return "" if recipes else " (these checkpoints, not the recipes)"


def _difference(test: PairedTest) -> str:
    name, value = test.figure[0], test.difference
    return f"{signed(name, value.difference)} [{signed(name, value.low)}, {signed(name, value.high)}]"


def _front(sweep: Sweep, statistics: Statistics, task: str) -> Iterator[str]:
    """The Pareto front of Mul. mAP and rank distance, by the means."""
    quality = statistics.by_arm(task, (MAP.name, "multilingual"))
    bias = statistics.by_arm(task, (RANK_DISTANCE.name, "multilingual"))
    if len(sweep.runs) < 2 or not quality or not bias:
        return
    front = pareto_front({arm: (bias[arm].estimate, quality[arm].estimate) for arm in sweep.runs})
    behind = [arm for arm in sweep.runs if arm not in front]
    kept = _listed([arm for arm in sweep.runs if arm in front])
    ending = f"; of {_listed(behind)} another arm is as good in both and better in one" if behind else ""
    verb = "is" if len(front) == 1 else "are"
    yield f"{task}, Mul. mAP against rank distance, by the means alone: on the Pareto front {verb} {kept}{ending}."


def _missing(sweep: Sweep) -> Iterator[str]:
    if not sweep.missing:
        return
    trained = [arm for arm in sweep.plan.arms if not arm.debias]
    total = len(trained) * len(sweep.plan.seeds)
    runs = ", ".join(f"{run.arm} seed {run.seed} ({run.state})" for run in sweep.missing)
    verb = "is" if len(sweep.missing) == 1 else "are"
    yield f"The sweep is not finished: {len(sweep.missing)} of {total} runs {verb} missing: {runs}."
    absent = [arm.name for arm in sweep.plan.arms if arm.name not in sweep.runs]
    if absent:
        yield f"Nothing is known yet of {_listed(absent)}."
    for baseline in sweep.plan.baselines:
        if baseline not in sweep.runs:
            yield f"The baseline {baseline} has no evaluated run: no arm is tested against it."


def _seeds(sweep: Sweep) -> Iterator[str]:
    counts = {arm: len(runs) for arm, runs in sweep.runs.items()}
    single = [arm for arm, count in counts.items() if count == 1]
    if single:
        yield (
            f"One seed of {_listed(single)}: intervals and tests are about {_its(single)} over other questions. "
            "Another seed could differ by more, so they say nothing about the recipes."
        )
    several = sorted({count for count in counts.values() if 1 < count < ENOUGH_SEEDS})
    if several:
        yield (
            f"{_listed([str(count) for count in several])} seeds an arm: intervals include the spread between seeds, "
            "but it is badly known from so few, so small differences stay undetected. "
            f"Train {ENOUGH_SEEDS} or more to see them."
        )


def _its(arms: Sequence[str]) -> str:
    return "that checkpoint" if len(arms) == 1 else "those checkpoints"


def _left_out(sweep: Sweep, statistics: Statistics) -> Iterator[str]:
    """The tasks and the measures that do not compare, since not every run has them."""
    if sweep.tasks_of_some:
        yield f"Left out, since not every run was evaluated on it: {', '.join(sweep.tasks_of_some)}."
    for task, names in statistics.left_out.items():
        labels = ", ".join(METRICS[name].label for name in names)
        yield f"Left out of {task}, since not every run has it, or has it of other queries: {labels}."


def _few(sweep: Sweep, statistics: Statistics) -> Iterator[str]:
    """The tasks with figures that have no verdict, as `compare` gives none, and intervals that are too narrow."""
    tables = next(iter(sweep.runs.values()))[0].tables
    few = {
        task: None
        for task, _, (name, part) in statistics.estimates
        if not stats.enough(tables[task].by_question(part, name), tables[task].units)
    }
    for task in few:
        yield (
            f"{task}: figures of a language or pair with fewer than {stats.LEAST_UNITS} questions or paragraphs have "
            "no verdict, and their intervals are too narrow."
        )


def _costs(sweep: Sweep) -> Iterator[str]:
    """The arms whose cost is not known yet."""
    unfinished = [arm for arm, runs in sweep.runs.items() if any(run.cost is None for run in runs)]
    if unfinished:
        yield f"The cost of {_listed(unfinished)} is not known yet: a run was evaluated, but is not finished."


def _limits(sweep: Sweep, statistics: Statistics, changes: Mapping[str, Sequence[Change]]) -> Iterator[str]:
    tables = statistics.tables
    if not tables:
        yield "Nothing was tested: a test takes evaluated runs of a baseline and of another arm, on the same task."
        return
    tests = [test for table in tables for test in table.tests]
    real = sum(test.q < stats.LEVEL for test in tests)
    level = f"{stats.LEVEL:.0%}"
    yield (
        f"The sweep has {len(tests)} tests in {len(tables)} table{'s' * (len(tables) > 1)}. Verdicts hold for a table "
        f"(Holm): the probability of any false one in it is at most {level}. Over the whole sweep, {real} "
        f"difference{'s have' if real != 1 else ' has'} q < {stats.LEVEL}, of which at most {level} are expected to be "
        "false (Benjamini and Hochberg)."
    )
    if of_changes := sum(map(len, changes.values())):
        yield f"Besides them, {of_changes} tests ask if a difference changes, corrected apart for each task (Holm)."
    baselines = _listed(sorted({table.baseline for table in tables}))
    groups = {arm.name: arm.group for arm in sweep.plan.arms}
    own = all(groups[test.arm] == groups[table.baseline] for table in tables for test in table.tests)
    within = ", each within its own group" if sweep.plan.grouped and own else ""
    yield f"Arms were tested against {baselines}{within}, not against one another."
    yield (
        "Nothing was measured between the points that a line joins, and no single language was tested. The arm with "
        "the highest mean of several is flattered by its luck: choose it on other data than these."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
