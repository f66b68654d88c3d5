"""Duplicate ids are found wherever they are, and ids that only share a hash are not taken for duplicates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data import duplicates
from hybrid_jax.data.duplicates import Duplicate, Ids


def find(names: list[str]) -> Duplicate | None:
    ids = Ids()
    for name in names:
        ids.add(name)
    assert len(ids) == len(names)
    return ids.duplicate(lambda: ((name, f"line {number}") for number, name in enumerate(names)))


def expected(names: list[str]) -> Duplicate | None:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            return Duplicate(name, f"line {first[name]}", f"line {number}")
    return None


@given(st.lists(st.text(max_size=2)))
def test_the_first_duplicate_is_named_with_both_places(names: list[str]):
    assert find(names) == expected(names)


@given(st.lists(st.text(max_size=2)))
def test_equal_hashes_are_not_equal_ids(names: list[str]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "hash", len, raising=False)
        assert find(names) == expected(names)


def test_a_duplicate_far_from_its_first_is_found():
    names = [str(number) for number in range(100_000)]
    assert find(names) is None
    assert find([*names, "7"]) == Duplicate("7", "line 7", "line 100000")
