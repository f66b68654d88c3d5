"""Times the input pipeline alone, and its share of a step: python -m benchmarks.input

The texts of benchmarks/training.py: preparation (reading rows, tokens), the batch of a step (schedule, pairing,
packing), and the schedule's plan of a step that is far away. Then the step itself, as benchmarks/training.py times it.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import machine, spread, write_result
from benchmarks.models import NAMES, model_folder
from benchmarks.training import data_settings, ours, write_pairs

FAR = 10**9


def seconds_of(program: Callable[[int], object], steps: range) -> list[float]:
    """Seconds of `program` at each of these steps."""
    seconds = []
    for step in steps:
        start = time.perf_counter()
        program(step)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Prints the figures; writes them as JSON."""
    from hybrid_jax.data.pipeline import DataConfig, Pipeline
    from hybrid_jax.data.schedule import MixtureConfig
    from hybrid_jax.data.tokenizer import TokenizerConfig

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=NAMES, default="minilm", help="the model of the step (default: minilm)")
    parser.add_argument("--batch", type=int, default=32, help="pairs of a step (default: 32)")
    parser.add_argument("--batches", type=int, default=200, help="batches that are timed (default: 200)")
    parser.add_argument("--steps", type=int, default=8, help="steps of training (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    header = machine()
    print(json.dumps(header))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder)
        model = model_folder(options.size, folder)
        settings = {**data_settings(folder, folder / "cache"), "tokenizer": TokenizerConfig(path=str(model))}
        data = DataConfig.model_validate(settings)
        mixture = MixtureConfig(monolingual_fraction=1.0)
        start = time.perf_counter()
        pipeline = Pipeline(data, mixture, options.batch, 0, skip_bad_rows=True)
        prepared = time.perf_counter() - start
        tokens = sum(table.total for table in pipeline.batch(0).tables)
        start = time.perf_counter()
        pipeline = Pipeline(data, mixture, options.batch, 0, skip_bad_rows=True)
        opened = time.perf_counter() - start
        start = time.perf_counter()
        layouts = pipeline.layouts(options.batches, apart=False)
        chosen = time.perf_counter() - start
        near = seconds_of(pipeline.schedule, range(options.batches))
        far = seconds_of(pipeline.schedule, range(FAR, FAR + options.batches))
        batches = seconds_of(lambda step: pipeline.batch(step).pack(layouts), range(options.batches))
        print(
            f"prepared {tokens:,} tokens in {prepared:.1f} s: {tokens / prepared:,.0f} a second; opened again in",
            end="",
        )
        print(f" {opened:.2f} s; the shapes of rows chosen in {chosen:.2f} s: {layouts[0]}")
        print(f"the plan of a step: {statistics.median(near) * 1e6:.0f} us from step 0,", end=" ")
        print(f"{statistics.median(far) * 1e6:.0f} us from step {FAR:,}")
        step = ours(folder, model, options.batch, options.steps, "bfloat16", skip=2).step
    batch = spread(batches)
    print(f"a batch of {options.batch} pairs: {batch.median * 1e3:.2f} ms ({batch.low * 1e3:.2f}-", end="")
    print(f"{batch.high * 1e3:.2f}), {batch.median / step:.2%} of a step of {options.size}, {step:.3f} s")
    figures = {"prepared": prepared, "tokens": tokens, "opened": opened, "near": near, "far": far, "batches": batches}
    write_result(options.out, "input", header, vars(options), {**figures, "step": step})


if __name__ == "__main__":
    main()
