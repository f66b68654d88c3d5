"""Cross-lingual mAP by groups of language pairs: what an arm was trained on, scripts, and how far apart languages are.

A pair is a query's and a candidate's language. Every pair of a group counts once, however many queries it has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, nan
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from hybrid_jax.ablate.curve import trained_languages
from hybrid_jax.ablate.results import Sweep
from hybrid_jax.ablate.statistics import matched
from hybrid_jax.ablate.typology import TypologyError, distance
from hybrid_jax.eval.languages import identity, language
from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.per_query import Table

Pair = tuple[str, str]
"""A query's and a candidate's language."""
TRAINED = tuple(
    f"{seen}, {script} script" for seen in ("both seen", "one seen", "none seen") for script in ("same", "another")
)
"""Was the arm of a languages curve trained on the two languages, and are they in the same script?"""
THIRDS = ("near", "middle", "far")
"""Of the pairs of two languages by their distance (`typology.distance`)."""
LEAST_PAIRS = 6
"""Of two languages, for thirds of them to say something."""


@dataclass(frozen=True)
class GroupMean:
    """An arm's mean over the pairs of a group, with its 95 % interval over questions and seeds.

    The ends of intervals are NaN where a pair has too few questions or paragraphs (`stats.enough`).
    """

    pairs: int
    mean: stats.Interval
    against: Mapping[str, stats.Interval]
    """The arm minus each baseline that it is tested against, on the same pairs and questions; not corrected."""


ByGroup = Mapping[str, GroupMean]
"""{group: its mean}, without groups that have no pair."""


class Grouped(NamedTuple):
    """The pairs of one task."""

    trained: Mapping[str, ByGroup]
    """{arm of a languages curve: the means of TRAINED}. The pairs of a group change with the arm's languages."""
    distant: Mapping[str, ByGroup]
    """{arm: the means of THIRDS}; {} where languages have no features, or pairs are too few."""
    limits: Mapping[str, float]
    """{third: the distance of its farthest pair}"""


def grouped(sweep: Sweep, task: str) -> Grouped:
    """The pairs of a task that is ranked in full, in both ways."""
    pairs = _pairs(sweep, task)
    thirds = _thirds(pairs)
    trained = {arm.name: trained_languages(arm) for arm in sweep.arms}
    return Grouped(
        {
            arm: _means(sweep, task, arm, {pair: _trained(pair, languages) for pair in pairs})
            for arm, languages in trained.items()
            if languages is not None and pairs
        },
        {arm: _means(sweep, task, arm, thirds) for arm in trained if thirds},
        {third: max(_distance(pair) for pair in thirds if thirds[pair] == third) for third in thirds.values()},
    )


def _pairs(sweep: Sweep, task: str) -> list[Pair]:
    """The pairs of different languages that have values."""
    table = next(iter(sweep.runs.values()))[0].tables[task]
    if "map" not in table.cross_lingual:
        return []
    of_query = np.array(table.languages)
    return [
        (asking, answering)
        for asking in dict.fromkeys(table.languages)
        for column, answering in enumerate(table.candidate_languages)
        if not np.isnan(table.cross_lingual["map"][of_query == asking, column]).all()
    ]


def _trained(pair: Pair, trained: Sequence[str]) -> str:
    languages = {identity(code) for code in trained}
    seen = ("none seen", "one seen", "both seen")[sum(identity(code) in languages for code in pair)]
    one, other = map(language, pair)
    same = one is not None and other is not None and one.script == other.script
    return f"{seen}, {'same' if same else 'another'} script"


def _thirds(pairs: Sequence[Pair]) -> dict[Pair, str]:
    """The third of each pair. Equal distances fall into one third; both directions of two languages, too."""
    languages = sorted({code for pair in pairs for code in pair})
    with_values = {frozenset(pair) for pair in pairs}
    try:
        distances = sorted(_distance(two) for two in combinations(languages, 2) if frozenset(two) in with_values)
    except TypologyError:
        return {}
    if len(distances) < LEAST_PAIRS:
        return {}
    ends = [distances[ceil(len(distances) * part / 3) - 1] for part in (1, 2, 3)]
    return {pair: THIRDS[int(np.searchsorted(ends, _distance(pair)))] for pair in pairs}


def _distance(pair: Pair) -> float:
    """The same in both directions, and without the rounding errors that would put equal ones into two thirds."""
    return round(distance(*sorted(pair)), 9)


def _means(sweep: Sweep, task: str, arm: str, group_of: Mapping[Pair, str]) -> ByGroup:
    """The means of an arm over the pairs of each group."""
    baselines = [name for name in sweep.plan.baselines if name in sweep.runs and arm in sweep.plan.tested(name)]
    order = [group for group in (*TRAINED, *THIRDS) if group in group_of.values()]
    means: dict[str, GroupMean] = {}
    for group in order:
        pairs = {pair for pair, of_pair in group_of.items() if of_pair == group}
        values = {name: np.stack(list(_values(sweep, task, name, pairs))) for name in (arm, *baselines)}
        units = sweep.runs[arm][0].tables[task].units
        against = {
            name: stats.difference(values[arm], values[name], units, matched=arm in matched(sweep, name)).interval
            for name in baselines
        }
        mean = stats.interval(values[arm], units)
        if not all(stats.enough(run, units) for runs in values.values() for run in runs):
            mean, *against_means = (stats.Interval(one.estimate, nan, nan) for one in (mean, *against.values()))
            against = dict(zip(baselines, against_means, strict=True))
        means[group] = GroupMean(len(pairs), mean, against)
    return means


def _values(sweep: Sweep, task: str, arm: str, pairs: set[Pair]) -> Iterator[Float[np.ndarray, "questions pairs"]]:
    """The values of these pairs in each run of an arm."""
    for run in sweep.runs[arm]:
        table = run.tables[task]
        yield table.clustered(np.where(_asked(table, pairs), table.cross_lingual["map"], np.nan))


def _asked(table: Table, pairs: set[Pair]) -> Bool[np.ndarray, "queries candidates"]:
    answering = {asking: [(asking, code) in pairs for code in table.candidate_languages] for asking in table.languages}
    return np.array([answering[asking] for asking in table.languages])
