"""What the three models of `calibration.py` must score on a task, worked out from the task alone.

Knows: how many candidates and answers there are, in which languages, and the tie rule. Does not know: vectors, scores,
and the code that ranks and measures; formulas for chance, counting where ties decide.

`expected` names a figure as a report does ("map/multilingual", "bias/max_rank"). What has no known expectation is not
there.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

from hybrid_jax.eval.measures.catalogue import DEPTH, OTHER_GAIN
from hybrid_jax.eval.tasks import RetrievalTask

Expected = Mapping[str, float]


class Question:
    """A query with the languages and ids of its answers, best tie first."""

    def __init__(self, language: str, answers: Sequence[tuple[str, str]]):
        self.language = language
        self.answers = sorted(answers, reverse=True)
        self.count = len(answers)
        self.own = sum(held == language for held, _ in answers)


class Shape:
    """A task as the expectations see it; every question here has at most one answer in a language."""

    def __init__(self, task: RetrievalTask):
        answers: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for query, candidate in task.relevance.tolist():
            row = task.candidates[candidate]
            answers[query].append((row.language, row.id))
        self.questions = [Question(task.queries[row].language, held) for row, held in sorted(answers.items())]
        self.pool: dict[str, list[str]] = defaultdict(list)
        for row in task.candidates:
            self.pool[row.language].append(row.id)
        self.size = len(task.candidates)
        # The tie rule: the greater (language, id) ranks first.
        self.place = {
            (language, name): place
            for language, names in self.pool.items()
            for place, name in enumerate(sorted(names, reverse=True), start=1)
        }

    def multilingual(self, value: Callable[[Question], float], least: int = 1) -> float:
        """The mean over query languages of the mean over their questions with `least` answers."""
        by_language: dict[str, list[float]] = defaultdict(list)
        for question in self.questions:
            if question.count >= least:
                by_language[question.language].append(value(question))
        return float(np.mean([np.mean(values) for values in by_language.values()]))

    def pairs(self, value: Callable[[tuple[str, str]], float], own: bool) -> float:
        """The mean over ordered pairs of languages (or each with itself) of the mean over the answers in them."""
        by_pair: dict[tuple[str, str], list[float]] = defaultdict(list)
        for question in self.questions:
            for answer in question.answers:
                if (answer[0] == question.language) == own:
                    by_pair[question.language, answer[0]].append(value(answer))
        return float(np.mean([np.mean(values) for values in by_pair.values()]))


def expected(task: RetrievalTask) -> dict[str, Expected]:
    """{model: {figure: its expectation}}."""
    shape = Shape(task)
    return {"random": _random(shape), "oracle": _oracle(shape), "language only": _language_only(shape)}


def _random(shape: Shape) -> Expected:
    """Every order of the candidates is equally likely."""
    size, languages = shape.size, len(shape.pool)
    reciprocal = {language: float((1 / np.arange(1, len(ids) + 1)).mean()) for language, ids in shape.pool.items()}
    # Of R answers in the pool: where the first, the last, and all of them are likely to be.
    counts = {question.count for question in shape.questions}
    first = {count: _chance_of_first(size, count) for count in counts}
    place = np.arange(1, size + 1)
    depth = {count: float((first[count][::-1] - first[count]) @ np.log2(place)) for count in counts}
    both = ("monolingual", "cross_lingual")
    found = {
        **{f"map/{setting}": shape.pairs(lambda a: reciprocal[a[0]], setting == "monolingual") for setting in both},
        "map/multilingual": shape.multilingual(lambda q: _average_precision(size, q.count)),
        "mrr/multilingual": shape.multilingual(lambda q: float(first[q.count] @ (1 / place))),
        "recall@10/multilingual": 10 / size,
        "ndcg@10/multilingual": shape.multilingual(
            lambda q: q.count * _discount(10) / _discount(min(q.count, 10)) / size
        ),
        "rank_distance": shape.multilingual(lambda q: (size + 1) * (q.count - 1) / (q.count + 1), least=2),
        "bias/log_rank_distance": shape.multilingual(lambda q: depth[q.count], least=2),
        "bias/max_rank": shape.multilingual(lambda q: (size + 1) * q.count / (q.count + 1), least=2),
        f"bias/complete@{DEPTH}": shape.multilingual(
            lambda q: math.comb(DEPTH, q.count) / math.comb(size, q.count), least=2
        ),
        f"bias/target_recall@{DEPTH}": DEPTH / size,
        f"bias/same_language_share@{DEPTH}": shape.multilingual(lambda q: len(shape.pool[q.language]) / size),
        "bias/language_preference": shape.multilingual(lambda q: q.own / q.count, least=2),
        f"bias/language_ndcg@{DEPTH}": shape.multilingual(
            lambda q: (q.own + OTHER_GAIN * (q.count - q.own)) * _discount(DEPTH) / size / _ideal(q)
        ),
        "bias/removal_gap": 0.0,
        "bias/lone_answer_gap": 0.0,
        f"bias/rank_correlation@{DEPTH}": -3 * DEPTH**2 / (4 * DEPTH**2 - 1),  # lists that share no candidate
        "bias/language_probe": 1 / languages,
    }
    asked, share = len(shape.questions), DEPTH / size
    times = binom(asked, share)
    most = times.ppf(1 - (np.arange(1, 201) - 0.5) / 20_000).mean()  # of the top 1 % of the candidates
    hubs = {
        f"bias/hubness@{DEPTH}": (1 - 2 * share) / math.sqrt(asked * share * (1 - share)),
        f"bias/hub_share@{DEPTH}": float(0.01 * most / times.mean()),
    }
    return {**found, **hubs, "bias/rank_distance": found["rank_distance"]}


def _oracle(shape: Shape) -> Expected:
    """A question's answers come first, and among them the tie rule decides."""

    def language_gain(question: Question) -> float:
        gains = [1.0 if held == question.language else OTHER_GAIN for held, _ in question.answers]
        return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains[:DEPTH], start=1)) / _ideal(question)

    distance = shape.multilingual(lambda q: q.count - 1, least=2)
    settings = ("monolingual", "cross_lingual", "multilingual")
    return {
        **{f"{metric}/{setting}": 1.0 for metric in ("map", "mrr", "ndcg@10") for setting in settings},
        "recall@1/multilingual": shape.multilingual(lambda q: 1 / q.count),
        "recall@10/multilingual": shape.multilingual(lambda q: min(q.count, 10) / q.count),
        "rank_distance": distance,
        "bias/rank_distance": distance,
        "bias/log_rank_distance": shape.multilingual(lambda q: math.log2(q.count), least=2),
        "bias/max_rank": shape.multilingual(lambda q: q.count, least=2),
        f"bias/complete@{DEPTH}": 1.0,
        f"bias/target_recall@{DEPTH}": 1.0,
        "bias/language_preference": shape.multilingual(lambda q: q.answers[0][0] == q.language, least=2),
        f"bias/language_ndcg@{DEPTH}": shape.multilingual(language_gain),
        "bias/removal_gap": 0.0,
        "bias/lone_answer_gap": 0.0,
        f"bias/rank_correlation@{DEPTH}": 1.0,
        "bias/language_probe": 1 / len(shape.pool),
    }


