"""What several evaluated systems can be compared on: the tasks that all runs have, measured on the same data."""

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_jax.eval.measures.catalogue import BIAS, FIRST_RESULT, METRICS, RANK_DISTANCE
from hybrid_jax.eval.measures.parts import MODES, PARTS, Part
from hybrid_jax.eval.measures.per_query import Table

ON_REQUEST = frozenset({*BIAS, *FIRST_RESULT}) - {RANK_DISTANCE.name}
"""Metrics left out unless they are named: every verdict that is printed makes the others harder to reach."""
DEFAULT_PARTS: tuple[Part, ...] = tuple(part for part in PARTS if part not in MODES)


def common_tasks(
    systems: Mapping[str, Sequence[Mapping[str, Table]]], requested: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The requested tasks or else all that every run has, in the order of the first run, and notes on the others."""
    keys = {name: [list(run) for run in runs] for name, runs in systems.items()}
    every = list(dict.fromkeys(key for runs in keys.values() for run in runs for key in run))
    common = [key for key in every if all(key in run for runs in keys.values() for run in runs)]
    if not common:
        listed = "; ".join(f"{name}: {', '.join(run) or 'none'}" for name, runs in keys.items() for run in runs)
        raise ValueError(f"the runs share no task ({listed}): evaluate them with the same --tasks")
    unknown = [key for key in requested or () if key not in common]
    if unknown:
        raise ValueError(f"--tasks {unknown[0]!r}: the runs share {', '.join(common)}")
    missing = [key for key in every if key not in common]
    if requested is not None or not missing:
        return list(dict.fromkeys(requested or common)), []
    return common, [f"left out, since not every run has it: {', '.join(missing)}"]


def check_same_evaluation(key: str, tables: Mapping[str, Sequence[Table]]) -> None:
    """Raises ValueError where two runs were evaluated on different files, queries or candidate languages."""
    named = [
        (f"{name}[{at}]" if len(runs) > 1 else name, run)
        for name, runs in tables.items()
        for at, run in enumerate(runs)
    ]
    first_name, first = named[0]
    for name, table in named[1:]:
        both = f"task {key}: {first_name} and {name} were evaluated on different"
        if table.data_sha256 != first.data_sha256:
            files = sorted({*table.data_sha256, *first.data_sha256})
            file = next(file for file in files if table.data_sha256.get(file) != first.data_sha256.get(file))
            hashes = " and ".join(run.data_sha256.get(file, "none")[:12] for run in (first, table))
            raise ValueError(f"{both} data ({file}: sha256 {hashes}): evaluate both on the same files")
        expected, actual = (list(zip(run.languages, run.ids, strict=True)) for run in (first, table))
        same_candidates = table.candidate_languages == first.candidate_languages
        if expected != actual or not same_candidates or table.paragraphs != first.paragraphs:
            at = next((at for at, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b), None)
            what = (
                f"{len(expected)} and {len(actual)}" if at is None else f"query {at} is {expected[at]} and {actual[at]}"
            )
            if expected == actual:
                what = f"candidates in {first.candidate_languages} and in {table.candidate_languages}"
                if same_candidates:
                    what = "they belong to different paragraphs"
            raise ValueError(f"{both} queries ({what}): evaluate both with the same version of hybrid_jax")


def measured(run: Table) -> set[str]:
    """All metrics of a run that this version knows."""
    return {metric for part in PARTS for metric in run.part(part) if metric in METRICS}


def shared_columns(
    key: str, runs: Sequence[Table], metrics: Sequence[str] | None, parts: Sequence[str] | None
) -> list[tuple[str, Part]]:
    """(metric, part) of what every run has, those of `DEFAULT_PARTS` and not `ON_REQUEST` unless others are requested.

    A part that the task lacks is left out. Raises ValueError for a metric or part that the runs do not share, and for
    one that exists for some queries in one run and not in another.
    """
    shared: dict[Part, list[str]] = {
        part: [
            metric
            for metric in runs[0].part(part)
            if metric in METRICS and all(metric in run.part(part) for run in runs)
        ]
        for part in PARTS
    }
    shared = {part: names for part, names in shared.items() if names}
    wrong = [part for part in parts or () if part not in shared]
    if wrong:
        raise ValueError(f"--parts {wrong[0]!r}: on task {key} the runs share {', '.join(shared) or 'none'}")
    chosen: dict[Part, list[str]] = {
        part: names
        for part, names in shared.items()
        if (parts or DEFAULT_PARTS).count(part)  # `in` would narrow its type
    }
    metric_names = list(dict.fromkeys(metric for names in chosen.values() for metric in names))
    unknown = [metric for metric in metrics or () if metric not in metric_names]
    if unknown:
        raise ValueError(f"--metrics {unknown[0]!r}: on task {key} the runs share {', '.join(metric_names)}")
    columns: list[tuple[str, Part]] = [
        (metric, part)
        for metric in dict.fromkeys(metrics or (name for name in metric_names if name not in ON_REQUEST))
        for part in chosen
        if metric in chosen[part]
    ]
    for metric, part in columns:
        undefined = [np.isnan(run.part(part)[metric]) for run in runs]
        if any((mask != undefined[0]).any() for mask in undefined):
            where = f"task {key}: {metric} ({part}) exists for some queries in one run and not in another"
            raise ValueError(f"{where}: evaluate all with the same version of hybrid_jax")
    return [(metric, part) for metric, part in columns if not np.isnan(runs[0].part(part)[metric]).all()]
