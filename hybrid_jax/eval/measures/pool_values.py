"""The values of every query of a searched pool: its metrics, the modes of search, and what comes first.

Ranks follow from the scores as in trec_eval: the greater float32 score first, of equal ones the greater id. The lists
of the modes are those of `modes.py`, made of the first candidates of each language without the answers in other
languages. A relevant candidate that the corpus lacks counts as one in the query's language.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.measures import first_result, metrics
from hybrid_jax.eval.measures.catalogue import POOLS
from hybrid_jax.eval.measures.cutoffs import at
from hybrid_jax.eval.measures.parts import MODES, Mode, Part
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.tasks.base import SearchTask

Scored = Sequence[tuple[str, float]]
"""(candidate id, score) pairs."""


def table(
    task: SearchTask,
    run: metrics.Run,
    by_language: Mapping[str, metrics.Run],
    judged_languages: Mapping[str, str],
    depth: int,
    cutoffs: Sequence[int] = (),
) -> Table:
    """Every query's values, with those at further `cutoffs`.

    `run` is the search of all candidates, `by_language` that of each language's. Both hold the first `depth` candidates
    of every query; `judged_languages` has the language of the judged ones.
    """
    judged = metrics.judge(run, task.qrels)
    measured = {**{name: metric for k in cutoffs for name, metric in at(k).items()}, **POOLS}
    search = {name: _in_order(task, metrics.per_query(judged, metric.values)) for name, metric in measured.items()}
    further: dict[Part, Mapping[str, np.ndarray]] = {"search": search}
    if len(by_language) > 1:
        search |= _first(task, run, by_language)
        further |= _modes(task, by_language, judged_languages, depth)
    return Table(
        data_sha256=dict(task.sources),
        ids=tuple(query.id for query in task.queries),
        languages=tuple(query.language for query in task.queries),
        paragraphs=tuple(query.paragraph for query in task.queries),
        further=further,
    )


def best_first(scored: Scored) -> list[tuple[str, float]]:
    """A list in trec_eval's order."""
    return sorted(scored, key=lambda row: (float(np.float32(row[1])), row[0]), reverse=True)


def round_robin(lists: Sequence[Scored]) -> list[str]:
    """The candidates of ordered lists: all first ones, best first, then all second ones, and so on."""
    merged: list[str] = []
    for place in range(max(map(len, lists), default=0)):
        merged += [name for name, _ in best_first([row[place] for row in lists if place < len(row)])]
    return merged


def _modes(
    task: SearchTask,
    by_language: Mapping[str, metrics.Run],
    judged_languages: Mapping[str, str],
    depth: int,
) -> Mapping[Part, Mapping[str, Float[np.ndarray, " queries"]]]:
    runs: dict[Mode, dict[str, Scored]] = {mode: {} for mode in MODES}
    qrels: dict[str, dict[str, int]] = {}
    places: list[int] = []
    for number, query in enumerate(task.queries):
        relevant = {name: grade for name, grade in task.qrels[query.id].items() if grade > 0}
        language_of = {name: judged_languages.get(name, query.language) for name in relevant}
        lists = {language: best_first(ranked[query.id]) for language, ranked in by_language.items()}
        for language in sorted(set(language_of.values())):
            others = {name for name, its in language_of.items() if its != language}
            key = f"{number} {language}"
            places.append(number)
            qrels[key] = {name: grade for name, grade in relevant.items() if name not in others}
            kept = [[row for row in ranked if row[0] not in others] for ranked in lists.values()]
            # Taken out before the list is cut, so that they take nobody's place.
            runs["pooled"][key] = best_first([row for ranked in kept for row in ranked])[:depth]
            runs["language_oracle"][key] = lists.get(language, [])
            # Their scores do not order them any more, so they get falling ones.
            order = round_robin(kept)[:depth]
            runs["balanced"][key] = [(name, float(len(order) - place)) for place, name in enumerate(order)]
    counts = np.bincount(places, minlength=len(task.queries))
    values: dict[Part, Mapping[str, np.ndarray]] = {}
    for mode, ranked in runs.items():
        judged = metrics.judge(ranked, qrels)
        sums = {
            name: np.bincount(places, list(metrics.per_query(judged, metric.values).values()), len(task.queries))
            for name, metric in POOLS.items()
        }
        # A query without relevant candidates has no language to look in, and counts 0 as in the search.
        values[mode] = {name: total / np.maximum(counts, 1) for name, total in sums.items()}
    return values


def _first(
    task: SearchTask, run: metrics.Run, by_language: Mapping[str, metrics.Run]
) -> Mapping[str, Float[np.ndarray, " queries"]]:
    number = {language: place for place, language in enumerate(sorted({*by_language, *task.languages}))}
    right, language = np.zeros(len(task.queries), bool), np.full(len(task.queries), first_result.NO_LANGUAGE)
    for row, query in enumerate(task.queries):
        ranked = best_first(run[query.id])
        if ranked:
            name = ranked[0][0]
            right[row] = task.qrels[query.id].get(name, 0) > 0
            language[row] = next(number[its] for its, lists in by_language.items() if name in dict(lists[query.id]))
    return first_result.split(right, language, np.array([number[query.language] for query in task.queries]))


def _in_order(task: SearchTask, values: Mapping[str, float]) -> Float[np.ndarray, " queries"]:
    return np.array([values[query.id] for query in task.queries])