def _language_only(shape: Shape) -> Expected:
    """The query's language comes first, then the others; within both the tie rule decides."""
    names = sorted(shape.pool, reverse=True)
    ahead: dict[tuple[str, str], int] = {}
    for language in {question.language for question in shape.questions}:
        order = [language, *(name for name in names if name != language)]
        sizes = [len(shape.pool[name]) for name in order]
        ahead |= {(language, name): sum(sizes[:place]) for place, name in enumerate(order)}
    placed = {
        question: [(held == question.language, ahead[question.language, held] + shape.place[held, name])
                   for held, name in question.answers]
        for question in shape.questions
    }  # fmt: skip
    ranks = {question: sorted(rank for _, rank in answers) for question, answers in placed.items()}

    def precision(question: Question) -> float:
        return float(np.mean([found / rank for found, rank in enumerate(ranks[question], start=1)]))

    def lone_gap(question: Question) -> float:
        value = [(own, 1 / (rank - ranks[question].index(rank))) for own, rank in placed[question]]
        same, cross = ([v for own, v in value if own == side] for side in (True, False))
        return float(np.mean(same) - np.mean(cross))

    def language_gain(question: Question) -> float:
        found = [(own, rank) for own, rank in placed[question] if rank <= DEPTH]
        return sum((1.0 if own else OTHER_GAIN) / math.log2(rank + 1) for own, rank in found) / _ideal(question)

    asked = Counter(question.language for question in shape.questions)
    # A language's first candidates are in the list of each of its questions, and no other candidate is in any.
    counts = np.zeros(shape.size)
    counts[: DEPTH * len(asked)] = np.repeat([*asked.values()], DEPTH)
    spread = counts - counts.mean()
    most = np.sort(counts)[-math.ceil(shape.size / 100) :]
    distance = shape.multilingual(lambda q: ranks[q][-1] - ranks[q][0], least=2)
    both = ("monolingual", "cross_lingual")
    return {
        **{f"map/{setting}": shape.pairs(lambda a: 1 / shape.place[a], setting == "monolingual") for setting in both},
        "map/multilingual": shape.multilingual(precision),
        "mrr/multilingual": shape.multilingual(lambda q: 1 / ranks[q][0]),
        "rank_distance": distance,
        "bias/rank_distance": distance,
        "bias/log_rank_distance": shape.multilingual(lambda q: math.log2(ranks[q][-1] / ranks[q][0]), least=2),
        "bias/max_rank": shape.multilingual(lambda q: ranks[q][-1], least=2),
        f"bias/complete@{DEPTH}": 0.0,
        f"bias/target_recall@{DEPTH}": 0.0,
        f"bias/same_language_share@{DEPTH}": 1.0,
        "bias/language_preference": 1.0,
        f"bias/language_ndcg@{DEPTH}": shape.multilingual(language_gain),
        "bias/lone_answer_gap": shape.multilingual(lone_gap, least=2),
        f"bias/rank_correlation@{DEPTH}": -1.0,
        "bias/language_probe": 1.0,
        f"bias/hubness@{DEPTH}": float((spread**3).mean() / (spread**2).mean() ** 1.5),
        f"bias/hub_share@{DEPTH}": float(most.sum() / counts.sum()),
    }


def _chance_of_first(size: int, count: int) -> np.ndarray:
    """Of each rank: how likely it is that of the first of `count` answers; reversed, of the last."""
    behind = np.arange(size)[::-1]  # places behind each rank, which hold the other answers
    held = behind >= count - 1
    logs = np.full(size, -np.inf)
    logs[held] = _log_comb(behind[held], count - 1) - _log_comb(np.array([size]), count)
    return np.exp(logs)


def _log_comb(n: np.ndarray, k: int) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _average_precision(size: int, count: int) -> float:
    harmonic = float((1 / np.arange(1, size + 1)).sum())
    return (harmonic + (count - 1) / (size - 1) * (size - harmonic)) / size


def _discount(places: int) -> float:
    return float((1 / np.log2(np.arange(2, places + 2))).sum())


def _ideal(question: Question) -> float:
    gains = [1.0] * question.own + [OTHER_GAIN] * (question.count - question.own)
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains[:DEPTH], start=1))
