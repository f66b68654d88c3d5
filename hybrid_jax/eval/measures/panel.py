"""The bias panel: every measure of language bias that a task allows, per query and of the whole space.

Knows: which measures there are, at which depth they are taken, which way bias lies, and what no bias would look like.
Does not know: how a measure is computed (`bias.py`, `space.py`), means, intervals, how a panel is drawn.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybrid_jax.eval.measures import bias, embedding_space, metrics
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.scores import Ranks

DEPTH = 20
"""Of every measure that stops at k: as SHIFT's and MIMO's, and more than any task here has languages."""
OTHER_GAIN = 0.5
"""Of a relevant candidate in another language, in the language nDCG; ours, see `bias.language_ndcg`."""


class Ranking(NamedTuple):
    """A task's embeddings and where they put its candidates."""

    queries: Float[np.ndarray, "queries dim"]
    candidates: Float[np.ndarray, "candidates dim"]
    ranks: Ranks
    top: Int[np.ndarray, "queries k"]
    """Candidate rows of the pooled ranking, the best first; -1 where there are fewer."""


class Measure(NamedTuple):
    """How a measure is called, which way bias lies ("neither" for what is not about bias alone), and what it asks."""

    label: str
    biased: Literal["higher", "lower", "neither"]
    asks: str


PER_QUERY: Mapping[str, Measure] = {
    "rank_distance": Measure("Rank distance", "higher", "how far apart do the best and the worst translation rank?"),
    "log_rank_distance": Measure("Rank distance, log2", "higher", "the same in doublings of depth"),
    "max_rank": Measure("Max@R", "higher", "how deep must one read to have them all?"),
    f"complete@{DEPTH}": Measure(f"Complete@{DEPTH}", "lower", f"are all of them among the first {DEPTH}?"),
    f"target_recall@{DEPTH}": Measure(
        f"TLR@{DEPTH}", "lower", f"how many of those in other languages are among the first {DEPTH}?"
    ),
    f"same_language_share@{DEPTH}": Measure(
        f"Same-language share@{DEPTH}", "higher", f"how much of the first {DEPTH} is in the query's language?"
    ),
    "language_preference": Measure("LPR", "higher", "how often does the query's own language come first?"),
    f"language_ndcg@{DEPTH}": Measure(
        f"Lang-nDCG@{DEPTH}", "neither", f"nDCG with gain 1 for the query's language and {OTHER_GAIN} for others"
    ),
    "removal_gap": Measure("Removal gap", "higher", "loss of AP without the own language's answer, minus another's"),
    "pooling_drop": Measure(
        "Drop in the pool", "higher", "AP lost to other languages' candidates; some by their number"
    ),
    "lone_answer_gap": Measure("Lone-answer gap", "higher", "AP if only the own language had an answer, minus another"),
    f"equal_rank@{DEPTH}": Measure(f"PEER@{DEPTH}", "lower", "p-value of: all languages' answers rank alike"),
    f"rank_correlation@{DEPTH}": Measure(
        f"MRC@{DEPTH}", "lower", "do a question's translations rank alike? (far below 0 is chance)"
    ),
}
OF_THE_SPACE: Mapping[str, Measure] = {
    "language_probe": Measure("Language probe", "higher", "how often does a linear classifier name a text's language?"),
    "favoured_language": Measure(
        "Most favoured language", "higher", "how much more often than its due does one language come first?"
    ),
    f"hubness@{DEPTH}": Measure(f"Hubness@{DEPTH}", "neither", "skewness of how often candidates are found"),
    f"hub_share@{DEPTH}": Measure(f"Hubs' share@{DEPTH}", "neither", "share of the lists that the top 1 % fill"),
}
MEASURES: Mapping[str, Measure] = {**PER_QUERY, **OF_THE_SPACE}


def has_panel(task: RetrievalTask) -> bool:
    """Whether languages can compete: candidates in several."""
    return len({row.language for row in task.candidates}) > 1


def per_query(task: RetrievalTask, ranking: Ranking) -> dict[str, Float[np.ndarray, " queries"]]:
    """Each of `PER_QUERY` that any query of the task has a value of; NaN for the queries without one.

    "unbiased/NAME" beside a measure is what each query would have if language played no part, where that is known.
    """
    names = sorted({row.language for row in (*task.queries, *task.candidates)})
    number = {name: at for at, name in enumerate(names, start=1)}
    asked = np.array([number[row.language] for row in task.queries])
    held = np.array([number[row.language] for row in task.candidates])
    query, answer = task.relevance.T
    found = bias.answers(query, ranking.ranks.pooled, held[answer], asked)
    several = bias.several_languages(found)
    top = ranking.top[:, :DEPTH]
    top_languages = np.where(top >= 0, held[top], 0)
    share = bias.relevant_share(found)
    alone_in_pool = metrics.average_precision(metrics.rank_rows(query, ranking.ranks.in_language))
    preference = bias.language_preference(found)
    removal, alone = bias.removal(found), bias.lone_answer(found)
    values = {
        "rank_distance": np.where(several, metrics.rank_distance(found.ranks), np.nan),
        "log_rank_distance": np.where(several, bias.log_rank_distance(found.ranks), np.nan),
        "max_rank": np.where(several, metrics.worst_rank(found.ranks), np.nan),
        f"complete@{DEPTH}": np.where(several, bias.complete(found.ranks, DEPTH), np.nan),
        f"target_recall@{DEPTH}": bias.target_recall(found, DEPTH),
        f"same_language_share@{DEPTH}": bias.same_language_share(top_languages, asked),
        f"unbiased/same_language_share@{DEPTH}": _blind_share(found, np.bincount(held, minlength=len(names) + 1)),
        "language_preference": preference,
        "unbiased/language_preference": np.where(np.isnan(preference), np.nan, share),
        f"language_ndcg@{DEPTH}": bias.language_ndcg(found, DEPTH, other_gain=OTHER_GAIN),
        "pooling_drop": np.where(share == 1, alone_in_pool - metrics.average_precision(found.ranks), np.nan),
        "removal_gap": removal.same - removal.cross,
        "lone_answer_gap": alone.same - alone.cross,
        f"equal_rank@{DEPTH}": _equal_rank(found),
        f"rank_correlation@{DEPTH}": _rank_correlation(task, ranking, top),
    }
    return {name: value for name, value in values.items() if not np.isnan(value).all()}


