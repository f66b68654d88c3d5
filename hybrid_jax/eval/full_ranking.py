"""Evaluates tasks whose candidates fit in memory: encodes them, ranks all candidates, and measures the rankings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hybrid_jax.eval.encode import Encoder, RememberingEncoder
from hybrid_jax.eval.evaluation import Beside, Evaluation
from hybrid_jax.eval.measures import first_result, macro, panel
from hybrid_jax.eval.measures.catalogue import MAP
from hybrid_jax.eval.measures.per_query import Table, collect
from hybrid_jax.eval.measures.worst_queries import worst_queries
from hybrid_jax.eval.ranking import Ranking, rank_candidates
from hybrid_jax.eval.report.schema import Headline, RankedResult
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.eval.variants import Variant

Watcher = Callable[[str, RetrievalTask, Ranking], None]
"""Called with a task's key in report.json, the task and its ranking."""


def run(
    encoder: Encoder,
    tasks: Sequence[RetrievalTask],
    say: Callable[[str], None] = lambda line: None,
    *,
    variants: Mapping[str, Variant] | None = None,
    trained_on: set[str] | None = None,
    watch: Watcher | None = None,
) -> Evaluation:
    """Evaluates every task with each of its candidate texts, and once more for each variant of the embeddings.

    A task's first candidate text has the task's name as key, any other "NAME:CANDIDATE TEXT". `say` is called with a
    line as each is done, `watch` with each ranking of the model itself. `trained_on` are the codes of the languages
    that the model was trained on; without them, results are not grouped by that.
    """
    encoder = RememberingEncoder(encoder)
    results: dict[str, RankedResult] = {}
    tables: dict[str, Table] = {}
    beside: dict[str, dict[str, Headline]] = {name: {} for name in variants or {}}
    tables_beside: dict[str, dict[str, Table]] = {name: {} for name in variants or {}}
    for task in tasks:
        for candidate_text in task.candidate_texts:
            key = task.name if candidate_text == task.candidate_texts[0] else f"{task.name}:{candidate_text}"
            queries, candidates = _embed(encoder, task, candidate_text)
            ranking = rank_candidates(task, queries, candidates)
            results[key], tables[key] = _measure(task, candidate_text, ranking, trained_on)
            if watch is not None:
                watch(key, task, ranking)
            say(_line(key, results[key]))
            for name, variant in (variants or {}).items():
                changed = variant(queries, [row.language for row in task.queries])
                passages = changed.passages(candidates, [row.language for row in task.candidates])
                ranking = rank_candidates(task, changed.queries, passages)
                result, tables_beside[name][key] = _measure(task, candidate_text, ranking, trained_on)
                beside[name][key] = result.headline
                say(_line(f"{key}, {name}", result))
    sources = {task.name: dict(task.sources) for task in tasks}
    others = {name: Beside(tasks=beside[name], per_query=tables_beside[name]) for name in beside}
    return Evaluation(tasks=results, per_query=tables, beside=others, sources=sources)


def evaluate(
    encoder: Encoder, task: RetrievalTask, candidate_text: str, trained_on: set[str] | None = None
) -> RankedResult:
    """One task with one of its candidate texts; see `run`."""
    ranking = rank_candidates(task, *_embed(RememberingEncoder(encoder), task, candidate_text))
    return _measure(task, candidate_text, ranking, trained_on)[0]


def _embed(encoder: RememberingEncoder, task: RetrievalTask, candidate_text: str) -> tuple[np.ndarray, np.ndarray]:
    queries = encoder.encode_queries([query.text for query in task.queries])
    return queries, encoder.encode_passages(task.texts(candidate_text))


def _measure(
    task: RetrievalTask, candidate_text: str, ranking: Ranking, trained_on: set[str] | None
) -> tuple[RankedResult, Table]:
    """The result, and the values per query that it is the mean of."""
    table = collect(task, ranking.ranks)
    averages = macro.averages(task, ranking.ranks, table)
    inputs = panel.PanelInputs(task, ranking, table)
    per_query, overall = panel.measure(inputs)
    first = first_result.of_ranking(task, ranking)
    result = RankedResult(
        questions=len(task.queries),
        candidates=len(task.candidates),
        languages=sorted({row.language for row in (*task.queries, *task.candidates)}),
        candidate_text=candidate_text,
        about=task.about,
        settings=averages.settings,
        per_language=averages.per_language,
        pairs=averages.pairs,
        groups=macro.ranked_groups(averages, trained_on),
        intervals=macro.intervals(table),
        bias=macro.bias(table, per_query, overall),
        modes=macro.modes(table),
        first_result=macro.estimates(table, first),
        first_languages=panel.first_languages(inputs),
        worst=worst_queries(task, candidate_text, ranking, table.multilingual[MAP.name]),
        **averages.overall,
    )
    bias_values = {name: measured.values for name, measured in per_query.items()}
    return result, replace(table, multilingual={**table.multilingual, **bias_values, **first})


def _line(key: str, result: Headline) -> str:
    means = [mean for mean in result.means(MAP.name).values() if mean is not None]
    return f"{key}: mAP {' / '.join(f'{mean:.4f}' for mean in means)}"
