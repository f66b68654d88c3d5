"""From values per query to the figures of a report: macro means, their intervals, and means over groups of languages.

The settings (arXiv 2408.10536, section 3.2):

* monolingual: queries and candidates of one language; mean over languages (11 on XQuAD-R).
* cross_lingual: queries of one language, candidates of another, and only the queries that have a relevant candidate in
  it; mean over ordered pairs (110).
* multilingual: queries of one language, candidates of all languages at once; mean over query languages (11).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.languages import groups
from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.catalogue import (
    FULL_RANKING,
    MAP,
    POOLS,
    RANK_DISTANCE,
    RANK_DISTANCE_MEDIAN,
    SETTINGS,
    Setting,
)
from hybrid_jax.eval.measures.cutoffs import LABELS, requested
from hybrid_jax.eval.measures.panel import Measured
from hybrid_jax.eval.measures.parts import MODES, Mode
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.schema import (
    BiasValue,
    Estimate,
    GroupScores,
    LanguageScores,
    Means,
    PairScores,
    PoolGroup,
    PoolLanguage,
)
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.scores import Ranks


class Averages(NamedTuple):
    """The macro means of one ranking, and the means that they are means of."""

    settings: dict[Setting, int]
    """Over how many languages or ordered pairs each macro mean is taken."""
    overall: dict[str, Means | float | None]
    """{metric: its macro mean in each setting, or, of a rank distance, in the multilingual one}."""
    per_language: dict[str, LanguageScores]
    """By query language."""
    pairs: dict[str, dict[str, PairScores]]
    """By query language and candidate language; only pairs that have a question."""

    def across(self, languages: Iterable[str]) -> Iterator[tuple[str, PairScores]]:
        """(candidate language, scores) of the pairs from these query languages to a language other than their own."""
        for language in languages:
            for candidate_language, scores in self.pairs[language].items():
                if candidate_language != language:
                    yield candidate_language, scores


def averages(task: RetrievalTask, ranks: Ranks, table: Table) -> Averages:
    """The means of `table`, which `collect` made of the same task and ranks.

    The rank distance is averaged over the queries that have relevant candidates in at least two languages, first
    within each query language, then over the languages. None marks a mean of nothing.
    """
    query_languages = np.array(table.languages)
    answer_ranks = _best_answers(task, ranks, table.candidate_languages)
    candidates = Counter(row.language for row in task.candidates)
    pairs: dict[str, dict[str, PairScores]] = {}
    per_language: dict[str, LanguageScores] = {}
    for language in np.unique(query_languages).tolist():
        of_language = query_languages == language
        pairs[language] = {}
        for column, candidate_language in enumerate(table.candidate_languages):
            chosen = of_language & ~np.isnan(answer_ranks[:, column])
            if chosen.any():
                values = table.pair(language, candidate_language)
                pairs[language][candidate_language] = PairScores(
                    questions=int(chosen.sum()),
                    translation_rank=float(np.median(answer_ranks[chosen, column])),
                    **{name: float(values[name][chosen].mean()) for name in FULL_RANKING},
                )
        by_metric: dict[str, Means | float | None] = {
            name: {
                "monolingual": pairs[language][language][name] if language in pairs[language] else None,
                "cross_lingual": _mean(row[name] for code, row in pairs[language].items() if code != language),
                "multilingual": float(table.multilingual[name][of_language].mean()),
            }
            for name in FULL_RANKING
        }
        distances = table.multilingual[RANK_DISTANCE.name][of_language]
        distances = distances[~np.isnan(distances)]
        by_metric[RANK_DISTANCE.name] = float(distances.mean()) if len(distances) else None
        by_metric[RANK_DISTANCE_MEDIAN.name] = float(np.median(distances)) if len(distances) else None
        per_language[language] = LanguageScores(
            questions=int(of_language.sum()), candidates=candidates[language], **by_metric
        )
    return _overall(per_language, pairs)


def intervals(table: Table) -> dict[str, dict[Setting, tuple[float, float]]]:
    """{metric: {setting: 95 % interval of its macro mean}}; the questions of a unit are resampled together.

    A setting with too few units in a language or pair (`stats.enough`) has none.
    """
    limits: dict[str, dict[Setting, tuple[float, float]]] = {}
    for setting in SETTINGS:
        for name in (*FULL_RANKING, RANK_DISTANCE.name):
            values = table.part(setting).get(name)
            if values is not None and not np.isnan(values).all():
                _, low, high = _interval(table, values)
                if low is not None and high is not None:
                    limits.setdefault(name, {})[setting] = low, high
    return limits


def bias(
    table: Table,
    per_query: Mapping[str, Measured[Float[np.ndarray, " queries"]]],
    overall: Mapping[str, Measured[float | None]],
) -> dict[str, BiasValue]:
    """The bias panel of the task that `table` is of, from what `panel.measure` returned.

    Values per query are averaged as the multilingual setting is and have a 95 % interval; those of the whole ranking
    or embedding space have none.
    """
    panel: dict[str, BiasValue] = {}
    for name, measured in per_query.items():
        estimate, low, high = _interval(table, measured.values)
        unbiased = measured.unbiased
        if isinstance(unbiased, np.ndarray):
            unbiased = stats.macro_mean(table.clustered(unbiased))
        panel[name] = BiasValue(value=estimate, low=low, high=high, unbiased=unbiased)
    for name, measured in overall.items():
        panel[name] = BiasValue(value=measured.values, low=None, high=None, unbiased=measured.unbiased)
    return panel


def estimates(table: Table, values: Mapping[str, Float[np.ndarray, " queries"]]) -> dict[str, Estimate]:
    """{metric: the macro mean over languages of its values per query, with its interval}."""
    intervals = {name: _interval(table, array) for name, array in values.items()}
    return {name: Estimate(value=value, low=low, high=high) for name, (value, low, high) in intervals.items()}


def limits(estimates: Mapping[str, Estimate]) -> dict[str, tuple[float, float]]:
    """{metric: its interval}, of those that have one."""
    return {name: (at.low, at.high) for name, at in estimates.items() if at.low is not None and at.high is not None}


def modes(table: Table) -> dict[Mode, dict[str, Estimate]]:
    """The means of each mode of search that the table has."""
    return {mode: estimates(table, table.part(mode)) for mode in MODES if table.part(mode)}


def cutoffs(table: Table) -> dict[str, Estimate]:
    """The means of a searched pool at the cut-offs that were asked for, by metric ("ndcg@5")."""
    search = table.part("search")
    names = [f"{name}@{k}" for k in requested(search.keys()) for name in LABELS]
    return estimates(table, {name: search[name] for name in names})


def ranked_groups(averages: Averages, trained_on: set[str] | None) -> dict[str, dict[str, GroupScores]]:
    """{"script", "family" and, with `trained_on`, "seen": {group: means over the group's query languages}}.

    A kind with a single group is left out: there is nothing to compare.
    """
    codes = {*averages.pairs, *(code for row in averages.pairs.values() for code in row)}
    scores_by_kind: dict[str, dict[str, GroupScores]] = {}
    for kind, members_by_group in groups(codes, trained_on).items():
        scores: dict[str, GroupScores] = {}
        for group, members in members_by_group.items():
            query_languages = [language for language in members if language in averages.pairs]
            if not query_languages:  # a group of candidate languages only
                continue
            rows = [averages.per_language[language] for language in query_languages]
            across = list(averages.across(query_languages))
            scores[group] = GroupScores(
                languages=query_languages,
                map={setting: _mean(row.value(MAP.name, setting) for row in rows) for setting in SETTINGS},
                cross_within=_mean(pair[MAP.name] for code, pair in across if code in members),
                cross_between=_mean(pair[MAP.name] for code, pair in across if code not in members),
                rank_distance=_mean(row.value(RANK_DISTANCE.name) for row in rows),
            )
        if len(scores) > 1:
            scores_by_kind[kind] = scores
    return scores_by_kind


def pool_groups(
    per_language: Mapping[str, PoolLanguage], trained_on: set[str] | None
) -> dict[str, dict[str, PoolGroup]]:
    """As `ranked_groups`, for searched pools: the mean of each metric over a group's languages."""
    return {
        kind: {
            group: PoolGroup(
                languages=members,
                **{name: float(np.mean([per_language[code][name] for code in members])) for name in POOLS},
            )
            for group, members in members_by_group.items()
        }
        for kind, members_by_group in groups(per_language, trained_on).items()
        if len(members_by_group) > 1
    }


def _interval(table: Table, values: Float[np.ndarray, "queries ..."]) -> tuple[float, float | None, float | None]:
    """The macro mean of values of the table's queries and the limits of its interval, None where a column has too few
    units for one."""
    rows = table.clustered(values)
    if not stats.enough(rows, table.units):
        return stats.macro_mean(rows), None, None
    return stats.interval(rows[None], table.units)


def _best_answers(
    task: RetrievalTask, ranks: Ranks, candidate_languages: tuple[str, ...]
) -> Float[np.ndarray, "queries languages"]:
    """Rank among all candidates of each query's best answer in each candidate language; NaN where it has none."""
    query, answer = task.relevance.T
    column = {language: number for number, language in enumerate(candidate_languages)}
    language = np.array([column[row.language] for row in task.candidates])[answer]
    best = np.full((len(task.queries), len(candidate_languages)), np.inf)
    np.minimum.at(best, (query, language), ranks.pooled.astype(np.float64))
    return np.where(np.isinf(best), np.nan, best)


def _overall(per_language: dict[str, LanguageScores], pairs: dict[str, dict[str, PairScores]]) -> Averages:
    """The macro means over languages and over ordered pairs.

    The mean over pairs is not the mean over languages where some pairs do not exist.
    """
    settings: dict[Setting, int] = {
        "monolingual": sum(language in row for language, row in pairs.items()),
        "cross_lingual": sum(code != language for language, row in pairs.items() for code in row),
        "multilingual": len(pairs),
    }
    result = Averages(settings, {}, per_language, pairs)
    for name in FULL_RANKING:
        result.overall[name] = {
            "monolingual": _mean(row.value(name, "monolingual") for row in per_language.values()),
            "cross_lingual": _mean(scores[name] for _, scores in result.across(pairs)),
            "multilingual": _mean(row.value(name, "multilingual") for row in per_language.values()),
        }
    for name in (RANK_DISTANCE.name, RANK_DISTANCE_MEDIAN.name):
        result.overall[name] = _mean(row.value(name) for row in per_language.values())
    return result


def _mean(values: Iterable[float | None]) -> float | None:
    """Over the values that exist; None where none does."""
    existing = [value for value in values if value is not None]
    return float(np.mean(existing)) if existing else None
