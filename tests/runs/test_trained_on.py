"""What a run was trained on: the counts of its log up to a step, and a log that is cut short or damaged."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.runs.lines import write_line
from hybrid_jax.runs.trained_on import read_trained_on


def log(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(write_line({"step": step, **record}) for step, record in enumerate(records)))
    return path


def batch(kind: str, dataset: str, pairs: dict[str, dict[str, int]]) -> dict[str, Any]:
    """A step's record, of the number of pairs by the languages of query and passage."""
    passages: Counter[str] = Counter()
    for counts in pairs.values():
        passages.update(counts)
    queries = {language: sum(counts.values()) for language, counts in pairs.items()}
    sides = {"query_languages": queries, "passage_languages": dict(passages)}
    return {"kind": kind, "dataset": dataset, **sides, "language_pairs": pairs}


MONO = batch("monolingual", "a", {"de": {"de": 4}})
SAME = batch("same_language", "a", {"de": {"de": 1}, "en": {"en": 3}})
CROSS = batch("cross_lingual", "b", {"de": {"fr": 1}, "en": {"fr": 3}})


def test_counts_are_those_of_the_log_up_to_the_step(tmp_path: Path):
    path = log(tmp_path, MONO, CROSS, SAME, CROSS, MONO)
    counts = read_trained_on(path, 4)
    assert counts is not None
    assert (counts.steps, counts.logged) == (4, 4)
    assert counts.batches == {"monolingual": 1, "cross_lingual": 2, "same_language": 1}
    assert counts.pairs == {"monolingual": 4, "cross_lingual": 8, "same_language": 4}
    assert counts.datasets == {
        ("a", "monolingual"): (1, 4),
        ("b", "cross_lingual"): (2, 8),
        ("a", "same_language"): (1, 4),
    }
    assert counts.languages == ["de", "en", "fr"]
    assert counts.language_pairs == {("de", "de"): 5, ("en", "en"): 3, ("de", "fr"): 2, ("en", "fr"): 6}


def test_a_batch_of_several_kinds_counts_for_each(tmp_path: Path):
    kept = ("kind", "query_languages", "passage_languages")
    parts = [{name: part[name] for name in kept} for part in (MONO, CROSS)]
    languages = {"query_languages": {"de": 5, "en": 3}, "passage_languages": {"de": 4, "fr": 4}}
    together = {"de": {"de": 4, "fr": 1}, "en": {"fr": 3}}
    mixed = {"kind": "monolingual + cross_lingual", "dataset": "a", "parts": parts, "language_pairs": together}
    counts = read_trained_on(log(tmp_path, {**mixed, **languages}, MONO), 2)
    assert counts is not None
    assert counts.logged == 2
    assert counts.batches == {"monolingual": 2, "cross_lingual": 1}
    assert counts.pairs == {"monolingual": 8, "cross_lingual": 4}
    assert counts.datasets == {("a", "monolingual"): (2, 8), ("a", "cross_lingual"): (1, 4)}
    assert (counts.queries["monolingual", "de"], counts.queries["cross_lingual", "de"]) == (8, 1)
    assert counts.language_pairs == {("de", "de"): 8, ("de", "fr"): 1, ("en", "fr"): 3}


def test_a_cut_line_does_not_count_and_a_damaged_one_is_named(tmp_path: Path):
    path = log(tmp_path, MONO, CROSS)
    path.write_text(path.read_text() + write_line({"step": 2, **MONO})[:40])
    counts = read_trained_on(path, 9)
    assert counts is not None
    assert counts.logged == 2
    assert read_trained_on(tmp_path / "nothing.jsonl", 9) is None
    for damaged in (
        '{"step": 0}\n',
        "[]\n",
        "{\n",
        "\xff\n",
        json.dumps({"step": 0, **MONO}) + "\n",  # without a checksum
        write_line({"step": 0, **MONO, "query_languages": {"de": "4"}}),
    ):
        path.write_bytes(write_line({"step": 0, **MONO}).encode() + damaged.encode("latin-1"))
        with pytest.raises(DataError, match=r"metrics.jsonl, line 2: not a step's record .*: restore it"):
            read_trained_on(path, 9)
