"""How long a sweep will take, measured: a few steps and one evaluation of the base config, in a scratch folder."""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from hybrid_jax.ablate.folder import CONFIG, Plan, Run
from hybrid_jax.ablate.phases import FailedError, commands, last_line, start, stop
from hybrid_jax.disk.files import write_text

STEPS = 12
"""Steps that are timed; the first is not."""


class Estimate(NamedTuple):
    """What was measured here, in seconds."""

    start: float
    """Of a training without its steps: reading the data, compiling, the last checkpoint."""
    per_pair: float
    """Of a training step, by the pair."""
    evaluation: float
    """Of one evaluation on the sweep's tasks."""

    def run(self, pairs: int) -> float:
        """The seconds of a run that trains on so many pairs."""
        return self.start + self.per_pair * pairs + self.evaluation


def measure(plan: Plan, data_dir: Path | None) -> Estimate:
    """Times the base config of the plan. Raises FailedError when its training or evaluation fails.

    It is trained twice: the first run prepares the data and compiles, which the sweep's runs find done.
    """
    optimizer = plan.base["optimizer"]
    steps = optimizer["accumulate"] * -(-STEPS // optimizer["accumulate"])
    steps = min(steps, plan.base["steps"])
    short = plan.base | {
        "steps": steps,
        "optimizer": optimizer | {"warmup_steps": min(optimizer["warmup_steps"], steps)},
    }
    with tempfile.TemporaryDirectory(prefix="ablate-") as scratch:
        seconds: dict[str, float] = {}
        for name, phases in (("first", ("train",)), ("timed", ("train", "eval"))):
            run = Run("the base config", plan.seeds[0], Path(scratch) / name)
            write_text(run.folder / CONFIG, yaml.safe_dump(short, allow_unicode=True))
            for phase in phases:
                seconds[phase] = _timed(commands(run, plan, data_dir)[phase], Path(scratch) / f"{phase}.log")
        last = json.loads((Path(scratch) / "timed" / "metrics.jsonl").read_text().splitlines()[-1])
    per_pair = 1 / last["pairs_per_second"] if last["pairs_per_second"] else 0.0
    pairs = steps * plan.base["batch_size"]
    return Estimate(max(0.0, seconds["train"] - per_pair * pairs), per_pair, seconds["eval"])


def _timed(arguments: Sequence[str], log: Path) -> float:
    began = time.monotonic()
    with log.open("wb") as output:
        child: subprocess.Popen[bytes] = start(arguments, output.fileno())
        try:
            status = child.wait()
        except KeyboardInterrupt as interrupt:
            stop(child, interrupt.args[0] if interrupt.args else 2)
            raise
    if status:
        raise FailedError(
            f"the base config cannot be timed, its {log.stem} ended with status {status}: {last_line(log)}"
        )
    return time.monotonic() - began
