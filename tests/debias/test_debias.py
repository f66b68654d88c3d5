"""Debiasing: values by hand, what each method promises, LSAR as its authors have it, files, and what is gained."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.methods import METHODS, Debiaser, DebiasError, Method, parse_methods
from hybrid_jax.eval.measures.embedding_space import language_probe
from hybrid_jax.eval.measures.metrics import average_precision, rank_rows
from hybrid_jax.search.ranks import rank_relevant

LANGUAGES = ("ar", "de", "en", "th")
DIM = 24


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def texts(meanings: int, seed: int, wording: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Unit vectors of the same meanings in four languages, their languages and records: language + meaning + noise.

    The languages are the same for every `seed`, the meanings for every `wording`.
    """
    offset = np.random.default_rng(0).normal(scale=3, size=(len(LANGUAGES), 1, DIM))
    meaning = np.random.default_rng(seed).normal(size=(meanings, DIM))
    noise = np.random.default_rng([seed, wording]).normal(scale=0.1, size=(len(LANGUAGES), meanings, DIM))
    languages = [name for name in LANGUAGES for _ in range(meanings)]
    vectors = unit((offset + meaning + noise).reshape(-1, DIM))
    return vectors, languages, [str(number) for _ in LANGUAGES for number in range(meanings)]


def fitted(method: Method, **how) -> Debiaser:
    vectors, languages, records = texts(300, seed=1)
    return fit(method, vectors, languages, parallel=records, **how)


SMALL = np.array([[0.6, 0.8, 0], [1, 0, 0], [0, 0.6, 0.8], [0, 0, 1]], np.float32)
"""Two vectors of de and two of en; means (.8, .4, 0) and (0, .3, .9)."""
SMALL_LANGUAGES = ["de", "de", "en", "en"]


def test_centering_by_hand():
    actual = fit("center", SMALL, SMALL_LANGUAGES)
    np.testing.assert_allclose(actual.offsets, [[0.8, 0.4, 0], [0, 0.3, 0.9]], rtol=0, atol=1e-7)
    half = np.sqrt(0.5)  # (1, 0, 0) - (.8, .4, 0) = (.2, -.4, 0); (0, .8, .6) - (0, .3, .9) = (0, .5, -.3)
    expected = [[1 / np.sqrt(5), -2 / np.sqrt(5), 0], [0, 5 / np.sqrt(34), -3 / np.sqrt(34)]]
    given = np.array([[1, 0, 0], [0, 0.8, 0.6]], np.float32)
    for side in (actual.queries, actual.passages):
        np.testing.assert_allclose(side(given, ["de", "en"]), expected, rtol=0, atol=1e-6)
    crossed = actual.passages(np.array([[0, half, half]], np.float32), ["de"])
    np.testing.assert_allclose(crossed, unit(np.array([[-0.8, half - 0.4, half]])), rtol=0, atol=1e-6)


def test_lir_by_hand():
    """de is x and y: x^T x = diag(9, 1) / 10 at right angles to z, so its leading direction is (1, 0, 0)."""
    vectors = np.array([[0.9**0.5, 0.1**0.5, 0], [0.9**0.5, -(0.1**0.5), 0], [0, 0, 1]], np.float32)
    actual = fit("lir", vectors, ["de", "de", "en"])
    assert actual.facts.rank == 1
    moved = actual.queries(np.array([[0.6, 0, 0.8], [0.6, 0, 0.8]], np.float32), ["de", "en"])
    np.testing.assert_allclose(moved, [[0, 0, 1], [1, 0, 0]], rtol=0, atol=1e-6)


def test_shift_by_hand():
    """en: (0, 0, 1), (0, .6, .8); de: their translations less (0, 0, .2) and less (-1, .6, -.2), and one text more."""
    vectors = np.array([[0, 0, 1], [0, 0.6, 0.8], [0, 0, 0.8], [1, 0, 1], [5, 5, 5]], np.float64)
    languages, records = ["en", "en", "de", "de", "de"], ["a", "b", "a", "b", "other"]
    actual = fit("shift", vectors, languages, parallel=records, alpha=0.5)
    assert actual.facts.pairs == {"de": 2}
    np.testing.assert_allclose(actual.offsets, [[0.25, -0.15, 0], [0, 0, 0]], rtol=0, atol=1e-12)
    moved = actual.passages(np.array([[1, 0, 0], [1, 0, 0]], np.float32), ["de", "en"])
    np.testing.assert_allclose(moved, [unit(np.array([[0.75, 0.15, 0]]))[0], [1, 0, 0]], rtol=0, atol=1e-6)
    # Of few translations: the difference of the means, (2, 5/3, 34/15) - (0, .3, .9).
    few = fit("shift", vectors, languages, parallel=["a", "b", "a", "other", "more"])
    assert few.facts.pairs == {"de": 0}
    np.testing.assert_allclose(few.offsets[0], [2, 5 / 3 - 0.3, 6.8 / 3 - 0.9], rtol=0, atol=1e-12)


