"""Tasks that cannot be scored are refused where they are made."""

import numpy as np
import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks import BitextTask, Candidate, Query, RetrievalTask, SearchTask


def tiny(**changes) -> RetrievalTask:
    parts = {
        "queries": (Query("1", "en", "a?"), Query("1", "de", "b?")),
        "candidates": (Candidate("1", "en", ("a",)), Candidate("1", "de", ("b",))),
        "relevance": np.array([(0, 0), (1, 0)]),
    }
    return RetrievalTask(name="tiny", candidate_texts=("passage",), **(parts | changes))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"queries": (), "relevance": np.zeros((0, 2), int)}, "no queries"),
        (
            {"queries": (Query("1", "en", "a?"), Query("1", "en", "b?"))},
            "query 2: query id 'en, 1' occurs a second time",
        ),
        ({"relevance": np.array([(0, 0), (1, 0), (1, 0)])}, "same .* pair is listed twice"),
        ({"relevance": np.array([(0, 0)])}, r"no candidate is relevant to query '1' \(de\)"),
    ],
)
def test_a_task_that_cannot_be_scored_is_refused(changes: dict, problem: str):
    with pytest.raises(DataError, match=problem):
        tiny(**changes)


def test_an_unknown_candidate_text_names_the_known_ones():
    assert tiny().texts("passage") == ["a", "b"]
    with pytest.raises(ValueError, match=r"'paragraph': use one of \('passage',\)"):
        tiny().texts("paragraph")


def search(**changes) -> SearchTask:
    parts = {"queries": (Query("q", "en", "a?"),), "corpus": lambda: iter(()), "qrels": {"q": {"d": 1}}}
    return SearchTask(name="search", **(parts | changes))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"queries": (), "qrels": {}}, "no queries"),
        ({"queries": (Query("q", "en", "a?"), Query("q", "de", "b?"))}, "query 2: query id 'q' occurs a second time"),
        ({"qrels": {}}, "query 'q' has no judgments"),
        ({"qrels": {"q": {}, "r": {}}}, "query 'r' has no text"),
    ],
)
def test_a_search_that_cannot_be_scored_is_refused(changes: dict, problem: str):
    assert search().languages == ("en",)
    with pytest.raises(DataError, match=problem):
        search(**changes)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ({}, "no pair of languages"),
        ({("de", "en"): (("a", "b"), ("a",))}, "2 sentences in de and 1 in en"),
        ({("de", "en"): ((), ())}, "0 sentences in de and 0 in en"),
    ],
)
def test_bitext_without_translations_is_refused(pairs: dict, problem: str):
    with pytest.raises(DataError, match=problem):
        BitextTask("bitext", pairs)


@pytest.mark.parametrize("lines", [{("de", "en"): (1, 1)}, {("de", "en"): (1,)}, {("en", "de"): (1, 2)}])
def test_each_sentence_has_a_line_of_its_own(lines: dict):
    pairs = {("de", "en"): (("a", "b"), ("c", "d"))}
    assert BitextTask("bitext", pairs, lines={("de", "en"): (3, 1)}).lines
    with pytest.raises(DataError, match=r"task bitext: . line numbers for 2 sentences in de and en: give each"):
        BitextTask("bitext", pairs, lines=lines)


def test_a_search_says_where_translations_may_share_an_id():
    for other, more in (("de", "; only pooled: takes one id for the translations of a query"), ("en", "")):
        with pytest.raises(DataError) as raised:
            search(queries=(Query("q", "en", "a?"), Query("q", other, "b?")))
        assert str(raised.value).endswith(f"or give it another id{more}")
