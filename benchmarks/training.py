"""Times training beside sentence-transformers' trainer and plain PyTorch: python -m benchmarks.training [--size small]

Ours is the ordinary `python -m hybrid_jax.train`, timed from outside by the lines of metrics.jsonl as they appear.
Real German, Spanish and Vietnamese pairs of $HYBRID_JAX_DATA; queries <= 64 (ours) and passages <= 256 tokens; dropout
.1 and huge pages on both sides. Ours begins its first turn with nothing prepared or compiled (cold).

    small       4 layers x 256, 32,000 rows of vocabulary, random weights
    minilm      6 layers x 384, all-MiniLM-L6-v2
    xlmr-base   12 layers x 768, 250,002 rows of vocabulary, random weights
"""

import argparse
import gzip
import itertools
import json
import os
import random
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import (
    HUGE_PAGES,
    LOG_COMPILES,
    compare,
    compiled_programs,
    last_json,
    machine,
    python,
    run_child,
    take_turns,
    write_result,
)
from benchmarks.models import NAMES, model_folder

LANGUAGES = ("de", "es", "vi")
MOST_PROGRAMS = 3


class Turn(NamedTuple):
    """One run: median seconds a step, peak GiB, seconds to the end of the first step, what it says of its rows."""

    step: float
    gib: float
    first: float
    programs: int
    rows: str


def write_pairs(folder: Path) -> None:
    """Writes the shuffled rows as rows.jsonl (ours) and as pairs.jsonl (the peer's)."""
    source = Path(os.environ.get("HYBRID_JAX_DATA", "../shared/data")) / "train/qa_parallel_mlqa_test.jsonl.gz"
    if not source.exists():
        sys.exit(f"no {source}: set HYBRID_JAX_DATA to the folder of the training data")
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["lang"] in LANGUAGES]
    rows = [row for row in rows if row["question"] and row["passage"]]
    if not rows:
        sys.exit(f"{source} has no row with a passage in {LANGUAGES}: name languages that it has in LANGUAGES")
    random.Random(0).shuffle(rows)
    dump = lambda row: json.dumps(row, ensure_ascii=False) + "\n"  # noqa: E731
    (folder / "rows.jsonl").write_text("".join(map(dump, rows)), encoding="utf-8")
    pairs = ({"query": row["question"], "passage": row["passage"]} for row in rows)
    (folder / "pairs.jsonl").write_text("".join(map(dump, pairs)), encoding="utf-8")


def data_settings(folder: Path, cache: Path) -> dict[str, object]:
    """The config's `data` for rows.jsonl."""
    return {
        "datasets": [{"name": "qa", "path": str(folder / "rows.jsonl"), "ids": "line", "kinds": ["monolingual"]}],
        "max_query_length": 64,
        "max_passage_length": 256,
        "cache_dir": str(cache),
    }


