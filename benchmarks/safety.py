"""What safety costs a run: python -m benchmarks.safety

Steps: `python -m hybrid_jax.train` on configs/demo.yaml, in turns with everything on and with everything off, by one
process and by two. Off are the comparison of processes, the checks for a loss that diverges, the watchdog, signals
and their agreement, the signs of life, the lock, goodput, and manifests; there is no option that does so, so the child
replaces these parts. Each turn is a new process, or two.

Saves: one of each number of MiB, in turns with and without its manifest, in one process.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from benchmarks.common import last_json, machine, python, ratio, spread, take_turns, write_result

FIRST = 20
"""The first steps, in which programs are compiled, are left out."""


class Turn(NamedTuple):
    """Of process 0: mean and median seconds of a step by the clock, and mean processor seconds."""

    mean: float
    median: float
    processor: float


class Save(NamedTuple):
    """Seconds that the caller waits; until the checkpoint is complete; and of the processor until then."""

    call: float
    complete: float
    processor: float


def switch_off() -> None:
    """Replaces all that keeps a run safe by what does nothing."""
    from hybrid_jax.runs import checkpoint
    from hybrid_jax.runtime.peers import Peers
    from hybrid_jax.runtime.signals import Signals
    from hybrid_jax.train import loop
    from hybrid_jax.train.divergence import Divergence

    class Nothing:
        def __init__(self, *arguments: Any):
            pass

        def __enter__(self) -> "Nothing":
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def started(self, lost: float) -> None:
            pass

        def done(self, step: int) -> None:
            pass

        def check(self) -> None:
            pass

        def release(self) -> None:
            pass

        def spent(self, phase: str) -> Any:
            return nullcontext()

        def waiting(self, batches: Iterable[Any]) -> Iterable[Any]:
            return batches

        def take(self) -> dict[str, float]:
            return {}

    @contextmanager
    def unlocked(workdir: Path) -> Iterator[Any]:
        yield Nothing()

    nothing: Any = lambda *arguments, **named: None  # noqa: E731
    parts: dict[Any, dict[str, Any]] = {
        loop: {
            "check_step_agrees": nothing,
            "check_processes_agree": nothing,
            "Watchdog": Nothing,
            "Goodput": Nothing,
            "one_trainer": unlocked,
        },
        Divergence: {"check": nothing},
        Signals: {"listen": nothing, "stop_after": lambda *_: False},
        Peers: {"watch": nothing},
        checkpoint: {"write_manifest": nothing},
    }
    for owner, names in parts.items():
        for name, replacement in names.items():
            getattr(owner, name)  # what has another name by now is an error, not left on
            setattr(owner, name, replacement)


def measure_steps(arm: str, arguments: list[str]) -> None:
    """Trains in this process, and prints a JSON line with the seconds of each step."""
    from hybrid_jax.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    from hybrid_jax.train import __main__ as command
    from hybrid_jax.train import loop

    if arm == "off":
        switch_off()
    clock: list[float] = []
    processor: list[float] = []
    log_step = loop._log_step

    def noted(*parts: Any) -> dict[str, float]:
        clock.append(time.perf_counter())
        processor.append(time.process_time())
        return log_step(*parts)

    loop._log_step = noted
    sys.argv = ["train", *arguments]
    status = command.main()
    steps = [later - sooner for sooner, later in zip(clock[FIRST:-1], clock[FIRST + 1 :], strict=True)]
    used = (processor[-1] - processor[FIRST]) / len(steps)
    print("\n" + json.dumps({"mean": mean(steps), "median": median(steps), "processor": used}))
    sys.exit(status)


def train(arm: str, processes: int, steps: int, cache: Path) -> Turn:
    """One turn: a run from its first step to its last."""
    with tempfile.TemporaryDirectory() as work, socket.socket() as probe:
        probe.bind(("localhost", 0))
        together = {
            "HYBRID_JAX_COORDINATOR": f"localhost:{probe.getsockname()[1]}",
            "HYBRID_JAX_NUM_PROCESSES": str(processes),
        }
        probe.close()
        overrides = {
            "steps": steps,
            "checkpoint.every": 50,
            "compare_every": 50,
            "data.cache_dir": cache,
            "log_every": 50,
        }
        arguments = ["--config", "configs/demo.yaml", "--workdir", f"{work}/run"]
        arguments += [word for name, value in overrides.items() for word in (f"--{name}", str(value))]
        children = [
            subprocess.Popen(
                python("-m", "benchmarks.safety", "--arm", arm, *arguments),
                env={**os.environ, **({**together, "HYBRID_JAX_PROCESS_ID": str(n)} if processes > 1 else {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for n in range(processes)
        ]
        outputs = [child.communicate()[0] for child in children]
        if any(child.returncode for child in children):
            sys.exit(f"{arm}: status {[child.returncode for child in children]}:\n{outputs[0][-2000:]}")
        return Turn(**last_json(outputs[0]))


def measure_saves(sizes: list[int], rounds: int) -> dict[str, list[Save]]:
    """Saves of so many MiB of random float32, with and without a manifest; {"100 MiB on": one Save a round}."""
    import jax
    import numpy as np

    from hybrid_jax.runs import checkpoint
    from hybrid_jax.runs.keeping import CheckpointConfig

    module: Any = checkpoint
    write_manifest = module.write_manifest

    def save(mebibytes: int, arm: str) -> Save:
        module.write_manifest = write_manifest if arm == "on" else lambda *_: None
        random = np.random.default_rng(0)
        shape = (mebibytes << 15,)  # eight arrays
        state = {f"a{n}": jax.numpy.asarray(random.standard_normal(shape, np.float32)) for n in range(8)}
        with tempfile.TemporaryDirectory(dir=".") as work:
            checkpoints = checkpoint.Checkpoints(Path(work) / "checkpoints", CheckpointConfig(), 0)
            with checkpoints:
                checkpoints.save(1, {"a": state["a0"]}, {"loss": 1.0})  # the first is slower
                checkpoints._saving.result()
                used, began = time.process_time(), time.perf_counter()
                checkpoints.save(2, state, {"loss": 1.0})
                called = time.perf_counter() - began
                checkpoints._saving.result()
                return Save(called, time.perf_counter() - began, time.process_time() - used)

    programs = {
        f"{size} MiB {arm}": lambda size=size, arm=arm: save(size, arm) for size in sizes for arm in ("on", "off")
    }
    return take_turns(programs, rounds)


def main() -> None:
    """Prints every turn, and the ratios of on to off."""
    if "--arm" in sys.argv:
        return measure_steps(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--mebibytes", type=int, nargs="*", default=[1, 100])
    options = parser.parse_args()
    header = machine()
    print(json.dumps(header))
    lines = []
    with tempfile.TemporaryDirectory() as cache:
        for processes in options.processes:
            arms = {
                f"{processes} {arm}": lambda arm=arm, n=processes: train(arm, n, options.steps, Path(cache))
                for arm in ("on", "off")
            }
            turns = take_turns(arms, options.rounds)
            for name in Turn._fields:
                values = [[getattr(turn, name) for turn in turns[f"{processes} {arm}"]] for arm in ("on", "off")]
                lines.append(f"{processes} process(es), {name} of a step: {_compared(*values)}")
            write_result(Path("runs/bench"), f"safety-{processes}", header, vars(options), turns)
    saves = measure_saves(options.mebibytes, options.rounds)
    for size in options.mebibytes:
        for name in Save._fields:
            values = [[getattr(save, name) for save in saves[f"{size} MiB {arm}"]] for arm in ("on", "off")]
            lines.append(f"save of {size} MiB, {name}: {_compared(*values)}")
    write_result(Path("runs/bench"), "safety-saves", header, vars(options), saves)
    print("\n".join(lines))
    return None


def _compared(on: list[float], off: list[float]) -> str:
    """Medians, and the ratio of on to off, turn by turn."""
    quotient = ratio(on, off)
    seconds = f"{spread(on).median:.4f} s on, {spread(off).median:.4f} s off"
    return f"{seconds}: {quotient.median:.3f} times ({quotient.low:.3f}-{quotient.high:.3f})"


if __name__ == "__main__":
    main()
