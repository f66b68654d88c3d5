"""Encodes a task, ranks it, and gathers all that a report says of it.

Knows: the encoder protocol, the order of the steps. Does not know: any benchmark's facts (`tasks/`), where the model
comes from (`embed/load.py`), how figures are averaged (`averages.py`), how a report looks (`report/`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.measures import macro, panel
from hybrid_jax.eval.measures.macro import METRICS, Result
from hybrid_jax.eval.measures.panel import Ranking
from hybrid_jax.eval.measures.per_query import Table, collect
from hybrid_jax.eval.measures.worst_queries import worst_queries
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.ranks import rank_relevant
from hybrid_jax.search.scores import SCORES, TIE_RULE, tie_order
from hybrid_jax.search.top_k import top_k

TOP = 100
"""Candidates per query that are kept beside the ranks, for the bias panel, the worst queries and TREC runs."""


@runtime_checkable
class Encoder(Protocol):
    """All that evaluation sees of a model: float32 unit vectors, one per text."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray: ...

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray: ...


@runtime_checkable
class Debiasing(Protocol):
    """What is done to unit vectors of known languages before they are compared; the result are unit vectors too."""

    def queries(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray: ...

    def passages(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray: ...


Watcher = Callable[[str, RetrievalTask, Ranking], None]


def run(
    encoder: Encoder,
    tasks: Sequence[RetrievalTask],
    say: Callable[[str], None] = lambda line: None,
    *,
    debias: Mapping[str, Debiasing] | None = None,
    seen: set[str] | None = None,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Every task with every candidate text, ready for `report/build.py`:

    "tasks": {key: result as in `evaluate`}, "provenance", "per_query": {key: table} for `per_query.write`, and
    "debiased": {name of a debiasing: {key: the result's headline}}.
    A task's headline candidate text has the task's name as key, any other "name:candidate text". `say` is told a line
    as each is done, and `watch` is shown each ranking. `seen` are the languages that the model was trained on.
    """
    encoder = _Remembering(encoder)
    results: dict[str, Result] = {}
    tables: dict[str, Table] = {}
    debiased: dict[str, dict[str, Result]] = {name: {} for name in debias or {}}
    for task in tasks:
        for variant in task.candidate_texts:
            key = task.name if variant == task.candidate_texts[0] else f"{task.name}:{variant}"
            vectors = _embed(encoder, task, variant)
            ranking = _rank(task, *vectors)
            results[key], tables[key] = _result(task, variant, ranking, seen)
            if watch is not None:
                watch(key, task, ranking)
            say(_line(key, results[key]))
            for name, change in (debias or {}).items():
                found, _ = _result(task, variant, _rank(task, *_changed(change, task, *vectors)), seen)
                debiased[name][key] = macro.headline(found)
                say(_line(f"{key}, {name}", found))
    data = {task.name: dict(task.sources) for task in tasks}
    provenance = {"tie_rule": TIE_RULE, "scores": SCORES, "data_sha256": data}
    return {"tasks": results, "provenance": provenance, "per_query": tables, "debiased": debiased}


def evaluate(encoder: Encoder, task: RetrievalTask, candidate_text: str, seen: set[str] | None = None) -> Result:
    """One task with one way to write its candidates, as plain JSON values.

    "questions", "candidates", "languages", "candidate_text", "about"; all of `averages.tables`;
    "intervals" as in `averages.intervals`; "groups" as in `averages.by_group`;
    "bias" as in `averages.bias`, empty where candidates are of one language; "first_languages" as in
    `bias_panel.first_languages`; "worst" as in `examples.worst_queries`.
    """
    return _result(task, candidate_text, _rank(task, *_embed(encoder, task, candidate_text)), seen)[0]


def _embed(encoder: Encoder, task: RetrievalTask, candidate_text: str) -> tuple[np.ndarray, np.ndarray]:
    queries = _encode_unique(encoder.encode_queries, [query.text for query in task.queries])
    return queries, _encode_unique(encoder.encode_passages, task.texts(candidate_text))


def _changed(
    change: Debiasing, task: RetrievalTask, queries: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return (
        change.queries(queries, [row.language for row in task.queries]),
        change.passages(candidates, [row.language for row in task.candidates]),
    )


def _rank(task: RetrievalTask, queries: np.ndarray, candidates: np.ndarray) -> Ranking:
    languages, ids = [row.language for row in task.candidates], [row.id for row in task.candidates]
    ranks = rank_relevant(queries, candidates, task.relevance, languages, ids)
    order = tie_order(languages, ids)  # of equal scores, top_k takes the one that it was given first
    found = top_k(queries, [candidates[order]], min(TOP, len(order))).rows
    return Ranking(queries, candidates, ranks, np.where(found >= 0, order[found], -1))


def _result(task: RetrievalTask, candidate_text: str, ranking: Ranking, seen: set[str] | None) -> tuple[Result, Table]:
    table = collect(task, ranking.ranks, METRICS)
    result = {
        "questions": len(task.queries),
        "candidates": len(task.candidates),
        "languages": sorted({row.language for row in (*task.queries, *task.candidates)}),
        "candidate_text": candidate_text,
        "about": task.about,
        **macro.tables(task, ranking.ranks),
        "intervals": macro.intervals(table),
        "worst": worst_queries(task, candidate_text, ranking, table.multilingual["map"]),
    }
    result["groups"] = macro.by_group(result, seen)
    result["first_languages"] = panel.first_languages(task, ranking)
    if not panel.has_panel(task):
        return result | {"bias": {}}, table
    values = panel.per_query(task, ranking)
    result["bias"] = macro.bias(table, values, panel.unbiased(task), panel.of_the_space(task, ranking))
    kept = {name: value for name, value in values.items() if name in panel.PER_QUERY}
    return result, replace(table, multilingual={**table.multilingual, **kept})


def _line(key: str, result: Result) -> str:
    means = [mean for mean in result["map"].values() if mean is not None]
    return f"{key}: mAP {' / '.join(f'{mean:.4f}' for mean in means)}"


class _Remembering:
    """An encoder that is asked for each text once, however many tasks and variants hold it."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._known: dict[str, dict[str, np.ndarray]] = {"queries": {}, "passages": {}}

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode("queries", self._encoder.encode_queries, texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode("passages", self._encoder.encode_passages, texts)

    def _encode(self, side: str, encode: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]) -> np.ndarray:
        known = self._known[side]
        new = [text for text in texts if text not in known]
        if new:
            known.update(zip(new, _rows(encode, new), strict=True))
        return np.stack([known[text] for text in texts])


def _encode_unique(encode: Callable[[Sequence[str]], np.ndarray], texts: list[str]) -> Float[np.ndarray, "texts dim"]:
    """Each distinct text once: saves work, and equal texts get equal vectors whatever batch they would have been in."""
    number = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    return _rows(encode, list(number))[[number[text] for text in texts]]


def _rows(encode: Callable[[Sequence[str]], np.ndarray], texts: list[str]) -> Float[np.ndarray, "texts dim"]:
    vectors = np.asarray(encode(texts))
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ValueError(
            f"the encoder returned shape {vectors.shape} for {len(texts)} texts: expected one row per text"
        )
    return vectors
