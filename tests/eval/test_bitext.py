"""Mining scores on cases worked out by hand, and their meaning on random ones."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from hybrid_jax.eval import bitext
from hybrid_jax.eval.measures.catalogue import BITEXT
from hybrid_jax.eval.tasks import BitextTask

# Left 0 and 1 both like right 0 best; right 0 likes left 0, and right 1 likes left 1.
SIMILARITY = np.array([[0.9, 0.1, 0.2], [0.8, 0.6, 0.2], [0.1, 0.2, 0.5]])


def unit(rng: np.random.Generator, rows: int, dim: int = 16) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_accuracy_and_weighted_f1_by_hand():
    assert bitext.accuracy(SIMILARITY).tolist() == [1, 0, 1]
    assert bitext.accuracy(SIMILARITY.T).tolist() == [1, 1, 1]
    # Right 0 was drawn twice, once rightly: 2/3. Right 1 never: 0. Right 2 once, rightly: 1.
    assert bitext.weighted_f1(SIMILARITY) == pytest.approx([2 / 3, 0, 1])
    assert bitext.weighted_f1(SIMILARITY.T).tolist() == [1, 1, 1]


def test_the_margin_rights_a_hub_by_hand():
    """With k = 2: the means are .55 .7 .35 on the left and .85 .4 .35 on the right."""
    margin = {(0, 0): 0.9 / 0.7, (1, 1): 0.6 / 0.55, (1, 0): 0.8 / 0.775, (2, 2): 0.5 / 0.35, (2, 1): 0.2 / 0.375}
    mined = bitext.mine(SIMILARITY, 2)
    assert mined.pairs.tolist() == [[2, 2], [0, 0], [1, 1]]
    assert mined.margins == pytest.approx([margin[2, 2], margin[0, 0], margin[1, 1]])
    assert bitext.best_f1(mined, 3) == pytest.approx((1.0, margin[1, 1]))


def test_the_best_threshold_by_hand():
    """Right, wrong, right, wrong: F1 after each is 2/5, 2/6, 4/7, 4/8 of 4 true pairs."""
    pairs = np.array([(0, 0), (1, 2), (3, 3), (2, 1)])
    best = bitext.best_f1(bitext.Mined(pairs, np.array([4.0, 3.0, 2.0, 1.0])), 4)
    assert best == pytest.approx((4 / 7, 2.0))
    # No threshold parts equal margins, so the third is not taken without the fourth.
    assert bitext.best_f1(bitext.Mined(pairs, np.array([4.0, 3.0, 1.0, 1.0])), 4) == pytest.approx((4 / 8, 1.0))
    assert bitext.best_f1(bitext.Mined(pairs[:0], np.zeros(0)), 4) == (0.0, 0.0)


def test_equal_embeddings_are_mined_perfectly_and_unrelated_ones_by_chance():
    rng = np.random.default_rng(0)
    same = unit(rng, 300)
    perfect = bitext.score(same, same)
    assert perfect.metrics == dict.fromkeys(BITEXT, 1.0)
    chance = bitext.score(same, unit(rng, 300))
    # 300 draws that succeed with probability 1/300 each: 8 successes or more happen once in 100,000 times.
    assert chance["accuracy_forward"] < 8 / 300
    assert chance["margin_f1"] < 16 / 300


def test_directions_swap_with_the_sides():
    rng = np.random.default_rng(1)
    left = unit(rng, 80)
    right = left + 0.35 * unit(rng, 80)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    one, other = bitext.score(left, right), bitext.score(right, left)
    for name in ("accuracy", "weighted_f1"):
        assert one[f"{name}_forward"] == other[f"{name}_backward"]
    assert one["accuracy"] == other["accuracy"]
    assert one["margin_f1"] == other["margin_f1"]
    # Every row is in one pair at most, and pairs come the best first.
    mined = bitext.mine(bitext.similarities(left, right))
    assert len(set(mined.pairs[:, 0].tolist())) == len(set(mined.pairs[:, 1].tolist())) == len(mined.pairs)
    assert (np.diff(mined.margins) <= 0).all()


def test_a_margin_without_a_positive_mean_proposes_nothing():
    assert len(bitext.mine(-np.eye(3)).pairs) == 0
    assert bitext.mine(np.eye(3), 1).pairs.tolist() == [[0, 0], [1, 1], [2, 2]]


class Words:
    """One axis per number in the text; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return np.eye(4, dtype=np.float32)[[int(text.split()[1]) for text in texts]]

    encode_passages = encode_queries


def test_a_task_is_the_mean_of_its_pairs_and_encodes_each_sentence_once():
    english, german = ("en 0", "en 1", "en 2", "en 3"), ("de 0", "de 1", "de 2", "de 3")
    mixed = ("sw 1", "sw 0", "sw 2", "sw 2")
    encoder, told = Words(), []
    task = BitextTask("made up", {("en", "de"): (english, german), ("en", "sw"): (english, mixed)})
    result = bitext.evaluate(encoder, task, report=told.append)
    assert encoder.asked == [list(english), list(german), ["sw 1", "sw 0", "sw 2"]]
    assert told == [1, 2]
    assert result.pairs["en-de"]["accuracy"] == 1.0
    # en 2 finds the first of two equal sentences; en 3 finds nothing and gets row 0.
    assert result.pairs["en-sw"]["accuracy_forward"] == 0.25
    assert result["accuracy_forward"] == (1 + 0.25) / 2
    assert (result.sentences, result.pairs["en-sw"].sentences) == (8, 4)


