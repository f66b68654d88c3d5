"""What is made once and kept: stores of rows, trained tokenizers, token tables.

Everything lies below a cache folder, in folders named by what they were made from, so that a second run with the same
files starts at once and changed files never meet old arrays. Knows: the cache's folders. Does not know: batches.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.fields import Repairs
from hybrid_jax.data.sources import BadRows, fingerprint, read_rows, resolve_kinds
from hybrid_jax.data.store import Store, write_store
from hybrid_jax.data.tokenizer import Tokenizer, TokenizerConfig, train_unigram
from hybrid_jax.data.tokens import TokenTable, write_tokens

CACHE_VERSION = 1
"""Part of every folder's name: raised when the meaning of what is kept changes."""

Report = Callable[[str], None]
"""Is told in one line each what is being made, as it can take minutes."""


def open_store(dataset: DatasetConfig, cache: Path, skip_bad_rows: bool, report: Report) -> Store:
    """The dataset's store, read from its source when the cache has none of the same content.

    Raises DataError at the first bad row, unless `skip_bad_rows`. `meta["notes"]` says what was skipped or repaired.
    """
    source = fingerprint(dataset)
    how = dataset.model_dump(include={"format", "languages", "lang", "ids"})
    folder = cache / "stores" / f"{dataset.name}-{_key(source, how, skip_bad_rows)}"
    kinds = resolve_kinds(dataset)
    if not folder.is_dir():
        report(f"reading {dataset.name} from {dataset.path}")
        bad, repairs = BadRows(skip_bad_rows), Repairs()

        def meta() -> dict[str, Any]:
            notes = [note for note in (bad.summary(), repairs.summary()) if note]
            return {"name": dataset.name, "source": source, "notes": notes}

        write_store(read_rows(dataset, bad, repairs), folder, meta)
    return Store(folder, kinds)


def open_tokenizer(config: TokenizerConfig, stores: Sequence[Store], cache: Path, report: Report) -> Tokenizer:
    """The configured tokenizer; without a path, a Unigram one trained on the stores' texts."""
    if config.path is not None:
        return Tokenizer(Path(config.path).expanduser(), config.lower_case)
    folder = cache / "tokenizers" / f"unigram-{_key([store.meta['source'] for store in stores], config.model_dump())}"
    if folder.is_dir():
        return Tokenizer(folder)
    report(f"training a Unigram tokenizer of {config.vocab_size:,} pieces on {config.training_characters:,} characters")
    return train_unigram(_sample(stores, config.training_characters), config.vocab_size, folder)


def open_tokens(
    store: Store, side: Literal["query", "passage"], tokenizer: Tokenizer, prompt: str, limit: int, report: Report
) -> TokenTable:
    """The token ids of all the store's texts of one side, hard negatives being passages."""
    folder = store.folder / f"{side}-{_key(tokenizer.digest, prompt, limit)}"
    if not folder.is_dir():
        used = store.entries[side][store.entries[side] >= 0]
        texts = np.unique(np.concatenate([used, store.negatives]) if side == "passage" else used)
        report(f"tokenising {len(texts):,} {side} texts of {store.meta['name']}")
        write_tokens(store, texts, tokenizer, prompt, limit, folder)
    return TokenTable(folder, tokenizer.pad_id)


def _sample(stores: Sequence[Store], characters: int) -> Iterator[str]:
    """Texts of about `characters` characters in all, in equal parts from every language as far as it has them.

    The texts of a language are taken in a fixed random order; long ones are cut to their first 500 characters.
    """
    by_language: dict[str, list[tuple[Store, np.ndarray]]] = {}
    for store in stores:
        for number, lang in enumerate(store.languages):
            entries = store.entries[store.entries["lang"] == number]
            texts = np.unique(np.concatenate([entries["query"], entries["passage"]]))
            by_language.setdefault(lang, []).append((store, texts[texts >= 0]))
    for lang in sorted(by_language):
        left = characters // len(by_language)
        parts = by_language[lang]
        order = np.random.default_rng(0).permutation(sum(len(texts) for _, texts in parts))
        owner = np.repeat(np.arange(len(parts)), [len(texts) for _, texts in parts])
        flat = np.concatenate([texts for _, texts in parts])
        for place in order:
            text = parts[owner[place]][0].texts[flat[place]][:500]
            left -= len(text)
            if left < 0:
                break
            yield text


def _key(*parts: Any) -> str:
    return sha256(json.dumps([CACHE_VERSION, *parts], sort_keys=True).encode()).hexdigest()[:16]
