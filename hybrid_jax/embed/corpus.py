"""A corpus encoded to disk, once: python -m hybrid_jax.eval embed --ckpt RUN_OR_MODEL --corpus FILE --out STORE

Knows: corpora as JSON lines, what makes two encoders the same. Does not know: the store's files (`store.py`).
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_jax.data.jsonl import read_objects
from hybrid_jax.data.records import DataError
from hybrid_jax.embed.model_options import add_checkpoint, add_model, load_asked
from hybrid_jax.embed.store import Document, Manifest, Recipe, write_store
from hybrid_jax.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    from hybrid_jax.embed.encoder import TextEncoder

ID_KEYS = ("_id", "docid", "id")

DESCRIPTION = """Encodes a corpus into a folder of embeddings that may be larger than memory: read as blocks by exact
search (hybrid_jax.search.top_k.top_k), or by faiss. Started again after a kill, it goes on with the shard it was at; a
damaged shard is encoded anew; with another model, corpus or setting it refuses.

A corpus is JSON lines, plain or gzip, {"_id" or "docid" or "id": ..., "title": ..., "text": ...}, in the order of the
files; a title is put before its text with a space between (as BEIR and MIRACL do)."""

EXAMPLE = """example:

  python -m hybrid_jax.eval embed --ckpt runs/hybrid --corpus miracl-de/docs-*.jsonl.gz --out miracl-de.store \\
      --dtype float16

Approximate search is faiss's (pip install faiss-cpu); the number that it finds is a row, store.ids() names the rows:

  store = EmbeddingStore(Path("miracl-de.store"))          # from hybrid_jax.embed.store
  index = faiss.index_factory(store.dim, "HNSW32", faiss.METRIC_INNER_PRODUCT)
  for block in store.blocks():
      index.add(block)"""


def main(arguments: list[str]) -> int:
    """The command: prints a line per shard, or one line that says what is wrong. Returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m hybrid_jax.eval embed",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_checkpoint(parser)
    parser.add_argument("--corpus", required=True, nargs="+", type=Path, metavar="FILE", help="corpus.jsonl[.gz] ...")
    parser.add_argument("--out", required=True, type=Path, metavar="STORE", help="the store's folder")
    parser.add_argument("--side", choices=("passages", "queries"), default="passages", help="encode the texts as these")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="how numbers are stored; what a smaller type does to scores is measured and printed (default: float32)",
    )
    parser.add_argument(
        "--rows-per-shard", type=int, default=65_536, metavar="N", help="what a kill can lose (default: 65536)"
    )
    add_model(parser)
    asked = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        return _embed(asked)
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        sys.stderr.write(f"error: {error}\n")
        return 1


def documents(files: Iterable[Path]) -> Iterator[Document]:
    """(id, text) of every row of the files, in order; raises DataError at the first bad one."""
    for path in files:
        for line, row in read_objects(path, _stop):
            name = next((row[key] for key in ID_KEYS if key in row), None)
            if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
                raise DataError(f"{path}:{line}: no id (one of {', '.join(ID_KEYS)}, text or a whole number): add one")
            title, text = row.get("title") or "", row.get("text")
            if not isinstance(title, str) or not isinstance(text, str):
                key, value = ("title", title) if not isinstance(title, str) else ("text", text)
                raise DataError(f'{path}:{line}: "{key}" is {value!r}, expected a string: correct the line')
            yield str(name), f"{title} {text}" if title else text


def identity(encoder: "TextEncoder") -> dict[str, Any]:
    """What tells two encoders apart, wherever their folders lie: all that decides the embedding of a text."""
    import jax
    import numpy as np

    digest = sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(encoder.parameters):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.asarray(leaf).tobytes())
    return {
        "parameters_sha256": digest.hexdigest(),
        "tokenizer_sha256": encoder.tokenizer.digest,
        "architecture": encoder.model.model_dump(mode="json"),
        "texts": asdict(encoder.rules),
    }


def _embed(asked: argparse.Namespace) -> int:
    if asked.rows_per_shard < 1:
        raise ValueError(f"--rows-per-shard {asked.rows_per_shard}: give 1 or more")
    encoder = load_asked(asked)
    recipe = Recipe(model=identity(encoder), side=asked.side, dtype=asked.dtype, rows_per_shard=asked.rows_per_shard)
    start = time.perf_counter()

    def report(manifest: Manifest) -> None:
        seconds = time.perf_counter() - start
        _say(sys.stdout, f"{len(manifest.shards)} shards, {manifest.rows:,} rows, {seconds:.0f} s")

    encode = encoder.encode_queries if asked.side == "queries" else encoder.encode_passages
    store = write_store(asked.out, documents(asked.corpus), encode, recipe, encoder.origin.stated(), report)
    loss = store.manifest.loss
    if loss is not None:
        _say(
            sys.stdout,
            f"{asked.dtype} against float32, {loss.queries} rows searched among {loss.rows}: scores differ by at most "
            f"{loss.max_score_error:.2g}, {loss.top_10_overlap:.2%} of the ten best are the same",
        )
    _say(sys.stdout, f"{len(store):,} rows of {store.dim} numbers in {asked.out}")
    return 0


def _say(file: Any, line: str) -> None:
    file.write(line + "\n")
    file.flush()


def _stop(error: DataError) -> None:
    raise error
