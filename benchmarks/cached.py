"""Times batches beyond memory beside CachedMultipleNegativesRankingLoss, in turns: python -m benchmarks.cached

Ours is `microbatch_rows`: rows of packed texts that are encoded at a time. Texts, settings and timing are those of
benchmarks/training.py. Then ours with and without `microbatch_rows`, at a number of pairs that fits in memory whole.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

from benchmarks.common import compare, machine, ratio, take_turns, write_result
from benchmarks.models import NAMES, model_folder
from benchmarks.training import ours, peer, write_pairs


def main() -> None:
    """Prints every turn and the ratios; writes them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=NAMES, default="minilm")
    parser.add_argument("--pairs", type=int, default=1024, help="pairs of a step (default: 1024)")
    parser.add_argument(
        "--plain-pairs", type=int, default=128, help="pairs of the runs without; 0: no such runs (default: 128)"
    )
    parser.add_argument("--microbatch-rows", type=int, default=4, help="ours (default: 4)")
    parser.add_argument("--mini-batch", type=int, default=16, help="the peer's (default: 16; its own is 32)")
    parser.add_argument("--steps", type=int, default=4, help="steps of a turn, the first not measured (default: 4)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peer", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if options.steps < 3:
        parser.error("--steps: at least 3")
    header = machine()
    print(json.dumps(header))
    print(f"cached, {options.size}, {options.pairs} pairs", flush=True)
    steps, rows, skip = options.steps, options.microbatch_rows, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder)
        model = model_folder(options.size, folder)
        own, plain, chunks = "ours bfloat16", "plain", f"microbatch_rows {rows}"
        programs = {own: lambda: ours(folder, model, options.pairs, steps, "bfloat16", skip, rows)}
        for dtype in options.peer:
            programs[f"sentence-transformers {dtype}"] = lambda dtype=dtype: peer(
                folder, model, options.pairs, steps, dtype == "bfloat16", skip, options.mini_batch
            )
        turns = take_turns(programs, options.rounds)
        smaller = {
            chunks: lambda: ours(folder, model, options.plain_pairs, steps + 2, "bfloat16", skip, rows),
            plain: lambda: ours(folder, model, options.plain_pairs, steps + 2, "bfloat16", skip),
        }
        chunks_and_plain = {}
        if options.plain_pairs:
            print(f"ours, {options.plain_pairs} pairs, with and without", flush=True)
            chunks_and_plain = take_turns(smaller, options.rounds)
    for other in itertools.islice(turns, 1, None):
        print(compare(f"{own} against {other}", [t[:2] for t in turns[own]], [t[:2] for t in turns[other]]))
    if chunks_and_plain:
        cost = ratio([t.step for t in chunks_and_plain[chunks]], [t.step for t in chunks_and_plain[plain]])
        memory = ratio([t.gib for t in chunks_and_plain[chunks]], [t.gib for t in chunks_and_plain[plain]])
        print(
            f"ours, {options.plain_pairs} pairs: with microbatch_rows {cost.median:.2f} x the seconds of a step"
            f" ({cost.low:.2f}-{cost.high:.2f}), {memory.median:.2f} x the peak memory"
        )
    write_result(options.out, f"cached_{options.size}", header, vars(options), {**turns, **chunks_and_plain})


if __name__ == "__main__":
    main()
