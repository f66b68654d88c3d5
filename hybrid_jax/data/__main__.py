"""python -m hybrid_jax.data prepare|describe|preview|texts|leakage --config FILE [--data.cache_dir /scratch …]"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hybrid_jax.config import Config
    from hybrid_jax.data.batch import Batch
    from hybrid_jax.data.pipeline import Pipeline
    from hybrid_jax.data.prepare import Report
    from hybrid_jax.data.store import Store

COMMANDS = {
    "prepare": "read the datasets, train the tokenizer, tokenise: what training would do first, kept in its cache",
    "describe": "count each dataset's records, languages, pairs of languages and groups (tokenises nothing)",
    "texts": "write the queries and passages in distillation.language as a corpus, for a teacher to encode",
    "preview": "print the batches of some steps as a table, exactly as training will see them",
}
DESCRIPTION = """Shows what a config's data is made of, before anything is trained: JSON lines, CSV, TSV,
Parquet, Arrow, folders of Hugging Face datasets, datasets of its hub, SQuAD, TFDS and the demo. docs/data.md has the
formats, and says how to name columns.

Any field of the config can be overridden: --mixture.monolingual_fraction 0.3, --data.cache_dir /scratch/cache …
All fields with their values: COMMAND --help-config.

  python -m hybrid_jax.data leakage --config FILE --eval TASKS   what of an evaluation is in the training data"""


def main() -> int:
    if sys.argv[1:2] == ["leakage"]:  # it knows the tasks, which no other part of this room does
        from hybrid_jax.eval.leakage.command import main as leakage

        return leakage(sys.argv[2:])
    arguments, overrides = _parser().parse_known_args()
    from hybrid_jax.config import load_config, show_fields  # jax and all of it: not needed to answer --help

    command = {"prepare": _prepare, "describe": _describe, "preview": _preview, "texts": _texts}[arguments.command]
    prog = program(f"data {arguments.command}")
    try:
        refuse_addresses(arguments)
        if arguments.help_config:
            show_fields(arguments.config, overrides, prog)
        command(load_config(arguments.config, overrides, prog), arguments)
    except BrokenPipeError:  # `preview … | head`
        sys.stdout = None
        return 0
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was finished stays in the cache", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        program("data"),
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subparsers = {
        name: commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    working = "--help-config" not in sys.argv
    for command in subparsers.values():
        command.add_argument("--config", type=Path, required=working, help="a YAML file, such as configs/demo.yaml")
        command.add_argument("--skip-bad-rows", action="store_true", help="leave out bad rows, and list them")
        command.add_argument("--help-config", action="store_true", help="list every field of the config")
    subparsers["prepare"].add_argument(
        "--tfds",
        type=Path,
        metavar="OUT_DIR",
        help="also write each dataset as ArrayRecord below OUT_DIR, to be read as path tfds:FOLDER",
    )
    subparsers["preview"].add_argument(
        "--steps", type=_steps, default=range(20), metavar="FIRST:END", help="which steps, END left out (default: 0:20)"
    )
    subparsers["preview"].add_argument(
        "--texts", action="store_true", help="print each batch's first query and passage, as the model reads them"
    )
    subparsers["texts"].add_argument(
        "--out", type=Path, required=working, metavar="FILE", help="the corpus: JSON lines, gzip if it ends in .gz"
    )
    return parser


def _steps(text: str) -> range:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:END with FIRST below END, such as 100:120")
    return range(int(first), int(end))


def _prepare(config: "Config", arguments: argparse.Namespace) -> None:
    from hybrid_jax.data.sources import BadRows, prepare_tfds

    start = time.perf_counter()

    def say(line: str) -> None:
        print(f"[{time.perf_counter() - start:6.1f} s] {line}", flush=True)

    pipeline = _open(config, arguments, say)
    for name, store in pipeline.stores.items():
        languages = ", ".join(sorted(store.languages))
        say(f"{name}: {len(store.record_offsets) - 1:,} records, {len(store.entries):,} rows in {languages}")
    for note in pipeline.notes:
        say(note)
    tokenizer = pipeline.tokenizer
    say(f"tokenizer: {tokenizer.vocab_size:,} tokens, in {tokenizer.folder}")
    for dataset in config.data.datasets if arguments.tfds else ():
        folder = prepare_tfds(dataset, arguments.tfds, BadRows(arguments.skip_bad_rows))
        say(f"{dataset.name}: written as ArrayRecord, read it as path tfds:{folder}")
    say(f"prepared, in {config.data.cache_dir}")


def _describe(config: "Config", arguments: argparse.Namespace) -> None:
    from hybrid_jax.data.describe import describe

    for i, store in enumerate(_stores(config, arguments)):
        print("\n".join([*([""] if i else []), *describe(store, config.data.heldout_fraction)]))


def _texts(config: "Config", arguments: argparse.Namespace) -> None:
    from hybrid_jax.data.texts import write_texts

    language = config.distillation.language
    count = write_texts(_stores(config, arguments), language, arguments.out)
    print(f"{count:,} distinct texts in {language} in {arguments.out}")
    print(f"next: python -m hybrid_jax.eval embed --ckpt TEACHER --corpus {arguments.out} --out STORE --dtype float16")


def _stores(config: "Config", arguments: argparse.Namespace) -> "Iterator[Store]":
    from hybrid_jax.data.prepare import open_store
    from hybrid_jax.data.records import DataError

    if not config.data.datasets:
        raise DataError("data.datasets is empty: name at least one dataset in the config")
    cache = Path(config.data.cache_dir).expanduser()
    for dataset in config.data.datasets:
        yield open_store(dataset, cache, arguments.skip_bad_rows, _to_stderr)


def _preview(config: "Config", arguments: argparse.Namespace) -> None:
    from hybrid_jax.data.describe import preview

    pipeline = _open(config, arguments, _to_stderr)
    print("\n".join(preview(pipeline.batch(step) for step in arguments.steps)))
    for step in arguments.steps if arguments.texts else ():
        print("\n".join(_first_pair(pipeline, pipeline.batch(step))))


def _first_pair(pipeline: "Pipeline", batch: "Batch") -> list[str]:
    import numpy as np

    query, passage = (pipeline.tokenizer.decode(batch.tokens(np.array([n])).tolist()) for n in (0, len(batch.ids)))
    languages = f"{batch.query_languages[0]} -> {batch.passage_languages[0]}"
    return [f"step {batch.plan.step}, {batch.ids[0]}, {languages}", f"  {query}", f"  {passage}"]


def _open(config: "Config", arguments: argparse.Namespace, report: "Report") -> "Pipeline":
    from hybrid_jax.data.pipeline import Pipeline

    return Pipeline(config.data, config.mixture, config.batch_size, config.seed, arguments.skip_bad_rows, report)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