def test_lsar_by_hand():
    """The means differ by (.8, .1, -.9) alone: that direction goes, whatever the language."""
    actual = fit("lsar", SMALL, SMALL_LANGUAGES)
    direction = np.array([0.8, 0.1, -0.9]) / np.sqrt(1.46)
    np.testing.assert_allclose(actual.matrix, np.eye(3) - np.outer(direction, direction), rtol=0, atol=1e-6)
    moved = actual.passages(SMALL)
    np.testing.assert_allclose(moved, unit(SMALL @ actual.matrix), rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved @ direction, 0, rtol=0, atol=1e-6)


def lsar_as_published(means: np.ndarray, rank: int) -> np.ndarray:
    """The basis [dim, rank] of means [dim, languages] by the steps of the authors' code (arXiv 2401.05792)."""
    ones = np.ones((1, means.shape[1]))
    shared = means.mean(axis=1, keepdims=True)
    left, size, right = np.linalg.svd(means - shared @ ones, full_matrices=False)
    best = shared @ ones + left[:, :rank] * size[:rank] @ right[:rank]
    shared = np.linalg.pinv(best).T @ ones.T
    shared /= (shared**2).sum()
    return np.linalg.svd(best - shared @ ones, full_matrices=False)[0][:, :rank]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lsar_is_that_of_its_authors(rank: int):
    vectors, languages, _ = texts(300, seed=1)
    means = np.stack([vectors[np.array(languages) == name].astype(np.float64).mean(axis=0) for name in LANGUAGES], 1)
    basis = lsar_as_published(means, rank)
    actual = fit("lsar", vectors, languages, rank=rank)
    np.testing.assert_allclose(actual.matrix, np.eye(DIM) - basis @ basis.T, rtol=0, atol=1e-9)


def test_the_source_language_and_all_queries_stay_as_they_are_under_shift():
    vectors, languages, _ = texts(20, seed=2)
    actual = fitted("shift")
    np.testing.assert_array_equal(actual.queries(vectors), vectors)
    english = np.array(languages) == "en"
    moved = actual.passages(vectors, languages)
    np.testing.assert_allclose(moved[english], vectors[english], rtol=0, atol=1e-7)
    assert np.abs(moved[~english] - vectors[~english]).max() > 0.1


def test_parallel_texts_shift_by_the_difference_of_their_means():
    """What a language of which all texts are paired gets is what it gets without any names of records."""
    vectors, languages, records = texts(50, seed=1)
    paired, unpaired = fit("shift", vectors, languages, parallel=records), fit("shift", vectors, languages)
    others = [name for name in LANGUAGES if name != "en"]
    assert paired.facts.pairs == dict.fromkeys(others, 50)
    assert unpaired.facts.pairs == dict.fromkeys(others, 0)
    np.testing.assert_allclose(paired.offsets, unpaired.offsets, rtol=0, atol=1e-12)


def test_a_centered_language_has_mean_0():
    vectors, languages, _ = texts(300, seed=1)
    actual = fitted("center")
    for number, name in enumerate(actual.languages):
        left = vectors[np.array(languages) == name].astype(np.float64) - actual.offsets[number]
        np.testing.assert_allclose(left.mean(axis=0), 0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3])
def test_lir_removes_the_leading_directions_and_no_others(rank: int):
    vectors, languages, _ = texts(300, seed=1)
    actual = fitted("lir", rank=rank)
    for name in LANGUAGES:
        language_vectors = vectors[np.array(languages) == name].astype(np.float64)
        directions = np.linalg.svd(language_vectors, full_matrices=False)[2]
        moved = actual.passages(unit(language_vectors), [name] * len(language_vectors))
        np.testing.assert_allclose(moved @ directions[:rank].T, 0, rtol=0, atol=1e-6)
        kept = unit(directions[rank:])
        np.testing.assert_allclose(actual.passages(kept, [name] * len(kept)), kept, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["lir", "lsar"])