def ours(
    folder: Path, model: Path, batch: int, steps: int, dtype: str, skip: int, microbatch_rows: int | None = None
) -> Turn:
    """One run of hybrid_jax.train; its caches are kept for the next one with the same dtype."""
    config, work = folder / "config.json", Path(tempfile.mkdtemp(dir=folder))
    settings = {
        "steps": steps,
        "batch_size": batch,
        "pretrained": str(model),
        "data": data_settings(folder, folder / f"cache_{model.name}_{dtype}"),
        "mixture": {"monolingual_fraction": 1.0},
        "model": {"encoder": {"dropout": 0.1, "attention_dropout": 0.1, "dtype": dtype}},
        "optimizer": {"learning_rate": 2e-5, "warmup_steps": 0},
        "microbatch_rows": microbatch_rows,
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    at: list[float] = []

    def watch(seconds: float) -> None:
        log = work / "metrics.jsonl"
        lines = log.read_bytes().count(b"\n") if log.exists() else 0
        at.extend([seconds] * (lines - len(at)))

    arguments = ("-m", "hybrid_jax.train", "--config", str(config), "--workdir", str(work), "--skip-bad-rows")
    child = run_child(python(*arguments), environment=LOG_COMPILES, watch=watch)
    if child.status or len(at) < skip + 2:
        sys.exit(f"hybrid_jax.train: status {child.status}, {len(at)} steps:\n{child.output[-2000:]}")
    programs = compiled_programs(child.output, "train_step")
    if not 1 <= programs <= MOST_PROGRAMS:
        sys.exit(f"hybrid_jax.train compiled its step {programs} times, not 1 to {MOST_PROGRAMS}")
    rows = re.search(r"rows of .* of positions are text", child.output)
    seconds = [b - a for a, b in itertools.pairwise(at)][skip:]
    return Turn(statistics.median(seconds), child.peak_gib, at[0], programs, rows[0] if rows else "")


def peer(folder: Path, model: Path, batch: int, steps: int, bf16: bool, skip: int, mini_batch: int = 0) -> Turn:
    """One run of sentence-transformers' trainer; with a `mini_batch`, of its cached loss."""
    numbers = (str(steps), str(batch), str(int(bf16)))
    arguments = (str(model), str(folder / "pairs.jsonl"), *numbers, str(folder / "st"), str(mini_batch))
    return _finished("sentence-transformers", python("benchmarks/st_train.py", *arguments), skip)


def plain_torch(folder: Path, model: Path, batch: int, steps: int, bf16: bool, skip: int) -> Turn:
    """One run of the loop in plain PyTorch."""
    arguments = (str(model), str(folder / "pairs.jsonl"), str(steps), str(batch), str(int(bf16)))
    return _finished("plain torch", python("benchmarks/torch_train.py", *arguments), skip)


def _finished(name: str, command: list[str], skip: int) -> Turn:
    """The turn of a child that prints its seconds."""
    child = run_child(command, environment=HUGE_PAGES)
    if child.status:
        sys.exit(f"{name}: status {child.status}:\n{child.output[-2000:]}")
    result = last_json(child.output)
    padded = f"padded: {result['text']:.0%} of positions are text"
    return Turn(statistics.median(result["seconds"][skip:]), child.peak_gib, result["first"], 0, padded)


def main() -> None:
    """Prints every turn and the ratios; writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=NAMES, default="minilm")
    parser.add_argument("--batch", type=int, default=32, help="pairs of a step (default: 32)")
    parser.add_argument("--steps", type=int, default=14, help="steps of a turn (default: 14)")
    parser.add_argument("--skip", type=int, default=2, help="first steps that are not measured (default: 2)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ours", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--peer", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--torch", nargs="*", choices=("float32", "bfloat16"), default=[], help="plain PyTorch, too")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if options.steps < options.skip + 2:
        parser.error(f"--steps {options.steps}: at least {options.skip + 2}, or a lower --skip")
    header = machine()
    print(json.dumps(header))
    print(f"training, {options.size}, {options.batch} pairs", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder)
        run = (folder, model_folder(options.size, folder), options.batch, options.steps)
        mine = {f"ours {dtype}": lambda dtype=dtype: ours(*run, dtype, options.skip) for dtype in options.ours}
        theirs = {
            f"sentence-transformers {dtype}": lambda dtype=dtype: peer(*run, dtype == "bfloat16", options.skip)
            for dtype in options.peer
        } | {
            f"plain torch {dtype}": lambda dtype=dtype: plain_torch(*run, dtype == "bfloat16", options.skip)
            for dtype in options.torch
        }
        turns = take_turns(_alternating(mine, theirs), options.rounds)
    for own in mine:
        first = [f"{turn.first:.1f}" for turn in turns[own]]
        print(f"{own}: first step after {first[0]} s cold, {first[-1] if len(first) > 1 else '-'} s warm;", end=" ")
        print(f"{max(turn.programs for turn in turns[own])} programs; {turns[own][0].rows}")
    for other in theirs:
        print(f"{other}: first step after {statistics.median(turn.first for turn in turns[other]):.1f} s;", end=" ")
        print(turns[other][0].rows)
    for own, other in itertools.product(mine, theirs):
        print(compare(f"{own} against {other}", [t[:2] for t in turns[own]], [t[:2] for t in turns[other]]))
    write_result(options.out, f"training_{options.size}_{options.batch}", header, vars(options), turns)


def _alternating(mine: dict, theirs: dict) -> dict:
    """Ours, the peer's, ours, …: neighbours in time are then compared."""
    pairs = itertools.zip_longest(mine.items(), theirs.items())
    return dict(item for pair in pairs for item in pair if item is not None)


if __name__ == "__main__":
    main()