def test_both_sides_are_debiased_as_passages():
    """shift leaves queries as they are."""

    class Spy:
        def __init__(self) -> None:
            self.languages: list[str] = []

        def passages(self, vectors: np.ndarray, languages: Sequence[str] | None = None) -> np.ndarray:
            self.languages += set(languages or ())
            return vectors

        def queries(self, vectors: np.ndarray, languages: Sequence[str] | None = None) -> np.ndarray:
            raise AssertionError("a sentence is no query")

    spy = Spy()
    task = BitextTask("made up", {("en", "de"): (("en 0", "en 1"), ("de 0", "de 1"))})
    found = bitext.measure(Words(), task, {"shift": spy})
    assert spy.languages == ["en", "de"]
    assert found["shift"].result["accuracy"] == found[""].result["accuracy"]


def test_embeddings_must_have_norm_1():
    with pytest.raises(ValueError, match="right embedding 1 has norm 2"):
        bitext.similarities(np.eye(2, dtype=np.float32), np.diag([1, 2]).astype(np.float32))


def test_scores_by_sentence_and_by_csls_equal_dense_numpy():
    """Whole matrices: argmax of the cosine, and of 2 cos - r(x) - r(y) with the 10 nearest of the other side."""
    rng = np.random.default_rng(3)
    left = unit(rng, 60)
    noisy = {code: left + 0.9 * unit(rng, 60) for code in ("de", "sw")}
    sides = {
        code: (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for code, rows in noisy.items()
    }

    class Fixed:
        def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
            rows = {"en": left, **sides}[texts[0].split()[0]]
            return rows[[int(text.split()[1]) for text in texts]]

        encode_passages = encode_queries

    lines = {code: tuple(f"{code} {n}" for n in range(60)) for code in ("en", "de", "sw")}
    pairs = {("en", code): (lines["en"], lines[code]) for code in sides}
    results = bitext.measure(Fixed(), BitextTask("made up", pairs), csls=True)
    assert list(results) == ["", "csls"]
    for name, (result, table) in results.items():
        for code, right in sides.items():
            cosine = left.astype(np.float64) @ right.T.astype(np.float64)
            near = cosine
            if name:
                rows, columns = (np.sort(each, axis=1)[:, -10:].mean(axis=1) for each in (cosine, cosine.T))
                near = 2 * cosine - rows[:, None] - columns
            forward, backward = ((each.argmax(axis=1) == np.arange(60)) for each in (near, near.T))
            assert result.pairs[f"en-{code}"]["accuracy"] == pytest.approx((forward.mean() + backward.mean()) / 2)
            of_pair = np.array(table.languages) == f"en-{code}"
            np.testing.assert_array_equal(table.part("bitext")["accuracy_forward"][of_pair], forward)
        low, high = result.intervals["accuracy"]
        assert low < result["accuracy"] < high
        assert "margin_f1" not in result.intervals
        # English sentence n is the same in both pairs, so it is one draw with its translations.
        assert table.by_question("bitext", "accuracy").shape == (60, 2)
    assert results["csls"].result["margin_f1"] == results[""].result["margin_f1"]
    assert results["csls"].result["accuracy"] != results[""].result["accuracy"]


def test_a_line_is_one_question_in_all_pairs_of_languages():
    """Lines that are hard in all languages; a pair's interval is as wide as that of lines, not of sentence pairs."""
    rng, lines, languages = np.random.default_rng(5), 200, ("de", "en", "fr", "sw")
    base, noise = unit(rng, lines), np.where(rng.random(lines) < 0.5, 0.1, 2.0)[:, None]
    sides = {code: base + noise * unit(rng, lines) for code in languages}

    class Fixed:
        def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
            rows = sides[texts[0].split()[0]][[int(text.split()[1]) for text in texts]]
            return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

        encode_passages = encode_queries

    # German lacks line 0, so that the same place of two pairs is not the same line.
    numbers = {
        pair: [n for n in range(lines) if n or "de" not in pair] for pair in itertools.combinations(languages, 2)
    }
    pairs = {
        (left, right): ([f"{left} {n}" for n in kept], [f"{right} {n}" for n in kept])
        for (left, right), kept in numbers.items()
    }
    result, table = bitext.measure(Fixed(), BitextTask("parallel", pairs, lines=numbers))[""]
    rows = table.by_question("bitext", "accuracy")
    assert rows.shape == (lines, 6)
    assert np.isnan(rows).sum() == 3  # line 0 in the pairs with German
    expected = {(f"{left}-{right}", f"0:{n}") for (left, right), kept in numbers.items() for n in kept}
    assert set(zip(table.languages, table.ids, strict=True)) == expected
    apart = bitext.measure(Fixed(), BitextTask("apart", pairs))[""].result
    assert apart["accuracy"] == result["accuracy"]
    width, narrow = (high - low for low, high in (each.intervals["accuracy"] for each in (result, apart)))
    assert width > 1.2 * narrow
