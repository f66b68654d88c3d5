"""The bias panel: every measure of language bias that a task allows, each one entry of `PER_QUERY` or `OVERALL`.

The functions behind them are in `bias.py` (ranks) and `embedding_space.py` (embeddings), labels and directions in
`catalogue.py`, means and intervals in `macro.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybrid_jax.eval.measures import bias, embedding_space, metrics
from hybrid_jax.eval.measures.catalogue import DEPTH, MAP, OTHER_GAIN, RANK_DISTANCE
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.ranking import Ranking
from hybrid_jax.eval.report.schema import FirstLanguage
from hybrid_jax.eval.tasks import RetrievalTask

PerQuery = Float[np.ndarray, " queries"]
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Measured(Generic[Value]):
    """The value of a measure, per query or overall, and what it would be if language played no part."""

    values: Value
    unbiased: Value | float | None = None
    """Per query, or one number; None where it is not known."""


@dataclass(frozen=True, eq=False)
class PanelInputs:
    """One ranking of a task, and what several measures need of it, each computed when first used."""

    task: RetrievalTask
    ranking: Ranking
    table: Table
    """What `per_query.collect` made of the ranking."""

    @cached_property
    def language_numbers(self) -> dict[str, int]:
        """{language: its number from 1}, over queries and candidates."""
        names = sorted({row.language for row in (*self.task.queries, *self.task.candidates)})
        return {name: number for number, name in enumerate(names, start=1)}

    @cached_property
    def query_languages(self) -> Int[np.ndarray, " queries"]:
        return np.array([self.language_numbers[row.language] for row in self.task.queries])

    @cached_property
    def candidate_languages(self) -> Int[np.ndarray, " candidates"]:
        return np.array([self.language_numbers[row.language] for row in self.task.candidates])

    @cached_property
    def answers(self) -> bias.Answers:
        """Ranks and languages of the relevant candidates, a row per query (every query has some)."""
        query, answer = self.task.relevance.T
        languages = self.candidate_languages[answer]
        return bias.answers(query, self.ranking.ranks.pooled, languages, self.query_languages)

    @cached_property
    def several_languages(self) -> Bool[np.ndarray, " queries"]:
        """Whether a query has relevant candidates in several languages."""
        return bias.several_languages(self.answers)

    @cached_property
    def relevant_share(self) -> PerQuery:
        """Share of the relevant candidates that are in the query's language."""
        return bias.relevant_share(self.answers)

    @cached_property
    def top(self) -> Int[np.ndarray, "queries k"]:
        """The first `DEPTH` candidates, as rows; -1 where a ranking has fewer."""
        return self.ranking.top[:, :DEPTH]

    @cached_property
    def hubs(self) -> embedding_space.Hubness:
        return embedding_space.hubness(self.top, len(self.task.candidates))

    def where_several(self, values: PerQuery) -> PerQuery:
        """The values, NaN for the queries that have relevant candidates in one language only."""
        return np.where(self.several_languages, values, np.nan)


def measure(
    inputs: PanelInputs,
) -> tuple[dict[str, Measured[PerQuery]], dict[str, Measured[float | None]]]:
    """The measures per query, and those of the whole ranking or space, by their names in the catalogue.

    Both are empty where all candidates are of one language. A measure that no query has a value of is left out; a
    query without a value has NaN.
    """
    if len(set(inputs.candidate_languages.tolist())) < 2:
        return {}, {}
    per_query = {name: measure(inputs) for name, measure in PER_QUERY.items()}
    per_query = {name: measured for name, measured in per_query.items() if not np.isnan(measured.values).all()}
    return per_query, {name: measure(inputs) for name, measure in OVERALL.items()}


def first_languages(inputs: PanelInputs) -> dict[str, FirstLanguage]:
    """How often the best answer is in each candidate language; empty where no query has answers in several languages.

    Means over queries with answers in several languages, in which query languages weigh the same. They show what
    measures of the query's own language cannot: a model that prefers English to all other languages, whatever the
    query's language, treats every query's own language alike.
    """
    several, answers = inputs.several_languages, inputs.answers
    if not several.any():
        return {}
    used = answers.ranks > 0
    best = np.where(used, answers.ranks, np.inf).argmin(axis=1)
    first = answers.languages[np.arange(len(best)), best]
    shares: dict[str, FirstLanguage] = {}
    for name in sorted({row.language for row in inputs.task.candidates}):
        number = inputs.language_numbers[name]
        answers_in_language = ((answers.languages == number) & used).sum(1) / used.sum(1)
        shares[name] = FirstLanguage(
            share=_macro_mean((first == number)[several], inputs.query_languages[several]),
            unbiased=_macro_mean(answers_in_language[several], inputs.query_languages[several]),
        )
    return shares


def _same_language_share(inputs: PanelInputs) -> Measured[PerQuery]:
    top_languages = np.where(inputs.top >= 0, inputs.candidate_languages[inputs.top], 0)
    return Measured(bias.same_language_share(top_languages, inputs.query_languages), _unbiased_share(inputs))


def _unbiased_share(inputs: PanelInputs) -> PerQuery:
    """Share of the first `DEPTH` in the query's language if its answers came first, then anything of any language."""
    pool = np.bincount(inputs.candidate_languages, minlength=len(inputs.language_numbers) + 1)
    used = inputs.answers.ranks != 0
    answers = used.sum(axis=1)
    own = ((inputs.answers.languages == inputs.query_languages[:, None]) & used).sum(axis=1)
    size = int(pool.sum())
    shown = min(DEPTH, size)
    first = np.minimum(answers, shown)
    rest = (pool[inputs.query_languages] - own) / np.maximum(size - answers, 1)
    return (first * own / answers + (shown - first) * rest) / shown


