"""How cost grows with batch, length, devices, corpus and languages: python -m benchmarks.growth

Small sizes, seed 0, random values. Prints seconds (of devices: bytes of collectives as well) and the exponent b of
cost = a x size^b, fitted to the logarithms, and draws all of them in growth.svg. Every point is a median.

    batch       a step of 2 layers x 128, texts of 64 tokens, chunks of 16 rows
    length      the same, one text in a row, 16 pairs
    devices     the same step of 64 pairs, split over so many simulated devices of this machine: 0 is no overhead
    corpus      the 100 best of so many candidates of 256 numbers, for 200 queries
    languages   exact ranks of 50 questions and their answers in so many languages, all of them pooled
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import last_json, machine, python, run_child, write_result

AXES = {
    "batch": (16, 32, 64, 128, 256),
    "length": (64, 128, 256, 512),
    "devices": (1, 2, 4, 8),
    "corpus": (20_000, 40_000, 80_000, 160_000),
    "languages": (4, 8, 16, 32),
}
REPEATS = 5


def exponent(sizes: list[float], costs: list[float]) -> float:
    """b of cost = a x size^b, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def median_seconds(program: Callable[[], object], repeats: int) -> float:
    """Of so many calls after a first."""
    program()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        program()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def step(pairs: int, length: int, devices: int, chunk: int | None, repeats: int) -> dict[str, float]:
    """Seconds of a training step, and MiB of its collectives on a device."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    import jax

    from benchmarks.one_step import make_step, random_batch
    from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, put_batch

    sizes = {"vocab_size": 1000, "hidden_size": 128, "num_layers": 2, "num_heads": 4, "intermediate_size": 512}
    mesh = make_mesh(MeshConfig())
    row = max(length, 256) if chunk else length
    batch = random_batch(np.random.default_rng(0), np.full(2 * pairs, length), 1000, row, chunk, devices)
    train_step, state = make_step(sizes, mesh, 10)
    batch = put_batch(mesh, batch)
    compiled = train_step.lower(state, batch).compile()
    states = [state]

    def once() -> None:
        states[0], metrics = compiled(states[0], batch)
        jax.block_until_ready(metrics)

    return {"seconds": median_seconds(once, repeats), "mib": _collectives(compiled.as_text())}


def _collectives(text: str) -> float:
    """MiB that the collectives of a compiled program give on a device."""
    total = 0
    for line in re.findall(r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all)\(", text):
        for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", line):
            total += int(re.sub(r"\D", "", kind) or 8) // 8 * int(np.prod([int(n) for n in shape.split(",") if n]))
    return total / 2**20


def unit(random: np.random.Generator, rows: int) -> np.ndarray:
    """Random rows of 256 numbers and length 1."""
    vectors = random.standard_normal((rows, 256), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def corpus(size: int, repeats: int) -> dict[str, float]:
    """Seconds of an exact search."""
    from hybrid_jax.search.top_k import top_k

    random = np.random.default_rng(0)
    candidates, queries = unit(random, size), unit(random, 200)
    return {"seconds": median_seconds(lambda: top_k(queries, iter([candidates]), 100), repeats)}


def languages(size: int, repeats: int) -> dict[str, float]:
    """Seconds of the ranks of all answers to all questions."""
    from hybrid_jax.search.ranks import rank_relevant

    random, questions = np.random.default_rng(0), 50
    candidates, queries = unit(random, size * questions), unit(random, size * questions)
    query = np.repeat(np.arange(len(queries)), size)
    answer = np.tile(np.arange(size), len(queries)) * questions + query % questions
    names = [f"l{row // questions:02}" for row in range(len(candidates))]
    ids = [f"{row:05}" for row in range(len(candidates))]
    relevance = np.stack([query, answer], axis=1)
    return {"seconds": median_seconds(lambda: rank_relevant(queries, candidates, relevance, names, ids), repeats)}


MEASURE: dict[str, Callable[[int, int], dict[str, float]]] = {
    "batch": lambda size, repeats: step(size, 64, 1, 16, repeats),
    "length": lambda size, repeats: step(16, size, 1, None, repeats),
    "devices": lambda size, repeats: step(64, 64, size, None, repeats),
    "corpus": corpus,
    "languages": languages,
}


def draw(figures: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """One panel for each axis, both scales logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    _, panels = pyplot.subplots(1, len(figures), figsize=(3 * len(figures), 3), layout="constrained")
    for panel, (axis, points) in zip(np.atleast_1d(panels), figures.items(), strict=True):
        sizes, seconds = list(points), [point["seconds"] for point in points.values()]
        panel.loglog(sizes, seconds, "o-")
        panel.set_title(f"{axis}: exponent {exponent(sizes, seconds):.2f}", fontsize=10)
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        panel.minorticks_off()
        panel.set_xlabel(axis)
    np.atleast_1d(panels)[0].set_ylabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    pyplot.savefig(path)


def main() -> None:
    """Prints a table and the exponents; writes them as JSON and SVG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=AXES, default=list(AXES), help="some of these (default: all)")
    parser.add_argument("--sizes", type=int, default=5, help="at most so many sizes, from the smallest (default: 5)")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        axis, size = options.child
        print("\n" + json.dumps(MEASURE[axis](int(size), options.repeats)))
        return
    header = machine()
    print(json.dumps(header))
    figures: dict[str, dict[int, dict[str, float]]] = {}
    for axis in options.only:
        figures[axis] = {}
        for size in AXES[axis][: max(options.sizes, 2)]:
            arguments = ("--child", axis, str(size), "--repeats", str(options.repeats))
            child = run_child(python("-m", "benchmarks.growth", *arguments))
            if child.status:
                sys.exit(f"{axis} {size}: status {child.status}:\n{child.output[-2000:]}")
            figures[axis][size] = last_json(child.output)
        points = figures[axis]
        shown = ", ".join(f"{size:,}: {point['seconds']:.3f}" for size, point in points.items())
        fitted = exponent(list(points), [point["seconds"] for point in points.values()])
        print(f"{axis}: seconds grow with exponent {fitted:.2f} ({shown})", flush=True)
        if axis == "devices":
            shown = ", ".join(f"{size}: {point['mib']:.2f}" for size, point in points.items())
            print(f"  MiB of collectives of a device: {shown}", flush=True)
    draw(figures, options.out / "growth.svg")
    print(f"drawn in {options.out / 'growth.svg'}")
    write_result(options.out, "growth", header, vars(options), figures)


if __name__ == "__main__":
    main()
