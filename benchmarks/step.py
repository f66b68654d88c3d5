"""Times one training step with and without the forms for a CPU, in turns: python -m benchmarks.step

all-MiniLM-L6-v2's size with random weights (seed 0), 32 queries and 32 passages of random lengths in rows of 256
tokens, AdamW: the step of `hybrid_jax.train` without its data. Each turn is a new process.

    plain    every operation as on a GPU: `kernels.on_cpu` says no
    forms    the forms for a CPU of `model/kernels.py`
    huge     these forms, and huge pages (`runtime/allocator.py`)
"""

import argparse
import json
import statistics
import sys
from typing import NamedTuple

from benchmarks.common import HUGE_PAGES, last_json, machine, python, run_child, take_turns

ARMS = {"plain": {"GLIBC_TUNABLES": ""}, "forms": {"GLIBC_TUNABLES": ""}, "huge": HUGE_PAGES}


class Turn(NamedTuple):
    """Median seconds of a step, and peak GiB of its process."""

    seconds: float
    gib: float


def measure(arm: str, dtype: str, rate: float, steps: int) -> None:
    """Runs the steps in this process, and prints the seconds of each but the first."""
    from hybrid_jax.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    import numpy as np

    from benchmarks.one_step import make_step, random_batch, time_steps
    from hybrid_jax.model import kernels
    from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, put_batch

    if arm == "plain":
        kernels.on_cpu = lambda: False
    sizes = {"vocab_size": 30_522, "hidden_size": 384, "num_layers": 6, "num_heads": 12, "intermediate_size": 1536}
    encoder = {**sizes, "dropout": rate, "attention_dropout": rate, "dtype": dtype}
    mesh = make_mesh(MeshConfig())
    step, state = make_step(encoder, mesh, steps)
    # 32 queries of about 19 tokens and 32 passages of about 180, at most 256: the lengths of MLQA's texts.
    random = np.random.default_rng(0)
    lengths = np.concatenate([random.poisson(19, 32), np.minimum(random.gamma(9, 20, 32).astype(int), 256)])
    batch = put_batch(mesh, random_batch(random, lengths, 30_000, 256, None, mesh.size))
    _, seconds = time_steps(step, state, batch, steps)
    sys.stdout.write("\n" + json.dumps({"seconds": seconds[1:]}) + "\n")


def turn(arm: str, dtype: str, rate: float, steps: int) -> Turn:
    """One process."""
    arguments = ("--arm", arm, "--dtype", dtype, "--dropout", str(rate), "--steps", str(steps))
    child = run_child(python("-m", "benchmarks.step", *arguments), environment=ARMS[arm])
    if child.status:
        sys.exit(f"{arm}: status {child.status}:\n{child.output[-2000:]}")
    return Turn(statistics.median(last_json(child.output)["seconds"]), child.peak_gib)


def main() -> None:
    """Prints every turn, and a table of medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.1])
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        return measure(options.arm, options.dtype[0], options.dropout[0], options.steps)
    print(json.dumps(machine()))
    cases = [(arm, dtype, rate) for dtype in options.dtype for rate in options.dropout for arm in ARMS]
    turns = take_turns({case: lambda case=case: turn(*case, options.steps) for case in cases}, options.rounds)
    print(f"{'':24}" + "".join(f"{arm:>22}" for arm in ARMS))
    for dtype, rate in dict.fromkeys((dtype, rate) for _, dtype, rate in cases):
        cells = [[statistics.median(values) for values in zip(*turns[arm, dtype, rate], strict=True)] for arm in ARMS]
        print(f"{f'{dtype}, dropout {rate}':24}" + "".join(f"{s:12.2f} s {gib:4.2f} GiB" for s, gib in cells))
    return None


if __name__ == "__main__":
    main()
