"""The cache: stores of rows, trained tokenizers and token tables, each made once and then opened from disk.

Every folder's name contains a hash of what it was made from. So a second run on the same files starts at once, and
changed files never use old arrays. Each has a manifest, by which a damaged one is noticed and made again (verify.py).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.data.fields import Repairs
from hybrid_jax.data.records import DataError
from hybrid_jax.data.sources import BadRows, fingerprint, read_rows, resolve_kinds
from hybrid_jax.data.store import Store
from hybrid_jax.data.store_writer import write_store
from hybrid_jax.data.tokenizer import Tokenizer, TokenizerConfig, train_unigram
from hybrid_jax.data.tokens import TokenTable, write_tokens
from hybrid_jax.data.verify import is_ready

CACHE_VERSION = 3
"""Part of every folder's name: raised when the format or meaning of the cached files changes."""

Report = Callable[[str], None]
"""Called with a line of text before each part that is made, as that can take minutes."""


def open_store(dataset: DatasetConfig, cache: Path, skip_bad_rows: bool, report: Report) -> Store:
    """The dataset's store, which is made if the cache does not have it.

    Raises DataError at the first bad row, unless `skip_bad_rows`. The store's `meta["notes"]` say what was skipped or
    changed.
    """
    source = fingerprint(dataset)
    how = dataset.model_dump(include={"format", "columns", "languages", "lang", "ids"})
    folder = cache / "stores" / f"{dataset.name}-{_key(source, how, skip_bad_rows)}"
    kinds = resolve_kinds(dataset)
    if not is_ready(folder, report):
        report(f"reading {dataset.name} from {dataset.path}")
        bad_rows, repairs = BadRows(skip_bad_rows), Repairs()

        def meta() -> dict[str, Any]:
            if fingerprint(dataset) != source:
                raise DataError(f"{dataset.path} has changed while it was read: give the same command again")
            notes = [note for note in (bad_rows.summary(), repairs.summary()) if note]
            return {"name": dataset.name, "source": source, "notes": notes}

        write_store(read_rows(dataset, bad_rows, repairs), folder, meta)
    return Store(folder, kinds)


def open_tokenizer(config: TokenizerConfig, stores: Sequence[Store], cache: Path, report: Report) -> Tokenizer:
    """The tokenizer at the config's path; without a path, a Unigram tokenizer trained on the stores' texts."""
    if config.path is not None:
        return Tokenizer(Path(config.path).expanduser(), config.lower_case)
    # A store's folder is named by its files and by what was read of them, such as its languages.
    folder = cache / "tokenizers" / f"unigram-{_key([store.folder.name for store in stores], config.model_dump())}"
    if is_ready(folder, report):
        return Tokenizer(folder)
    most = f"{config.training_characters:,}"
    report(f"training a Unigram tokenizer of {config.vocab_size:,} pieces on up to {most} characters")
    return train_unigram(_sample(stores, config.training_characters), config.vocab_size, folder)


def open_tokens(
    store: Store, side: Literal["query", "passage"], tokenizer: Tokenizer, prompt: str, limit: int, report: Report
) -> TokenTable:
    """The token ids of all the store's queries, or of all its passages, hard negatives included."""
    folder = store.folder / f"{side}-{_key(tokenizer.digest, prompt, limit)}"
    if not is_ready(folder, report):
        used = store.entries[side][store.entries[side] >= 0]
        texts = np.unique(np.concatenate([used, store.negatives]) if side == "passage" else used)
        report(f"tokenising {len(texts):,} {side} texts of {store.meta['name']}")
        write_tokens(store, texts, tokenizer, prompt, limit, folder)
    return TokenTable(folder)


def _sample(stores: Sequence[Store], characters: int) -> Iterator[str]:
    """Texts with about `characters` characters in total, the same number from each language that has enough.

    A language's texts come in a fixed random order, each cut to its first 500 characters.
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
