"""python -m hybrid_jax.data leakage --config FILE --eval xquad_r,mlqa_r: is the evaluation in the training data?"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hybrid_jax.data.overlap import SHARE
from hybrid_jax.disk.addresses import refuse_address, refuse_addresses
from hybrid_jax.disk.files import write_text
from hybrid_jax.runtime.program import program

CLEAN, LEAKED, FAILED = 0, 1, 2
"""Exit statuses."""
DESCRIPTION = """Looks for every query and candidate of the tasks in the training data, in every language.

  exact        the same characters, white space around them aside
  normalised   the same but for case, punctuation, symbols, Unicode form and white space
  partial      more than SHARE of its shingles occur in training, all training texts together; a shingle is 10 words, or
               24 characters in scripts that are written without spaces; a text without one is counted as short

A text is counted once, in the first kind that applies. Training data are queries, passages and negatives. Of a pool
that is searched (beir, miracl) only the relevant candidates are looked for.

The exit status is 0 when nothing is found, 1 when something is, 2 when the check could not be made."""


def main(words: Sequence[str]) -> int:
    """The command. Returns the exit status."""
    arguments = _parser().parse_args(words)
    say, warn = partial(print, flush=True), partial(print, file=sys.stderr, flush=True)
    try:
        refuse_addresses(arguments)
        for path in arguments.train or ():
            refuse_address(path, "--train")
        return _check(arguments, say, warn)
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        warn(f"error: {error}")
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        program("data leakage"),
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    training = parser.add_mutually_exclusive_group(required=True)
    training.add_argument("--config", type=Path, nargs="+", metavar="FILE", help="the training data: their datasets")
    training.add_argument("--train", nargs="+", metavar="PATH", help="the training data: files, in formats we read")
    parser.add_argument("--eval", required=True, metavar="TASK,…", help="tasks, as in python -m hybrid_jax.eval")
    parser.add_argument("--data-dir", type=Path, help="where the tasks' official files lie (default: as in eval)")
    parser.add_argument(
        "--share", type=_share, default=SHARE, help="a text with more than this is partly leaked (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result to FILE")
    parser.add_argument("--skip-bad-rows", action="store_true", help="leave out bad rows, and list them")
    return parser


def _check(arguments: argparse.Namespace, say: Callable[[str], None], warn: Callable[[str], None]) -> int:
    from hybrid_jax.config import load_config  # imports jax, which --help does not need
    from hybrid_jax.data.dataset import DatasetConfig
    from hybrid_jax.data.sources import BadRows
    from hybrid_jax.eval.job import open_tasks
    from hybrid_jax.eval.leakage.check import check

    if arguments.config:
        datasets = [dataset for file in arguments.config for dataset in load_config(file).data.datasets]
        datasets = [dataset for i, dataset in enumerate(datasets) if dataset not in datasets[:i]]
    else:
        datasets = [DatasetConfig(name=f"train-{n}", path=path) for n, path in enumerate(arguments.train, start=1)]
    if not datasets:
        raise ValueError(f"{arguments.config[0]}: data.datasets is empty: name at least one dataset in the config")
    started = time.perf_counter()
    bad_rows = BadRows(arguments.skip_bad_rows)
    opened = open_tasks(arguments.eval, arguments.data_dir, warn)
    result = check(
        [task for group in opened.values() for task in group],
        datasets,
        bad_rows,
        arguments.share,
        lambda line: warn(f"[{time.perf_counter() - started:6.1f} s] {line}"),
    )
    if bad_rows.count:
        warn(bad_rows.summary())
    if arguments.json:
        write_text(arguments.json, result.model_dump_json(indent=2) + "\n")
    say("\n".join([*result.table(), *result.examples(), result.sentence()]))
    return LEAKED if result.leaked else CLEAN


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to below 1, such as 0.5")
    return share
