"""The texts of datasets in one language as a corpus, for a teacher to encode: python -m hybrid_jax.data texts

A text's id is a hash of it. So a store of its corpus serves every config with the same texts, in whatever datasets,
and a text that was changed since is missed rather than given the vector of another one.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from hybrid_jax.data.digests import DIGEST_BYTES, DigestNumbers
from hybrid_jax.data.records import DataError
from hybrid_jax.data.store import Store
from hybrid_jax.disk.files import atomic_file


def text_digest(text: str) -> bytes:
    """16 bytes; as 32 hexadecimal digits, the text's id in a corpus."""
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def entries_in(store: Store, language: str) -> np.ndarray:
    """ENTRY[entries]: the store's entries in a language, none if it does not have it."""
    number = store.languages.index(language) if language in store.languages else -1
    return store.entries[store.entries["lang"] == number]


def write_texts(stores: Iterable[Store], language: str, path: Path) -> int:
    """Writes the distinct queries and passages (with their titles) in `language` as {"_id", "text"}, one per line.

    The file is gzip if its name ends in .gz, and appears complete or not at all. Returns the number of texts. Raises
    DataError if there are none.
    """
    count = 0
    with atomic_file(path) as file:
        stream = gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") if path.suffix == ".gz" else file
        for text in _distinct_texts(stores, language):
            line = json.dumps({"_id": text_digest(text).hex(), "text": text}, ensure_ascii=False)
            stream.write(f"{line}\n".encode())
            count += 1
        if not count:
            raise DataError(f"the datasets have no text in {language}: set distillation.language to one they have")
        if stream is not file:
            stream.close()
    return count


def _distinct_texts(stores: Iterable[Store], language: str) -> Iterator[str]:
    seen = DigestNumbers()
    for store in stores:
        entries = entries_in(store, language)
        texts = np.unique(np.concatenate([entries["query"], entries["passage"]]))
        for text in (store.texts[number] for number in texts[texts >= 0].tolist()):
            if seen.add(text.encode()).is_new:
                yield text
