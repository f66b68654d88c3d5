"""The texts a debiasing is fitted on: none of the evaluation, translations together, whatever the order of lines."""

import gzip
import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.methods import METHODS
from hybrid_jax.debias.texts import all_texts, fit_all, read_text
from hybrid_jax.embed.identity import model_identity
from hybrid_jax.embed.load import load
from hybrid_jax.eval.job import fit_debiasing
from hybrid_jax.eval.opened import languages_and_texts
from hybrid_jax.eval.tasks import BitextTask

WORDS = {"de": "Haus Nummer", "en": "house number", "es": "casa número"}


def write(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


def plain(count: int = 60, start: int = 0) -> list[dict[str, Any]]:
    """Lines of {"lang", "text", "id"}, one record in three languages."""
    numbers = range(start, start + count)
    return [{"id": n, "lang": lang, "text": f"{words} {n}"} for n in numbers for lang, words in WORDS.items()]


def test_translations_are_chosen_together(tmp_path: Path):
    actual = read_text([write(tmp_path / "texts.jsonl", plain(200))], set(), 70)
    assert list(actual.texts) == ["de", "en", "es"]
    assert {len(texts) for texts in actual.texts.values()} == {70}
    assert actual.ids["de"] == actual.ids["en"] == actual.ids["es"]
    for lang, texts in actual.texts.items():
        assert texts == tuple(f"{WORDS[lang]} {record}" for record in actual.ids[lang])
    assert actual.left_out == 0


def test_the_order_of_lines_and_files_does_not_matter(tmp_path: Path):
    lines = plain(200)
    shuffled = [lines[row] for row in np.random.default_rng(0).permutation(len(lines))]
    one = read_text([write(tmp_path / "one.jsonl", lines)], set(), 70)
    parts = [write(tmp_path / "b.jsonl.gz", shuffled[:300]), write(tmp_path / "a.jsonl", shuffled[300:])]
    other = read_text(parts, set(), 70)
    assert one == other
    assert one.sha256 == other.sha256
    assert one.sha256 != read_text(parts, set(), 71).sha256
    # The file's name and the number of a line are no part of a pair of sentences either.
    pairs = [{"l1": "de", "s1": f"Haus {n}", "l2": "en", "s2": f"house {n}"} for n in range(100)]
    first, last = write(tmp_path / "first.jsonl", pairs), write(tmp_path / "last.jsonl", pairs[::-1])
    assert read_text([first], set(), 60) == read_text([last], set(), 60)


def test_every_shape_of_lines_gives_its_passages(tmp_path: Path):
    numbers = range(50)
    shapes = {
        "aligned": [
            {"id": n, "lang": lang, "query": f"{words}?", "passage": f"{words} {n}"}
            for n in numbers
            for lang, words in WORDS.items()
        ],
        "qa": [
            {"id": n, "lang": lang, "question": f"{words} {n}", "passage": None}  # then the question
            for n in numbers
            for lang, words in WORDS.items()
        ],
        "bitext": [{"id": f"r{n}", **{lang: f"{words} {n}" for lang, words in WORDS.items()}} for n in numbers],
        "pairs": [
            {"l1": one, "s1": f"{WORDS[one]} {n}", "l2": other, "s2": f"{WORDS[other]} {n}"}
            for n in numbers
            for one, other in (("de", "en"), ("es", "en"))
        ],
        "text": [{"lang": lang, "text": f" {words} {n}\n"} for n in numbers for lang, words in WORDS.items()],
    }
    expected = {lang: {f"{words} {n}" for n in numbers} for lang, words in WORDS.items()}
    for name, records in shapes.items():
        actual = read_text([write(tmp_path / f"{name}.jsonl", records)], set())
        assert {lang: set(texts) for lang, texts in actual.texts.items()} == expected, name


def test_a_text_counts_once(tmp_path: Path):
    twice = [{"id": f"again {n}", "lang": "de", "text": "Haus Nummer 7"} for n in range(100)]
    actual = read_text([write(tmp_path / "texts.jsonl", plain(50) + twice)], set())
    assert len(set(actual.texts["de"])) == len(actual.texts["de"]) == 50


def test_texts_of_the_evaluation_and_their_translations_are_left_out(tmp_path: Path):
    path = write(tmp_path / "texts.jsonl", plain(60))
    actual = read_text([path], {" Haus Nummer 7\n", "house number 8", "house number", "elsewhere"})
    assert actual.left_out == 6
    for lang, words in WORDS.items():
        assert set(actual.texts[lang]) == {f"{words} {n}" for n in range(60) if n not in (7, 8)}


def test_a_text_of_the_evaluation_is_known_however_it_must_be_cleaned(tmp_path: Path):
    """Control characters become spaces in the file's texts; the evaluation's texts keep them, as published."""
    lines = plain(60)
    changed = {"Haus Nummer 7": "Haus\x07Nummer 7\x00", "house number 8": "house\x1bnumber 8"}
    for line in lines:
        line["text"] = changed.get(line["text"], line["text"])
    path = write(tmp_path / "texts.jsonl", lines)
    task = BitextTask("flores", {("de", "en"): (("Haus\x07Nummer 7\x00", "eins"), ("seven", "house number\x7f8"))})
    languages, shared = languages_and_texts({"flores": (task,)}, all_texts([path]))
    assert languages == {"de", "en"}
    assert shared == {"Haus Nummer 7", "house number 8"}
    for avoid in (shared, {text for side in task.pairs["de", "en"] for text in side}):
        actual = read_text([path], avoid)
        assert actual.left_out == 6
        for lang, words in WORDS.items():
            assert set(actual.texts[lang]) == {f"{words} {n}" for n in range(60) if n not in (7, 8)}


def test_only_the_languages_that_are_asked_for(tmp_path: Path):
    path = write(tmp_path / "texts.jsonl", [*plain(60), {"lang": "th", "text": "บ้าน"}])
    assert list(read_text([path], set(), languages={"en", "de"}).texts) == ["de", "en"]
    with pytest.raises(DataError, match=r"too few texts to fit on: 1 in th, and 50 are needed \(0 are left out"):
        read_text([path], set())
    with pytest.raises(DataError, match=r"texts.jsonl: too few texts to fit on: 0 in fr, and 50 .*--debias-text"):
        read_text([path], set(), languages=["fr", "en"])
    with pytest.raises(DataError, match=r"47 in de, 47 in en, 47 in es, and 50 are needed \(39 are left out because"):
        read_text([path], {f"house number {n}" for n in range(13)}, languages=WORDS)


def test_what_cannot_be_read_is_one_line_with_its_place(tmp_path: Path):
    def told(records: list[dict[str, Any]], per_language: int = 60) -> str:
        with pytest.raises(DataError) as caught:
            read_text([write(tmp_path / "bad.jsonl", records)], set(), per_language)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "bad.jsonl:2: 'text' must be a text, got int 3" in told([plain()[0], {"lang": "de", "text": 3}])
    assert "bad.jsonl:2: 'lang': unknown language code 'qqq'" in told([plain()[0], {"lang": "qqq", "text": "x"}])
    assert "bad.jsonl:1: no texts with their language (format tevatron, keys query, pos): write" in told(
        [{"query": "x", "pos": ["y"]}]
    )
    assert "no texts with their language (format unknown, keys text): write lines of" in told([{"text": "x"}])
    assert "--debias-texts-per-language 49: give 50 or more" in told(plain(), 49)
    with pytest.raises(DataError, match=r"nowhere.jsonl: cannot be read"):
        read_text([tmp_path / "nowhere.jsonl"], set())
    with pytest.raises(DataError, match="no file: no text to fit on: name more texts with --debias-text"):
        read_text([], set())


def test_all_methods_are_fitted_on_the_passages_vectors(tiny_run, tmp_path: Path):
    encoder = load(tiny_run.folder)
    words = ["Haus Baum Fluss Stadt", "house tree river town", "casa árbol río ciudad"]
    lines = [
        {"id": number, "lang": lang, "text": " ".join(text)}
        for lang, expected_values in zip(WORDS, words, strict=True)
        for number, text in enumerate(product(expected_values.split(), repeat=3))
    ]
    actual = read_text([write(tmp_path / "texts.jsonl", lines)], set())
    made = fit_all(encoder, METHODS, actual)
    assert list(made) == list(METHODS)
    vectors = np.concatenate([encoder.encode_passages(texts) for texts in actual.texts.values()])
    languages = [lang for lang, texts in actual.texts.items() for _ in texts]
    records = [record for ids in actual.ids.values() for record in ids]
    for name in METHODS:
        alone = fit(name, vectors, languages, parallel=records)
        np.testing.assert_allclose(
            made[name].passages(vectors, languages), alone.passages(vectors, languages), rtol=0, atol=1e-5
        )
        assert made[name].facts.text_sha256 == actual.sha256
        assert made[name].facts.model == model_identity(encoder.origin)
    assert made["shift"].facts.pairs == {"de": 64, "es": 64}


def test_texts_are_found_for_tasks_that_spell_languages_in_their_own_way(tiny_run, tmp_path: Path):
    task = BitextTask("flores", {("eng_Latn", "deu_Latn"): (("one", "two"), ("eins", "zwei"))})
    file = write(tmp_path / "texts.jsonl", plain())
    made = fit_debiasing(load(tiny_run.folder), ("shift",), [file], 50, {"flores": (task,)})
    assert made["shift"].languages == ("de", "en")


def test_models_have_identities(tiny_run):
    run = load(tiny_run.folder)
    earlier = load(tiny_run.folder, step=60)
    again = load(tiny_run.folder, step=80)
    assert model_identity(run.origin) == model_identity(again.origin)
    assert model_identity(run.origin) != model_identity(earlier.origin)
    changed = run.origin.model_copy(update={"config": {**(run.origin.config or {}), "seed": 4}})
    assert model_identity(changed) != model_identity(run.origin)
