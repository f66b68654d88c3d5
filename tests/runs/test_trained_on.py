"""What a run has really seen: the counts of its log up to a step, and a log that is cut or damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.runs.trained_on import read_seen


def log(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, **record}) + "\n" for step, record in enumerate(records)))
    return path


MONO = {"kind": "monolingual", "dataset": "a", "query_languages": {"de": 4}, "passage_languages": {"de": 4}}
SAME = {**MONO, "kind": "same_language", "query_languages": {"de": 1, "en": 3}, "passage_languages": {"de": 1, "en": 3}}
CROSS = {"kind": "cross_lingual", "dataset": "b", "query_languages": {"de": 1, "en": 3}, "passage_languages": {"fr": 4}}
PAIRED = {**CROSS, "language_pairs": {"de": {"fr": 1}, "en": {"fr": 3}}}


def test_counts_are_those_of_the_log_up_to_the_step(tmp_path: Path):
    path = log(tmp_path, MONO, PAIRED, SAME, PAIRED, MONO)
    seen = read_seen(path, 4)
    assert seen is not None
    assert (seen.steps, seen.logged) == (4, 4)
    assert seen.batches == {"monolingual": 1, "cross_lingual": 2, "same_language": 1}
    assert seen.pairs == {"monolingual": 4, "cross_lingual": 8, "same_language": 4}
    assert seen.datasets == {
        ("a", "monolingual"): (1, 4),
        ("b", "cross_lingual"): (2, 8),
        ("a", "same_language"): (1, 4),
    }
    assert seen.languages == ["de", "en", "fr"]
    assert seen.language_pairs == {("de", "de"): 5, ("en", "en"): 3, ("de", "fr"): 2, ("en", "fr"): 6}
    assert seen.unpaired == 0


def test_a_log_without_pairs_says_how_many_are_unknown(tmp_path: Path):
    seen = read_seen(log(tmp_path, MONO, CROSS), 2)
    assert seen is not None
    assert seen.unpaired == 4
    assert seen.language_pairs == {("de", "de"): 4}
    assert (seen.queries["cross_lingual", "en"], seen.passages["cross_lingual", "fr"]) == (3, 4)


def test_a_cut_line_does_not_count_and_a_damaged_one_is_named(tmp_path: Path):
    path = log(tmp_path, MONO, CROSS)
    path.write_text(path.read_text() + json.dumps({"step": 2, **MONO})[:40])
    seen = read_seen(path, 9)
    assert seen is not None
    assert seen.logged == 2
    assert read_seen(tmp_path / "nothing.jsonl", 9) is None
    for damaged in (
        '{"step": 0}\n',
        "[]\n",
        "{\n",
        json.dumps({"step": 0, **MONO, "query_languages": {"de": "4"}}) + "\n",
    ):
        path.write_text(json.dumps({"step": 0, **MONO}) + "\n" + damaged)
        with pytest.raises(DataError, match=r"metrics.jsonl, line 2: not the record of a step .*: restore it"):
            read_seen(path, 9)
