"""From ranks to the figures of a report: macro means in three settings, their intervals, and means over groups.

Knows: the settings and macro averages of the hybrid-batch paper, which metrics a full ranking gets. Does not know:
embeddings, texts, how ranks were found (`ranks.py`), how an interval is computed (`stats.py`).

The settings (arXiv 2408.10536, section 3.2):

* monolingual: queries and candidates of one language; mean over languages (11 on XQuAD-R).
* cross_lingual: queries of one language, candidates of another, and only the queries that have a relevant candidate in
  it; mean over ordered pairs (110).
* multilingual: queries of one language, candidates of all languages at once; mean over query languages (11).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from hybrid_jax.eval.languages import groups
from hybrid_jax.eval.measures import metrics, stats
from hybrid_jax.eval.measures.per_query import RANK_DISTANCE, SETTINGS, Table, several_languages
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.scores import Ranks

METRICS: dict[str, Callable[[metrics.RankRows], metrics.PerQuery]] = {
    "map": metrics.average_precision,
    "recall@1": lambda ranks: metrics.recall(ranks, 1),
    "recall@10": lambda ranks: metrics.recall(ranks, 10),
    "mrr": metrics.reciprocal_rank,
    "ndcg@10": lambda ranks: metrics.ndcg(ranks, 10),
}
HEADLINE = (*METRICS, RANK_DISTANCE, "rank_distance_median")

Result = dict[str, Any]


def tables(task: RetrievalTask, ranks: Ranks) -> Result:
    """The macro means of `METRICS` and of the rank distance, and what they are means of, as plain JSON values.

    "settings": over how many languages or pairs each mean is taken;
    each of `METRICS`: {setting: macro mean, or None where the task has no such setting};
    "rank_distance", "rank_distance_median": per query language the mean and the median over its queries that have
    relevant candidates in at least two languages, in the multilingual ranking; then the mean over languages;
    "per_language": the same for each query language, "cross_lingual" being the mean over the candidate languages;
    "pairs": {query language: {candidate language: {"questions", each metric, "translation_rank"}}}, the last being the
    median rank, among all languages, of the query's best answer in that language.
    """
    query = task.relevance[:, 0]
    asked = np.array([row.language for row in task.queries])[query]
    held = np.array([row.language for row in task.candidates])[task.relevance[:, 1]]
    query_count = Counter(row.language for row in task.queries)
    candidate_count = Counter(row.language for row in task.candidates)
    translated = several_languages(query, held)

    pairs: dict[str, dict[str, Result]] = {}
    per_language: dict[str, Result] = {}
    for language in sorted(query_count):
        mine = asked == language
        pairs[language] = {
            other: _score(query, ranks.in_language, mine & (held == other))
            | {"translation_rank": _best(query, ranks.pooled, mine & (held == other))}
            for other in sorted(set(held[mine].tolist()))
        }
        pooled = _score(query, ranks.pooled, mine)
        row: Result = {"questions": query_count[language], "candidates": candidate_count[language]}
        for name in METRICS:
            across = [scores[name] for other, scores in pairs[language].items() if other != language]
            row[name] = {
                "monolingual": pairs[language].get(language, {}).get(name),
                "cross_lingual": _mean(across),
                "multilingual": pooled[name],
            }
        per_language[language] = row | _rank_distance(query, ranks.pooled, mine & translated)

    # The mean over ordered pairs, which is not the mean over languages where some pairs do not exist.
    across_all = [(a, b) for a in pairs for b in pairs[a] if a != b]
    totals: Result = {
        "settings": {
            "monolingual": sum(language in others for language, others in pairs.items()),
            "cross_lingual": len(across_all),
            "multilingual": len(pairs),
        }
    }
    for name in METRICS:
        totals[name] = {
            "monolingual": _mean([row[name]["monolingual"] for row in per_language.values()]),
            "cross_lingual": _mean([pairs[a][b][name] for a, b in across_all]),
            "multilingual": _mean([row[name]["multilingual"] for row in per_language.values()]),
        }
    for name in (RANK_DISTANCE, "rank_distance_median"):
        totals[name] = _mean([row[name] for row in per_language.values()])
    return totals | {"per_language": per_language, "pairs": pairs}


def intervals(table: Table) -> dict[str, dict[str, list[float]]]:
    """{metric: {setting: [low, high]}}: 95 % intervals of the macro means, a question and its translations one draw."""
    found: dict[str, dict[str, list[float]]] = {}
    for setting in SETTINGS:
        for name in (*METRICS, RANK_DISTANCE):
            values = getattr(table, setting).get(name)
            if values is not None and not np.isnan(values).all():
                low, high = stats.interval(table.by_question(setting, name)[None])[1:]
                found.setdefault(name, {})[setting] = [low, high]
    return found


def bias(
    table: Table,
    values: Mapping[str, np.ndarray],
    unbiased: Mapping[str, float],
    of_the_space: Mapping[str, float | None],
) -> dict[str, Result]:
    """{measure: {"value", "low", "high", "unbiased"}} of what `bias_panel` measured on the task that `table` is of.

    Values per query are averaged as the multilingual setting is, with a 95 % interval; those of the space have none.
    """
    panel: dict[str, Result] = {}
    for name in (name for name in values if not name.startswith("unbiased/")):
        estimate, low, high = stats.interval(table.clustered(values[name])[None])
        neutral = values.get(f"unbiased/{name}")
        if neutral is not None:
            neutral = stats.macro_mean(table.clustered(neutral))
        panel[name] = {"value": estimate, "low": low, "high": high, "unbiased": neutral}
    panel |= {
        name: {"value": value, "low": None, "high": None, "unbiased": None} for name, value in of_the_space.items()
    }
    for name, neutral in unbiased.items():
        if name in panel:
            panel[name]["unbiased"] = neutral
    return panel


def by_group(result: Mapping[str, Any], seen: set[str] | None) -> dict[str, dict[str, Result]]:
    """{"script", "family" and, for a run, "seen": {group: means over the group's query languages}}.

    "cross_within" and "cross_between" are the mean mAP over ordered pairs from this group to a language of the same
    group, and to one of another. Kinds with one group are left out: there is nothing to compare.
    """
    pairs, found = result["pairs"], {}
    codes = sorted({*pairs, *(other for row in pairs.values() for other in row)})
    for kind, members in groups(codes, seen).items():
        rows = {}
        for group, languages in members.items():
            asked = [language for language in languages if language in pairs]
            if not asked:  # languages of candidates alone
                continue
            mine = [result["per_language"][language] for language in asked]
            across = [(a, b) for a in asked for b in pairs[a] if a != b]
            rows[group] = {
                "languages": asked,
                "map": {setting: _mean([row["map"][setting] for row in mine]) for setting in SETTINGS},
                "cross_within": _mean([pairs[a][b]["map"] for a, b in across if b in languages]),
                "cross_between": _mean([pairs[a][b]["map"] for a, b in across if b not in languages]),
                RANK_DISTANCE: _mean([row[RANK_DISTANCE] for row in mine]),
            }
        if len(rows) > 1:
            found[kind] = rows
    return found


def grouped(
    per_language: Mapping[str, Result], names: Collection[str], seen: set[str] | None
) -> dict[str, dict[str, Result]]:
    """{"script", "family" and, for a run, "seen": {group: {"languages", the mean of each name over them}}}.

    For results that have no pairs of languages: searched pools. Kinds with one group are left out, as in `by_group`.
    """
    found = {}
    for kind, members in groups(per_language, seen).items():
        if len(members) > 1:
            found[kind] = {
                group: {
                    "languages": languages,
                    **{n: _mean(per_language[code][n] for code in languages) for n in names},
                }
                for group, languages in members.items()
            }
    return found


def headline(result: Mapping[str, Any]) -> Result:
    """The macro means of a result and its bias panel alone: what another model is compared by."""
    return {name: result[name] for name in (*HEADLINE, "intervals", "bias")}


def _score(
    query: Int[np.ndarray, " pairs"], ranks: Int[np.ndarray, " pairs"], chosen: Bool[np.ndarray, " pairs"]
) -> Result:
    rows = metrics.rank_rows(query[chosen], ranks[chosen])
    return {"questions": len(rows)} | {name: float(metric(rows).mean()) for name, metric in METRICS.items()}


def _best(
    query: Int[np.ndarray, " pairs"], ranks: Int[np.ndarray, " pairs"], chosen: Bool[np.ndarray, " pairs"]
) -> float:
    rows = metrics.rank_rows(query[chosen], ranks[chosen])
    return float(np.median(np.where(rows > 0, rows, np.inf).min(axis=1)))


def _rank_distance(
    query: Int[np.ndarray, " pairs"], ranks: Int[np.ndarray, " pairs"], chosen: Bool[np.ndarray, " pairs"]
) -> Result:
    rows = metrics.rank_rows(query[chosen], ranks[chosen])
    if not len(rows):
        return {RANK_DISTANCE: None, "rank_distance_median": None}
    distance = metrics.rank_distance(rows)
    return {RANK_DISTANCE: float(distance.mean()), "rank_distance_median": float(np.median(distance))}


def _mean(values: Iterable[float | None]) -> float | None:
    """Over the values that exist; None where none does."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
