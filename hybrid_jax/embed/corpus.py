"""Encodes a corpus to disk: python -m hybrid_jax.eval embed --ckpt RUN_OR_MODEL --corpus FILE --out STORE

Reads the corpus from JSON lines; the store's files are written by `store_writer.py`.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from hybrid_jax.data.documents import check_unique_ids, read_documents
from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.disk.without_torch import leave_torch_out
from hybrid_jax.embed.model_options import add_checkpoint, add_model, load_from_options
from hybrid_jax.embed.store_format import Manifest, Recipe
from hybrid_jax.embed.store_writer import Document, write_store
from hybrid_jax.runtime.allocator import keep_freed_memory
from hybrid_jax.runtime.processes import add_distributed, joined
from hybrid_jax.runtime.program import program

DESCRIPTION = """Encodes a corpus into a folder of embeddings that may be larger than memory: read as blocks by exact
search (hybrid_jax.search.top_k.top_k), or by faiss. Started again after a kill, it goes on with the shard it was at; a
damaged shard is encoded again; with another model, corpus or setting it refuses.

A corpus is JSON lines, plain or gzip, {"_id" or "docid" or "id": ..., "title": ..., "text": ...}, in the order of the
files; a title is put before its text with a space between (as BEIR and MIRACL do). It is read once before anything is
encoded: a bad line, and an id that occurs twice, are refused."""

EXAMPLE = """example:

  python -m hybrid_jax.eval embed --ckpt runs/hybrid --corpus miracl-de/docs-*.jsonl.gz --out miracl-de.store \\
      --dtype float16

Approximate search is left to faiss (pip install faiss-cpu). It returns row numbers; store.ids() names the rows:

  store = EmbeddingStore(Path("miracl-de.store"))          # from hybrid_jax.embed.store
  index = faiss.index_factory(store.dim, "HNSW32", faiss.METRIC_INNER_PRODUCT)
  for block in store.blocks():
      index.add(block)"""


def main(arguments: list[str]) -> int:
    """Runs the command: prints a line per shard, or an error in one line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        program("eval embed"),
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
    add_distributed(parser)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    leave_torch_out()
    try:
        refuse_addresses(options)
        with joined(options.distributed):
            return _embed(options)
    except (ValueError, OSError) as error:  # errors that the parts raise for the user, and a full disk
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on with the shard that it was at\n")
        return 128 + signal.SIGINT


def texts_of(files: Iterable[Path]) -> Iterator[Document]:
    """Yields (id, text) for every line of the files, in order. Raises DataError at the first bad line."""
    for document in read_documents(files):
        yield document.id, f"{document.title} {document.text}" if document.title else document.text


def _embed(options: argparse.Namespace) -> int:
    from hybrid_jax.embed.together import leading, leads, wait_for_leader  # imports jax, which --help does not need

    if options.rows_per_shard < 1:
        raise ValueError(f"--rows-per-shard {options.rows_per_shard}: give 1 or more")
    if not leads():
        wait_for_leader()
        load_from_options(options).follow()
        return 0
    check_unique_ids(options.corpus)
    with leading():
        return _write(options)


def _write(options: argparse.Namespace) -> int:
    from hybrid_jax.embed.identity import embedding_identity

    encoder = load_from_options(options)
    recipe = Recipe(
        model=embedding_identity(encoder),
        side=options.side,
        dtype=options.dtype,
        rows_per_shard=options.rows_per_shard,
    )
    start = time.perf_counter()

    def report(manifest: Manifest) -> None:
        seconds = time.perf_counter() - start
        _say(f"{len(manifest.shards)} shards, {manifest.rows:,} rows, {seconds:.0f} s")

    encode = encoder.encode_queries if options.side == "queries" else encoder.encode_passages
    store = write_store(options.out, texts_of(options.corpus), encode, recipe, encoder.origin.stated(), report)
    loss = store.manifest.loss
    if loss is not None:
        _say(
            f"{options.dtype} against float32, {loss.queries} rows searched among {loss.rows}: scores differ by at "
            f"most {loss.max_score_error:.2g}, {loss.top_10_overlap:.2%} of the ten best are the same"
        )
    _say(f"{len(store):,} rows of {store.dim} numbers in {options.out}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
