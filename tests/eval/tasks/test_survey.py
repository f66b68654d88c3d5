"""A corpus is surveyed before anything is encoded: what it lacks is counted, what can only be a mistake is refused."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.records import DataError
from hybrid_jax.eval.tasks.survey import Survey, how_ids_differ, survey


def corpus(*names: str) -> Callable[[], Iterator[tuple[str, str]]]:
    return lambda: ((name, f"corpus.jsonl:{number}") for number, name in enumerate(names, start=1))


NAMES = st.sampled_from(["a", "b", "c", "d", "q"])
QRELS = st.dictionaries(st.sampled_from(["q", "r"]), st.dictionaries(NAMES, st.integers(-1, 2)), min_size=1)


@given(st.lists(NAMES, min_size=1, unique=True), QRELS, st.booleans())
def test_what_is_missing_is_counted(names: list[str], qrels: dict[str, dict[str, int]], drop_same_id: bool):
    relevant = {(query, name) for query, graded in qrels.items() for name, grade in graded.items() if grade > 0}
    left = {(query, name) for query, name in relevant if name in names and not (drop_same_id and name == query)}
    judged = {name for graded in qrels.values() for name in graded}
    unanswerable = tuple(query for query in qrels if query not in {query for query, _ in left})
    if not left:
        expected = "nothing of the qrels is in the corpus" if judged and not judged & set(names) else "no query has a"
        with pytest.raises(DataError, match=expected):
            survey("t", corpus(*names), qrels, drop_same_id=drop_same_id)
        return
    found = survey("t", corpus(*names), qrels, drop_same_id=drop_same_id)
    distinct = {name for _, name in relevant}
    missing = frozenset(distinct - set(names))
    assert found == Survey("t", len(names), len(qrels), len(distinct), missing, unanswerable)
    assert len(found.lines()) == bool(missing) + bool(unanswerable)


def test_what_is_missing_is_said():
    found = survey("beir", corpus("d1", "d2"), {"q1": {"d1": 1, "gone": 2}, "q2": {"gone": 1}, "q3": {"d2": 0}})
    assert found.lines() == [
        "beir: 1 of 2 relevant candidates are not among the 2 of the corpus (such as 'gone'); they count as not "
        "retrieved",
        "beir: 2 of 3 queries have no relevant candidate in the corpus (such as 'q2'); they count as 0",
    ]
    assert survey("beir", corpus("d1"), {"q1": {"d1": 1}}).lines() == []


def test_what_can_only_be_a_mistake_is_refused():
    good = {"q": {"d1": 1}}
    cases = {
        r"0 candidates, expected some: a file is missing": ((), good, None, False),
        r"2 candidates, expected 3: a file is missing, cut short": (("d1", "d2"), good, 3, False),
        r"^corpus\.jsonl:3: document id 'd1' occurs a second time \(first: corpus\.jsonl:1\)": (
            ("d1", "d2", "d1"),
            good,
            3,
            False,
        ),
        r"no query has a relevant candidate in the corpus.*\(query 'q': 'd1' has grade 0\)": (
            ("d1",),
            {"q": {"d1": 0}},
            None,
            False,
        ),
        r"\(query 'q': it has no judgments\)": (("d1",), {"q": {}}, None, False),
        r"\(query 'q': 'q' has grade 1\)": (("q",), {"q": {"q": 1}}, None, True),
        r"an id of the corpus is 'x', one of the qrels 'd1': give the corpus": (("x", "y"), good, None, False),
    }
    for problem, (names, qrels, size, drop) in cases.items():
        with pytest.raises(DataError, match=problem) as error:
            survey("t", corpus(*names), qrels, size=size, drop_same_id=drop)
        assert "\n" not in str(error.value)


def test_ids_that_differ_in_their_writing_alone_are_shown():
    for ours, theirs, difference in (
        ("d1 ", "d1", "in white space"),
        ("D1", "d1", "in case"),
        ("007", "7", "in how a number is written"),
        ("7", "7.0", "in how a number is written"),
        ("doc7", "7", "in what stands before or after the number"),
        ("{7}", "7", "in what stands before or after the number"),
    ):
        with pytest.raises(DataError) as error:
            survey("t", corpus("other", ours), {"q": {theirs: 1}})
        assert str(error.value) == (
            f"task t: nothing of the qrels is in the corpus: ids differ {difference}, {ours!r} in the corpus and "
            f"{theirs!r} in the qrels: write them alike"
        )
    assert how_ids_differ(["a", "b"], ["c"]) == ""
