"""The token table holds what tokenising each text would give, on the side that uses it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from hybrid_jax.data.records import Row
from hybrid_jax.data.store import Store
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.data.tokens import TokenTable, write_tokens

MakeStore = Callable[[Iterable[Row]], Store]
PROMPT = "w7 "
LIMIT = 6


@pytest.fixture(scope="module", params=[300, 70_000], ids=["16 bits", "32 bits"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """One id per word: w0 is 0, w1 is 1 and so on; padded with the last."""
    size = request.param
    words = {f"w{i}": i for i in range(size - 1)} | {"[PAD]": size - 1}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder)


def _store(make_store: MakeStore, vocab_size: int) -> Store:
    """Passages of 1 to 9 words, some of them with ids just below the vocabulary's end."""
    return make_store(
        Row(f"r{i}", "en", f"w{i}", " ".join(f"w{vocab_size - 2 - i * (n % 2)}" for n in range(1 + i % 9)))
        for i in range(40)
    )


def _table(store: Store, tokenizer: Tokenizer, folder: Path, side: str = "passage") -> tuple[TokenTable, np.ndarray]:
    texts = np.unique(store.entries[side])
    return write_tokens(store, texts, tokenizer, PROMPT, LIMIT, folder), texts


def test_the_table_equals_tokenising_directly(make_store: MakeStore, tokenizer: Tokenizer, tmp_path: Path):
    store = _store(make_store, tokenizer.vocab_size)
    table, texts = _table(store, tokenizer, tmp_path / "tokens")
    expected, cut = tokenizer.encode([PROMPT + store.texts[i] for i in texts], LIMIT)
    assert (table.texts, table.truncated) == (len(texts), cut)
    assert cut > 0
    assert table.lengths(texts).tolist() == [len(row) for row in expected]
    assert table.longest == max(map(len, expected))
    tokens = table.tokens(texts[::-1])
    assert tokens.dtype == np.int32
    assert tokens.tolist() == np.concatenate(expected[::-1]).tolist()
    assert table.tokens(texts[:0]).tolist() == []


def test_a_text_of_the_other_side_has_no_tokens(make_store: MakeStore, tokenizer: Tokenizer, tmp_path: Path):
    store = _store(make_store, tokenizer.vocab_size)
    table, texts = _table(store, tokenizer, tmp_path / "tokens", "query")
    unused = np.setdiff1d(np.arange(len(store.texts)), texts)
    assert len(unused)
    assert not table.lengths(unused).any()


def test_a_table_opened_again_is_the_same(make_store: MakeStore, tokenizer: Tokenizer, tmp_path: Path):
    store = _store(make_store, tokenizer.vocab_size)
    written, texts = _table(store, tokenizer, tmp_path / "tokens")
    opened = TokenTable(tmp_path / "tokens")
    assert np.array_equal(written.tokens(texts), opened.tokens(texts))
    assert (opened.texts, opened.truncated) == (written.texts, written.truncated)