def _language_preference(inputs: PanelInputs) -> Measured[PerQuery]:
    preference = bias.language_preference(inputs.answers)
    return Measured(preference, np.where(np.isnan(preference), np.nan, inputs.relevant_share))


def _pooling_drop(inputs: PanelInputs) -> Measured[PerQuery]:
    """For queries whose relevant candidates are all in their own language."""
    drop = inputs.table.monolingual[MAP.name] - inputs.table.multilingual[MAP.name]
    return Measured(np.where(inputs.relevant_share == 1, drop, np.nan))


def _removal_gap(inputs: PanelInputs) -> Measured[PerQuery]:
    same, cross = bias.removal(inputs.answers)
    return Measured(same - cross, 0.0)


def _lone_answer_gap(inputs: PanelInputs) -> Measured[PerQuery]:
    same, cross = bias.lone_answer(inputs.answers)
    return Measured(same - cross, 0.0)


def _equal_rank(inputs: PanelInputs) -> Measured[PerQuery]:
    """NaN for a query that has no language with several answers: the test is blind there."""
    ordered = np.sort(inputs.answers.languages, axis=1)
    repeated = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)).any(axis=1)
    return Measured(np.where(repeated, bias.equal_rank_probability(inputs.answers, DEPTH), np.nan))


def _rank_correlation(inputs: PanelInputs) -> Measured[PerQuery]:
    """Every translation of a question has the question's value."""
    question = _question_numbers(inputs.task)
    if np.bincount(question).max() == 1:
        return Measured(np.full(len(question), np.nan))
    queries, candidates = inputs.ranking.queries, inputs.ranking.candidates
    return Measured(embedding_space.rank_correlation(queries, candidates, inputs.top, question)[question])


def _language_probe(inputs: PanelInputs) -> Measured[float | None]:
    """None where a language has too few candidates to be tested on."""
    chance = 1 / len(set(inputs.candidate_languages.tolist()))
    parallel = _parallel_candidates(inputs.task)
    try:
        accuracy = embedding_space.language_probe(inputs.ranking.candidates, inputs.candidate_languages, parallel)
    except ValueError:  # a language without a text on one side of the split, which only the split knows
        accuracy = None
    return Measured(accuracy, chance)


def _favoured_language(inputs: PanelInputs) -> Measured[float | None]:
    excess = (row.share - row.unbiased for row in first_languages(inputs).values())
    return Measured(max(excess, default=None), 0.0)


PER_QUERY: Mapping[str, Callable[[PanelInputs], Measured[PerQuery]]] = {
    RANK_DISTANCE.name: lambda panel_inputs: Measured(panel_inputs.table.multilingual[RANK_DISTANCE.name]),
    "log_rank_distance": lambda panel_inputs: Measured(
        panel_inputs.where_several(bias.log_rank_distance(panel_inputs.answers.ranks))
    ),
    "max_rank": lambda panel_inputs: Measured(
        panel_inputs.where_several(metrics.worst_rank(panel_inputs.answers.ranks))
    ),
    f"complete@{DEPTH}": lambda panel_inputs: Measured(
        panel_inputs.where_several(bias.complete(panel_inputs.answers.ranks, DEPTH))
    ),
    f"target_recall@{DEPTH}": lambda panel_inputs: Measured(bias.target_recall(panel_inputs.answers, DEPTH)),
    f"same_language_share@{DEPTH}": _same_language_share,
    "language_preference": _language_preference,
    f"language_ndcg@{DEPTH}": lambda panel_inputs: Measured(
        bias.language_ndcg(panel_inputs.answers, DEPTH, other_gain=OTHER_GAIN)
    ),
    "removal_gap": _removal_gap,
    "pooling_drop": _pooling_drop,
    "lone_answer_gap": _lone_answer_gap,
    f"equal_rank@{DEPTH}": _equal_rank,
    f"rank_correlation@{DEPTH}": _rank_correlation,
}
"""How each of `catalogue.PER_QUERY_BIAS` is measured, in the same order."""

OVERALL: Mapping[str, Callable[[PanelInputs], Measured[float | None]]] = {
    "language_probe": _language_probe,
    "favoured_language": _favoured_language,
    f"hubness@{DEPTH}": lambda panel_inputs: Measured(panel_inputs.hubs.skewness),
    f"hub_share@{DEPTH}": lambda panel_inputs: Measured(panel_inputs.hubs.top_percent_share),
}
"""How each of `catalogue.SPACE_BIAS` is measured, in the same order."""


def _macro_mean(values: np.ndarray, groups: Int[np.ndarray, " queries"]) -> float:
    """The mean over groups of each group's mean."""
    return float(np.mean([values[groups == group].mean() for group in np.unique(groups)]))


def _question_numbers(task: RetrievalTask) -> Int[np.ndarray, " queries"]:
    """One number for all translations of a question."""
    return np.unique([row.id for row in task.queries], return_inverse=True)[1]


def _parallel_candidates(task: RetrievalTask) -> Int[np.ndarray, " candidates"]:
    """One number for all candidates that answer the same questions, across languages."""
    question = _question_numbers(task)
    query, answer = task.relevance.T
    size = len(task.candidates) + question.max() + 1
    edges = (np.ones(len(query), np.int8), (answer, len(task.candidates) + question[query]))
    return connected_components(coo_array(edges, shape=(size, size)), directed=False)[1][: len(task.candidates)]