def test_projections_are_idempotent(method: Method):
    vectors, languages, _ = texts(30, seed=3)
    actual = fitted(method)
    once = actual.passages(vectors, languages)
    np.testing.assert_allclose(actual.passages(once, languages), once, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_is_moved_the_same_in_any_company(method: Method):
    vectors, languages, _ = texts(30, seed=3)
    actual = fitted(method)
    order = np.random.default_rng(4).permutation(len(vectors))
    for side in (actual.queries, actual.passages):
        together = side(vectors, languages)
        assert together.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=0, atol=1e-6)
        shuffled = side(vectors[order], [languages[row] for row in order])
        np.testing.assert_allclose(shuffled, together[order], rtol=0, atol=1e-7)
        alone = np.concatenate([side(vectors[row : row + 1], languages[row : row + 1]) for row in range(len(vectors))])
        np.testing.assert_allclose(alone, together, rtol=0, atol=1e-7)
        assert side(vectors[:0], []).shape == (0, DIM)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_fitting_texts_does_not_matter(method: Method):
    vectors, languages, records = texts(60, seed=1)
    order = np.random.default_rng(4).permutation(len(vectors))
    one = fit(method, vectors, languages, parallel=records)
    names = [[values[row] for row in order] for values in (languages, records)]
    other = fit(method, vectors[order], names[0], parallel=names[1])
    np.testing.assert_allclose(one.passages(vectors, languages), other.passages(vectors, languages), rtol=0, atol=1e-6)


def pooled_map(queries: np.ndarray, candidates: np.ndarray, languages: list[str], records: list[str]) -> float:
    """A query's relevant candidates are all translations of its record."""
    names = np.array(records)
    relevance = np.argwhere(names[:, None] == names)
    ranks = rank_relevant(queries, candidates, relevance, languages, records)
    return float(average_precision(rank_rows(relevance[:, 0], ranks.pooled)).mean())


@pytest.mark.parametrize("method", METHODS)
def test_pooled_retrieval_gains_on_texts_that_were_not_fitted(method: Method):
    candidates, languages, records = texts(40, seed=5)
    queries = texts(40, seed=5, wording=1)[0]
    actual = fitted(method)
    raw = pooled_map(queries, candidates, languages, records)
    after = pooled_map(actual.queries(queries, languages), actual.passages(candidates, languages), languages, records)
    assert after > raw + 0.2, f"mAP {raw:.3f} -> {after:.3f}"


def test_lsar_hides_the_language_from_a_linear_probe_and_keeps_the_meaning():
    vectors, languages, records = texts(200, seed=6)
    label = np.array([LANGUAGES.index(name) for name in languages])
    parallel = np.array(records, np.int64)
    moved = fitted("lsar").passages(vectors)
    assert language_probe(vectors, label, parallel) > 0.95
    assert language_probe(moved, label, parallel) < 0.4  # chance is 0.25
    arabic, german, *_ = moved.reshape(len(LANGUAGES), -1, DIM)
    assert ((arabic @ german.T).argmax(axis=1) == np.arange(200)).mean() > 0.98


def test_only_lsar_is_linear():
    assert [name for name in METHODS if fitted(name).linear] == ["lsar"]
    with pytest.raises(DebiasError, match="center moves each language in its own way and is no matrix: use lsar"):
        _ = fitted("center").matrix


@pytest.mark.parametrize("method", METHODS)
def test_tasks_may_spell_languages_in_their_own_way(method: Method):
    vectors, actual = texts(1, seed=2)[0], fitted(method)
    expected = actual.passages(vectors, ["ar", "de", "en", "th"])
    np.testing.assert_array_equal(actual.passages(vectors, ["arb_Arab", "deu", "eng_Latn", "th-TH"]), expected)


@pytest.mark.parametrize("method", ["center", "lir", "shift"])
def test_an_unknown_language_is_named(method: Method):
    vectors = texts(1, seed=2)[0]
    actual = fitted(method)
    told = rf"{method} was not fitted on language 'fr' \(but on ar, de, en, th\): add texts in it to --debias-text"
    with pytest.raises(DebiasError, match=told):
        actual.passages(vectors, ["ar", "fr", "en", "fr"])
    with pytest.raises(DebiasError, match="needs the language of each of 4 vectors, got none: give one each"):
        actual.passages(vectors)
    with pytest.raises(DebiasError, match="needs the language of each of 4 vectors, got 1"):
        actual.passages(vectors, ["ar"])
    lsar = fitted("lsar")
    np.testing.assert_array_equal(lsar.passages(vectors, ["fr"] * 4), lsar.passages(vectors))


def test_what_cannot_be_applied_is_one_line():
    with pytest.raises(DebiasError, match="fitted on vectors of 24 numbers, these have 3: fit it on this model"):
        fitted("shift").queries(SMALL)
    center = fit("center", SMALL, SMALL_LANGUAGES)
    nothing = center.offsets[:1].astype(np.float32)
    with pytest.raises(
        DebiasError, match=r"passage 1: center leaves nothing of its vector \(norm .*\): leave the text"
    ):
        center.passages(np.concatenate([SMALL[:1], nothing]), ["de", "de"])
    with pytest.raises(DebiasError, match=r"query 0: center leaves nothing of its vector \(norm nan\)"):
        center.queries(np.full((1, 3), np.nan, np.float32), ["de"])


