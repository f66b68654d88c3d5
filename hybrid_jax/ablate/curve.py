"""The languages curve: arms whose set of training languages grows, and what they score on seen and unseen languages."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybrid_jax.ablate.arms import Arm, ArmError, crossed_name
from hybrid_jax.ablate.results import Sweep
from hybrid_jax.ablate.typology import in_order
from hybrid_jax.data.languages import language_tag
from hybrid_jax.eval.languages import identity, language

DATASETS = "data.datasets"
AXIS = "languages"
Pair = tuple[str, str]
"""A query's and a candidate's language."""
ONE_LANGUAGE = {"monolingual", "same_language"}


def curve_arms(sizes: Sequence[int], order: str, datasets: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """An arm for each size n, which trains on the first n languages of the order.

    `order` is "diverse" or "similar" (see `typology.in_order`), of the languages that the base config's `datasets`
    name; or a file with a language a line. A dataset keeps those of its languages that are among the n; it is left out
    if these are fewer than two and it is not for pairs in one language alone.

    Raises ArmError in one line for sizes or an order that cannot be.
    """
    ordered = _ordered(order, datasets)
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 2 or sizes[-1] > len(ordered):
        shown = ",".join(map(str, sizes))
        raise ArmError(
            f"--languages-curve {shown}: give growing numbers from 2 to {len(ordered)}, the languages of the order "
            f"({', '.join(ordered)})"
        )
    arms = [
        Arm(name=f"{AXIS}={size}", overrides={DATASETS: _restricted(datasets, ordered[:size])}, axis={AXIS: size})
        for size in sizes
    ]
    for size, arm in zip(sizes, arms, strict=True):
        lost = [language for language in ordered[:size] if language not in (trained_languages(arm) or [])]
        if lost:
            raise ArmError(
                f"--languages-curve {size}: no dataset has {', '.join(lost)} with another of its {size} languages "
                f"({', '.join(ordered[:size])}): leave this size out, or give another order, --order FILE"
            )
    return arms


def crossed(curve: Iterable[Arm], others: Sequence[Arm]) -> list[Arm]:
    """Each size of the curve with each of the other arms; the curve alone if there are none."""
    if not others:
        return list(curve)
    return [
        Arm(
            name=crossed_name(arm.name, size.name),
            overrides=arm.overrides | size.overrides,
            axis=arm.axis | size.axis,
            group=arm.group | size.axis,
            base=arm.base or arm.name,
        )
        for size in curve
        for arm in others
    ]


def trained_languages(arm: Arm) -> list[str] | None:
    """The languages of an arm of a curve, None of another arm."""
    if AXIS not in arm.axis:
        return None
    named = [language for dataset in arm.overrides[DATASETS] for language in dataset["languages"]]
    return list(dict.fromkeys(named))


GROUPS = tuple(
    f"{seen}, {script} script" for seen in ("both seen", "one seen", "none seen") for script in ("same", "another")
)
"""Pairs of a query's and a candidate's language: was the arm trained on them, and are they in the same script?"""


class PairMean(NamedTuple):
    """Cross-lingual mAP, the mean over pairs of languages and over runs."""

    mean: float
    baselines: Mapping[str, float]
    """Those of the baselines that the arm is tested against, on the same pairs; of those that have runs."""


def pair_means(sweep: Sweep, task: str) -> dict[str, dict[str, PairMean | None]]:
    """{arm of a curve: {group of GROUPS: its mean}}, None where no pair is in a group.

    Every pair of languages counts once, however many queries it has. The pairs of a group change with the languages
    that an arm was trained on, so arms compare by their baselines on the same pairs.
    """
    values = {arm: _by_pair(sweep, arm, task) for arm in sweep.runs}
    means: dict[str, dict[str, PairMean | None]] = {}
    for arm in sweep.arms:
        trained = trained_languages(arm)
        if trained is None:
            continue
        against = [name for name in sweep.plan.baselines if name in values and arm.name in sweep.plan.tested(name)]
        of_groups: dict[str, list[Pair]] = {group: [] for group in GROUPS}
        for pair in values[arm.name]:
            of_groups[_group(*pair, trained)].append(pair)
        means[arm.name] = {
            group: PairMean(_mean(values[arm.name], pairs), {name: _mean(values[name], pairs) for name in against})
            if pairs
            else None
            for group, pairs in of_groups.items()
        }
    return means


def _by_pair(sweep: Sweep, arm: str, task: str) -> dict[Pair, float]:
    """The mean over an arm's runs of each pair of different languages, a query's and a candidate's."""
    of_runs: dict[Pair, list[float]] = {}
    for run in sweep.runs[arm]:
        table = run.tables[task]
        for one, other, values in _pairs(table.languages, table.candidate_languages, table.cross_lingual["map"]):
            of_runs.setdefault((one, other), []).append(float(np.nanmean(values)))
    return {pair: float(np.mean(values)) for pair, values in of_runs.items()}


def _mean(values: Mapping[Pair, float], pairs: Sequence[Pair]) -> float:
    return float(np.mean([values[pair] for pair in pairs]))


def _ordered(order: str, datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    if order in ("diverse", "similar"):
        unnamed = [dataset["name"] for dataset in datasets if dataset["languages"] is None]
        if unnamed:
            raise ArmError(
                f"--order {order}: dataset {unnamed[0]!r} does not name its languages: list them in its languages, or "
                f"give a file with a language a line, --order FILE"
            )
        languages = list(dict.fromkeys(language for dataset in datasets for language in dataset["languages"]))
        if not languages:
            raise ArmError("--languages-curve: the base config has no datasets: name some in data.datasets")
        return in_order(languages, diverse=order == "diverse")
    try:
        lines = [language_tag(line) for line in Path(order).read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArmError(f"--order {order}: {reason}: give diverse, similar, or a file with a language a line") from None
    if len(set(lines)) < len(lines) or not lines:
        raise ArmError(f"--order {order}: give each language once, one a line")
    return lines


def _restricted(datasets: Sequence[Mapping[str, Any]], languages: Sequence[str]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for dataset in datasets:
        own = dataset["languages"]
        common = [language for language in languages if own is None or language in own]
        alone = dataset["kinds"] is not None and set(dataset["kinds"]) <= ONE_LANGUAGE
        if len(common) >= 2 or (common and alone):
            kept.append({**dataset, "languages": common})
    return kept


def _pairs(
    queries: Sequence[str], candidates: Sequence[str], values: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(query language, candidate language, the values of its queries) of each two different languages."""
    of_query = np.array(queries)
    for asking in dict.fromkeys(queries):
        for column, answering in enumerate(candidates):
            of_pair = values[of_query == asking, column]
            if asking != answering and not np.isnan(of_pair).all():
                yield asking, answering, of_pair


def _group(query: str, candidate: str, trained: Sequence[str]) -> str:
    languages = {identity(code) for code in trained}
    seen = ("none seen", "one seen", "both seen")[(identity(query) in languages) + (identity(candidate) in languages)]
    facts = language(query), language(candidate)
    same = facts[0] is not None and facts[1] is not None and facts[0].script == facts[1].script
    return f"{seen}, {'same' if same else 'another'} script"