def first_languages(task: RetrievalTask, ranking: Ranking) -> dict[str, dict[str, float]]:
    """{candidate language: {"share" of questions whose best answer is in it, "unbiased": its share of the answers}}.

    Over questions with answers in several languages, query languages weighing the same. It shows what measures of the
    *own* language cannot: a model that prefers English whatever the question's language treats all of them alike.
    """
    query, answer = task.relevance.T
    held, language = np.unique([row.language for row in task.candidates], return_inverse=True)
    asked = np.unique([row.language for row in task.queries], return_inverse=True)[1]
    # Whose own language it is plays no part here, so that the two may be numbered apart.
    found = bias.answers(query, ranking.ranks.pooled, language[answer] + 1, asked + 1)
    several = bias.several_languages(found)
    if not several.any():
        return {}
    best = np.where(found.ranks > 0, found.ranks, np.inf).argmin(axis=1)
    first = found.languages[np.arange(len(best)), best]
    used = found.ranks > 0
    return {
        str(name): {
            "share": _macro((first == number)[several], asked[several]),
            "unbiased": _macro((((found.languages == number) & used).sum(1) / used.sum(1))[several], asked[several]),
        }
        for number, name in enumerate(held, start=1)
    }


def of_the_space(task: RetrievalTask, ranking: Ranking) -> dict[str, float | None]:
    """Each of `OF_THE_SPACE`; None for the probe where a language has too few passages to be tested on."""
    first = first_languages(task, ranking)
    hubs = embedding_space.hubness(ranking.top[:, :DEPTH], len(task.candidates))
    languages = np.unique([row.language for row in task.candidates], return_inverse=True)[1]
    try:
        probe = embedding_space.language_probe(ranking.candidates, languages, _parallel(task))
    except ValueError:  # a language without a text on one side of the split, of which only the split knows
        probe = None
    return {
        "language_probe": probe,
        "favoured_language": max((row["share"] - row["unbiased"] for row in first.values()), default=None),
        f"hubness@{DEPTH}": hubs.skewness,
        f"hub_share@{DEPTH}": hubs.top_percent_share,
    }


def unbiased(task: RetrievalTask) -> dict[str, float]:
    """What a model without any language bias would have, for measures where that depends on the task alone."""
    return {
        "removal_gap": 0.0,
        "lone_answer_gap": 0.0,
        "favoured_language": 0.0,
        "language_probe": 1 / len({row.language for row in task.candidates}),
    }


def _blind_share(found: bias.Answers, pool: Int[np.ndarray, " languages"]) -> Float[np.ndarray, " queries"]:
    """The query language's share of the first `DEPTH` if its answers came first, and then anything of any language."""
    answers = (found.ranks != 0).sum(axis=1)
    own = ((found.languages == found.query_languages[:, None]) & (found.ranks != 0)).sum(axis=1)
    size = int(pool.sum())
    shown = min(DEPTH, size)
    first = np.minimum(answers, shown)
    rest = (pool[found.query_languages] - own) / np.maximum(size - answers, 1)
    return (first * own / answers + (shown - first) * rest) / shown


def _macro(values: np.ndarray, groups: Int[np.ndarray, " queries"]) -> float:
    """The mean over groups of each group's mean."""
    return float(np.mean([values[groups == group].mean() for group in np.unique(groups)]))


def _equal_rank(found: bias.Answers) -> Float[np.ndarray, " queries"]:
    """NaN for a query that has no language with several answers: the test is blind there."""
    ordered = np.sort(found.languages, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)).any(axis=1)
    return np.where(twice, bias.equal_rank_probability(found, DEPTH), np.nan)


def _rank_correlation(task: RetrievalTask, ranking: Ranking, top: Any) -> Float[np.ndarray, " queries"]:
    """A question's value, for each of its translations."""
    question = np.unique([row.id for row in task.queries], return_inverse=True)[1]
    if np.bincount(question).max() == 1:
        return np.full(len(question), np.nan)
    return embedding_space.rank_correlation(ranking.queries, ranking.candidates, top, question)[question]


def _parallel(task: RetrievalTask) -> Int[np.ndarray, " candidates"]:
    """One number for all candidates that answer the same questions, across languages."""
    question = np.unique([row.id for row in task.queries], return_inverse=True)[1]
    query, answer = task.relevance.T
    size = len(task.candidates) + question.max() + 1
    edges = (np.ones(len(query), np.int8), (answer, len(task.candidates) + question[query]))
    return connected_components(coo_array(edges, shape=(size, size)), directed=False)[1][: len(task.candidates)]