@pytest.mark.parametrize(
    ("method", "languages", "how", "told"),
    [
        ("lsar", ["de"] * 4, {}, "lsar cannot be fitted on texts in de alone: give texts in more"),
        ("shift", ["de", "de", "fr", "fr"], {}, "no texts in it (but in de, fr): add some to --debias-text"),
        ("shift", SMALL_LANGUAGES, {"alpha": 1.5}, "shift with alpha 1.5: choose a number above 0, up to 1"),
        ("lir", SMALL_LANGUAGES, {"rank": 3}, "lir cannot remove 3 directions: vectors have 3 numbers and de has 2"),
        ("lir", SMALL_LANGUAGES, {"rank": 0}, "lir cannot remove 0 directions"),
        ("lsar", SMALL_LANGUAGES, {"rank": 2}, "the means of 2 languages differ in 1: choose a rank from 1 to 1"),
        ("center", ["de"], {}, "4 vectors, 1 languages and no names of records: match them"),
        ("center", SMALL_LANGUAGES, {"parallel": ["a"]}, "4 vectors, 4 languages and 1 names of records: match them"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(method: Method, languages: list[str], how: dict, told: str):
    with pytest.raises(DebiasError) as caught:
        fit(method, SMALL, languages, **how)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_languages_that_are_alike_and_numbers_that_are_none_are_refused():
    with pytest.raises(DebiasError, match="lsar finds nothing to remove: the means of 2 languages are the same"):
        fit("lsar", SMALL[[0, 1, 0, 1]], SMALL_LANGUAGES)
    with pytest.raises(DebiasError, match="a number that is not finite"):
        fit("center", np.full_like(SMALL, np.nan), SMALL_LANGUAGES)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_one_gives_the_same_vectors(method: Method, tmp_path: Path):
    vectors, languages, _ = texts(10, seed=7)
    one = fitted(method)
    one = replace(one, facts=one.facts.model_copy(update={"text_sha256": "abc", "model": {"step": 80}}))
    path = tmp_path / "deep" / f"debias-{method}.npz"
    one.save(path)
    other = Debiaser.load(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (other.name, other.languages, other.linear) == (one.name, one.languages, one.linear)
    assert other.facts == one.facts
    assert other.facts.languages == dict.fromkeys(LANGUAGES, 300)
    assert other.summary() == one.summary()
    for side in ("queries", "passages"):
        np.testing.assert_array_equal(
            getattr(other, side)(vectors, languages), getattr(one, side)(vectors, languages), strict=True
        )


def test_the_summary_says_what_it_is():
    assert fitted("lsar").summary() == "lsar (rank 3), fitted on 300 texts in each of 4 languages"
    assert fitted("center").summary() == "center, fitted on 300 texts in each of 4 languages"
    uneven = fit("shift", SMALL[[0, 1, 2]], ["de", "de", "en"])
    assert uneven.summary() == "shift (alpha 1.0, source en), fitted on 1 to 2 texts in each of 2 languages"


def test_files_that_are_none_of_ours_are_refused(tmp_path: Path):
    path = tmp_path / "debias.npz"
    fitted("lir").save(path)
    whole = path.read_bytes()

    def told() -> str:
        with pytest.raises(DebiasError) as caught:
            Debiaser.load(path)
        message = str(caught.value)
        assert "\n" not in message
        assert message.endswith("write it again (python -m hybrid_jax.eval … --debias)")
        return message

    for damaged in (whole[:-40], whole[:100], b"", b"no zip at all"):
        path.write_bytes(damaged)
        assert f"{path}: damaged" in told()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    assert f"{path}: damaged" in told()
    with np.load(_written(path, whole)) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "bases": arrays["bases"] * 2})
    assert "damaged (numbers that no fit gives)" in told()
    np.savez(path, **{**arrays, "offsets": arrays["offsets"][:1]})
    assert "for 4 maps" in told()
    np.savez(path, **{**arrays, "offsets": arrays["offsets"].astype(np.float32)})
    assert "float32 and float64 instead of float64" in told()
    np.savez(path, **{**arrays, "header": np.frombuffer(b'{"schema_version": 2}', np.uint8)})
    assert "its header is not one of ours (schema_version" in told()
    np.savez(path, **{name: values for name, values in arrays.items() if name != "bases"})
    assert "damaged (KeyError" in told()
    np.savez(path, **{**arrays, "header": np.array([{}], dtype=object)}, allow_pickle=True)
    assert "damaged (ValueError" in told()
    path.unlink()
    assert f"no file {path}" in told()


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_names_of_methods():
    assert parse_methods("lsar, center") == ("center", "lsar")
    assert get_args(Method) == METHODS
    with pytest.raises(DebiasError, match="'pca' is unknown: choose from center, lir, shift, lsar"):
        parse_methods("center,pca")
    with pytest.raises(DebiasError, match="'lir' is named twice"):
        parse_methods("lir,lir")
    with pytest.raises(DebiasError, match="'' is unknown"):
        parse_methods("")
