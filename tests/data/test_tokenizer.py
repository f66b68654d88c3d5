"""The fast path gives the ids that transformers gives, and a folder that cannot be used says what it lacks."""

import json
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from pydantic import ValidationError

from hybrid_jax.data.corpora import demo
from hybrid_jax.data.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerConfig, train_unigram

ODD_TEXTS = ["", " ", "  two  spaces\tand\na line ", "ﬁ ① Ａ", "never seen: ꙮ 🦜", "</s> as text", "x" * 300, "ก" * 300]

TRAINING = """
import json, sys
from pathlib import Path
from hybrid_jax.data.tokenizer import train_unigram
print(train_unigram(json.load(sys.stdin), 2000, Path(sys.argv[1])).digest)
"""


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Questions and passages of the demo corpus in its 11 languages."""
    rows = list(demo.rows("heldout"))[: 40 * 11]
    assert len({row.lang for row in rows}) == 11
    return [text for row in rows for text in (row.query, row.passage) if text]


@pytest.fixture(scope="session")
def trained(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_unigram(texts, 2000, tmp_path_factory.mktemp("tokenizers") / "unigram")


def _word_level(folder: Path, pad: str, config: dict[str, object] | None = None) -> Path:
    """A folder with a tokenizer of three words, `pad` being the first."""
    model = tokenizers.models.WordLevel({pad: 0, "one": 1, "two": 2, "[UNK]": 3}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("max_length", [8, 64])
def test_ids_are_those_of_transformers(trained: Tokenizer, texts: list[str], max_length: int):
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(trained.folder)
    every = texts + ODD_TEXTS
    ids, cut = trained.encode(every, max_length)
    assert [row.tolist() for row in ids] == slow(every, truncation=True, max_length=max_length)["input_ids"]
    whole = slow(every)["input_ids"]
    assert cut == sum(len(row) > max_length for row in whole)
    assert cut > 0
    assert (trained.pad_id, trained.vocab_size) == (slow.pad_token_id, len(slow))


def test_texts_come_back_from_their_ids(trained: Tokenizer, texts: list[str]):
    ids, cut = trained.encode(texts, 512)
    assert cut == 0
    assert [trained.decode(row.tolist()) for row in ids] == [unicodedata.normalize("NFKC", text) for text in texts]


def test_threads_that_share_a_tokenizer_get_their_own_lengths(trained: Tokenizer, texts: list[str], tmp_path: Path):
    """Queries and passages have limits of their own, `parts` and what is saved have none."""

    def longest(limit: int) -> int:
        return max(map(len, trained.encode(texts, limit)[0]))

    def saved(name: int) -> str:
        trained.save(tmp_path / str(name))
        return (tmp_path / str(name) / "tokenizer.json").read_text(encoding="utf-8")

    whole, file = trained.parts(texts), saved(0)
    assert longest(64) > 16
    with ThreadPoolExecutor(4) as pool:
        for number in range(8):
            short, longer = pool.submit(longest, 4), pool.submit(longest, 16)
            parts, written = pool.submit(trained.parts, texts), pool.submit(saved, number)
            assert (short.result(), longer.result()) == (4, 16)
            assert parts.result() == whole
            assert written.result() == file


def test_a_copy_of_a_tokenizer_gives_the_same_ids(trained: Tokenizer, texts: list[str]):
    copy = deepcopy(trained)
    np.testing.assert_equal(copy.encode(texts[:9], 8), trained.encode(texts[:9], 8))


def test_a_trained_tokenizer_begins_with_the_special_tokens(trained: Tokenizer):
    vocabulary = json.loads((trained.folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert [piece for piece, _ in vocabulary[:4]] == SPECIAL_TOKENS
    assert trained.vocab_size <= 2000
    (ids,), _ = trained.encode(["word"], 16)
    assert (ids[0], ids[-1], ids.dtype) == (0, 2, np.int32)


def test_training_again_gives_the_same_tokenizer(trained: Tokenizer, texts: list[str], tmp_path: Path):
    """In this process and another: the trainer's hash tables are seeded anew each time."""
    assert train_unigram(texts, 2000, tmp_path / "again").digest == trained.digest
    elsewhere = subprocess.run(
        [sys.executable, "-c", TRAINING, str(tmp_path / "elsewhere")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert elsewhere.stdout.strip() == trained.digest, elsewhere.stderr
    assert train_unigram(texts[:300], 2000, tmp_path / "less").digest != trained.digest


def test_pieces_are_sorted_by_score(trained: Tokenizer):
    vocabulary = json.loads((trained.folder / "tokenizer.json").read_text())["model"]["vocab"][4:]
    scores = [score for _, score in vocabulary]
    assert scores == sorted(scores, reverse=True)
    assert len({piece for piece, _ in vocabulary}) == len(vocabulary)


def test_a_saved_tokenizer_is_the_same(trained: Tokenizer, tmp_path: Path):
    trained.save(tmp_path / "run" / "tokenizer")
    copy = Tokenizer(tmp_path / "run" / "tokenizer")
    assert (copy.digest, copy.pad_id) == (trained.digest, trained.pad_id)


def test_scores_are_read_to_the_last_digit(tmp_path: Path):
    """`tokenizers` reads numbers of 17 digits nearly right, which is not enough for pieces that are equally likely."""
    scores = -20 * np.random.default_rng(0).random(500)
    vocab = [("<pad>", 0.0), ("<unk>", 0.0), *((f"w{number}", float(score)) for number, score in enumerate(scores))]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocab, unk_id=1))
    (tmp_path / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"})
    )
    Tokenizer(tmp_path).save(tmp_path / "saved")
    Tokenizer(tmp_path / "saved").save(tmp_path / "again")
    kept = json.loads((tmp_path / "again" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [tuple(entry) for entry in kept] == vocab
    careless = json.loads(tokenizers.Tokenizer.from_str(made.to_str()).to_str())["model"]["vocab"]
    assert [tuple(entry) for entry in careless] != vocab  # or else this test could not fail


def test_padding_and_truncation_of_the_file_do_not_count(tmp_path: Path):
    tokenizer = Tokenizer(_word_level(tmp_path / "words", "[PAD]"))
    ids, cut = tokenizer.encode(["one two one two", "two"], 3)
    assert [row.tolist() for row in ids] == [[1, 2, 1], [2]]
    assert cut == 1


def test_the_padding_token_is_the_one_that_the_folder_names(tmp_path: Path):
    added = {"__type": "AddedToken", "content": "two"}
    for name, config in {"text": {"pad_token": "two"}, "object": {"pad_token": added}}.items():
        assert Tokenizer(_word_level(tmp_path / name, "[PAD]", config)).pad_id == 2
    assert Tokenizer(_word_level(tmp_path / "unnamed", "[PAD]", {})).pad_id == 0


def test_a_padding_token_that_the_folder_does_not_name_is_named_in_what_is_saved(tmp_path: Path):
    bare = Tokenizer(_word_level(tmp_path / "words", "[PAD]"))
    bare.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["pad_token"] == "[PAD]"
    saved = Tokenizer(tmp_path / "saved")
    assert (saved.pad_id, saved.digest) == (bare.pad_id, bare.digest)
    text = "one [PAD] two[PAD]"
    assert saved.encode([text], 9)[0][0].tolist() == bare.encode([text], 9)[0][0].tolist() == [1, 0, 2, 0]


def test_options_that_are_called_like_tokens_are_none(tmp_path: Path):
    """`add_bos_token: true` is no token called "True", also where the vocabulary has that word."""
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "two", "add_bos_token": True}
    tokenizer = Tokenizer(_word_level(tmp_path / "words", "True", config))
    assert tokenizer.special == {"pad_token": 2}
    tokenizer.save(tmp_path / "saved")
    assert "True" not in (tmp_path / "saved" / "tokenizer_config.json").read_text()


def test_a_folder_without_a_padding_token_says_where_to_name_one(tmp_path: Path):
    with pytest.raises(ValueError, match=r"words: no padding token: set 'pad_token' in its tokenizer_config\.json"):
        Tokenizer(_word_level(tmp_path / "words", "zero"))


def test_a_folder_without_a_fast_tokenizer_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer\.json: give a Hugging Face tokenizer folder"):
        Tokenizer(tmp_path)


def test_lower_case_needs_the_folder_of_a_tokenizer():
    assert TokenizerConfig(path="somewhere", lower_case=True).lower_case
    with pytest.raises(ValidationError, match="a trained one keeps case: set path, or leave it out"):
        TokenizerConfig(lower_case=True)
