"""What the panel adds to the measures: which queries have one, what no bias would give, languages not one's own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from hybrid_jax.eval.full_ranking import evaluate
from hybrid_jax.eval.measures.catalogue import BIAS, DEPTH, PER_QUERY_BIAS, SPACE_BIAS
from hybrid_jax.eval.measures.panel import OVERALL, PER_QUERY
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask

LANGUAGES, COUNT = ("de", "en", "th"), 30


class Favours:
    """Finds the record, and in every language's questions prefers the passages of one language."""

    def __init__(self, task: RetrievalTask, language: str) -> None:
        self.records = sorted({query.id for query in task.queries})
        self.language = language

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, lambda text: True)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, lambda text: text.startswith(self.language))

    def _encode(self, texts: Sequence[str], prefers: Callable[[str], bool]) -> np.ndarray:
        vectors = np.zeros((len(texts), len(self.records) + 2), np.float32)
        for row, text in enumerate(texts):
            vectors[row, self.records.index(text.split()[1])] = 1
            vectors[row, -2 if prefers(text) else -1] = 0.5
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_favoured_language_shows_where_measures_of_the_own_language_see_nothing(make_task):
    task = make_task(LANGUAGES, COUNT)
    result = evaluate(Favours(task, "en"), task, "passage")
    panel = result.bias
    assert panel["language_preference"].value == pytest.approx(panel["language_preference"].unbiased)
    for name in ("removal_gap", "lone_answer_gap"):
        assert panel[name].value == pytest.approx(0, abs=1e-12)
    assert {code: row.share for code, row in result.first_languages.items()} == {"de": 0, "en": 1, "th": 0}
    assert panel["favoured_language"].value == pytest.approx(1 - 1 / 3)


def test_without_bias_the_share_is_that_of_the_answers_and_then_of_the_rest(make_task):
    """Fewer answers than places: what follows them is in the query's language as often as the rest of the pool."""
    task = make_task(LANGUAGES, COUNT)
    more = tuple(Candidate(f"x{row}", "th", (f"th x{row}",)) for row in range(60))
    task = replace(task, candidates=(*task.candidates, *more))
    unbiased = evaluate(_Random(), task, "passage").bias[f"same_language_share@{DEPTH}"].unbiased
    rest = [(own - 1) / (COUNT * 3 + 60 - 3) for own in (COUNT, COUNT, COUNT + 60)]
    assert unbiased == pytest.approx(np.mean([(1 + 17 * share) / DEPTH for share in rest]))


class _Random:
    """Unit vectors that know nothing."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = self.rng.standard_normal((len(texts), 16)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_passages = encode_queries


def test_answers_in_one_language_have_no_distance_between_languages(make_task):
    """Two passages of the query's own language are no translations: nothing in them is about language."""
    task = make_task(LANGUAGES, COUNT)
    language = [row.language for row in task.candidates]
    requested = [row.language for row in task.queries]
    own = [(q, c) for q, c in task.relevance.tolist() if requested[q] == language[c]]
    row_of = {(row.language, row.id): number for number, row in enumerate(task.candidates)}
    second = [(q, row_of[requested[q], str((int(task.queries[q].id) + 1) % COUNT)]) for q, _ in own]
    result = evaluate(_Random(), replace(task, relevance=np.array(own + second)), "passage")
    assert result["rank_distance"] is None
    assert result.first_languages == {}
    of_several = ("rank_distance", "log_rank_distance", "max_rank", f"complete@{DEPTH}")
    for name in (*of_several, "language_preference", f"target_recall@{DEPTH}"):
        assert name not in result.bias
    means = [result.value("map", setting) for setting in ("monolingual", "multilingual")]
    drop = (means[0] or 0) - (means[1] or 0)
    assert result.bias["pooling_drop"].value == pytest.approx(drop)
    assert drop > 0


def test_no_other_measure_is_left_out(make_task, knows_the_record):
    task = make_task(LANGUAGES, COUNT)
    panel = evaluate(knows_the_record(task, meaning=1, language=1), task, "passage").bias
    assert set(panel) ^ set(BIAS) == {"pooling_drop", f"equal_rank@{DEPTH}"}


def test_every_measure_of_the_catalogue_is_measured_in_its_order():
    assert [*PER_QUERY] == [*PER_QUERY_BIAS]
    assert [*OVERALL] == [*SPACE_BIAS]


def with_answers(task: RetrievalTask, kept: Callable[[Query, Candidate], bool]) -> RetrievalTask:
    """The task with these of its answers alone, and with the queries that have some."""
    pairs = [(q, c) for q, c in task.relevance.tolist() if kept(task.queries[q], task.candidates[c])]
    rows = sorted({q for q, _ in pairs})
    place = {row: number for number, row in enumerate(rows)}
    queries = tuple(task.queries[row] for row in rows)
    return replace(task, queries=queries, relevance=np.array([(place[q], c) for q, c in pairs]))


def test_only_queries_with_answers_in_several_languages_say_which_comes_first(make_task):
    """Half of the questions are answered in Thai alone, so that Thai comes first whatever the model prefers."""
    task = with_answers(make_task(LANGUAGES, COUNT), lambda query, c: int(query.id) >= 15 or c.language == "th")
    found = evaluate(Favours(task, "en"), task, "passage").first_languages
    assert {code: (row.share, row.unbiased) for code, row in found.items()} == {
        "de": (0, pytest.approx(1 / 3)),
        "en": (1, pytest.approx(1 / 3)),
        "th": (0, pytest.approx(1 / 3)),
    }


def test_query_languages_weigh_the_same_in_which_language_comes_first(make_task, knows_the_record):
    """Every language prefers itself; a third of the weight is Thai's, which has 5 of 65 questions."""
    task = with_answers(make_task(LANGUAGES, COUNT), lambda query, _: query.language != "th" or int(query.id) < 5)
    found = evaluate(knows_the_record(task, meaning=1, language=1), task, "passage").first_languages
    assert {code: row.share for code, row in found.items()} == pytest.approx(dict.fromkeys(LANGUAGES, 1 / 3))


def test_the_unbiased_preference_is_that_of_the_queries_that_have_one(make_task, knows_the_record):
    """Half of the questions have no German answer: to a German query they say nothing, to the others 1 / 2."""
    task = with_answers(make_task(LANGUAGES, COUNT), lambda query, c: int(query.id) >= 15 or c.language != "de")
    panel = evaluate(knows_the_record(task, meaning=1, language=1), task, "passage").bias
    assert panel["language_preference"].value == 1
    mixed = (1 / 2 + 1 / 3) / 2
    assert panel["language_preference"].unbiased == pytest.approx((1 / 3 + mixed + mixed) / 3)


def test_unused_places_are_no_language_with_several_answers(make_task, knows_the_record):
    """One question has two answers and the others four, so that it has two unused places beside one another."""
    task = make_task(("ar", *LANGUAGES), COUNT)
    task = with_answers(task, lambda query, c: query.id != "0" or c.language in ("de", "en"))
    panel = evaluate(knows_the_record(task, meaning=1, language=1), task, "passage").bias
    assert f"equal_rank@{DEPTH}" not in panel
