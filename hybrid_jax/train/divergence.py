"""A run whose loss is not a number, or far above those before it: it stops, or rolls back and leaves batches out."""

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Literal

import jax
from pydantic import BaseModel, ConfigDict, Field

from hybrid_jax.data.batch import Batch
from hybrid_jax.disk.files import atomic_files
from hybrid_jax.runs import checkpoint
from hybrid_jax.runs.skips import Skip, Skips
from hybrid_jax.runs.workdir import read_log
from hybrid_jax.runtime.agreement import of_process_0
from hybrid_jax.train.records import step_record

WINDOW = 50
"""A loss is compared with the median of so many before it."""
LEAST = 20
"""A spike is told from so many losses on."""


class DivergenceConfig(BaseModel):
    """What happens when the loss or the gradient is not a finite number, or the loss jumps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spike: float | None = Field(default=None, gt=1)
    """A loss of more than so many times the median of the 50 before it counts as diverged, too; None: never."""
    then: Literal["stop", "skip"] = "stop"
    """stop: end the run. skip: go back to the last good checkpoint and leave out the batches from there to this one."""
    most_skips: int = Field(default=5, ge=1)
    """How often a run may go back before it stops after all."""


class DivergedError(ValueError):
    """The loss diverged; the message says at which step and where the batch is described."""

    def __init__(self, step: int, reason: str, path: Path):
        self.step, self.reason, self.path = step, reason, path
        super().__init__(
            f"step {step}: {reason}; its rows are in {path}: look at them, lower optimizer.learning_rate, "
            f"or set divergence.then skip"
        )


class Divergence:
    """Looks at each step's loss. Begins with the losses that the log has of the steps before `start`."""

    def __init__(self, workdir: Path, config: DivergenceConfig, start: int):
        self._workdir, self._spike = workdir, config.spike

        def logged() -> list[float]:
            return [line["loss"] for _, line in read_log(workdir / "metrics.jsonl") if line["step"] < start][-WINDOW:]

        # Of one process: another host may see an older file, and all must find the same.
        self._losses = deque[float]([] if config.spike is None else of_process_0(logged), maxlen=WINDOW)

    def check(self, batch: Batch, numbers: Mapping[str, float]) -> None:
        """Raises DivergedError, after writing the batch and its numbers to diverged_at_step_N.json."""
        loss = numbers["loss"]
        reason = None
        if not all(math.isfinite(numbers[name]) for name in ("loss", "grad_norm")):
            reason = f"loss {loss}, gradient norm {numbers['grad_norm']}"
        elif self._spike is not None and len(self._losses) >= LEAST and loss > _bound(self._losses, self._spike):
            reason = (
                f"loss {loss:.4g}, over {self._spike:g} times the median {median(self._losses):.4g} of those before"
            )
        if reason is None:
            self._losses.append(loss)
            return
        step = batch.plan.step
        path = self._workdir / f"diverged_at_step_{step}.json"
        if jax.process_index() == 0:
            shown = {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}
            content = {"step": step, **step_record(batch, {}), "ids": batch.ids, **shown}
            atomic_files(self._workdir, {path.name: json.dumps(content, indent=2).encode()})
        raise DivergedError(step, reason, path)


def _bound(losses: Iterable[float], spike: float) -> float:
    """`spike` times the median; of an objective of one's own that falls below zero, as far above it as that."""
    middle = median(losses)
    return middle + (spike - 1) * abs(middle)


def roll_back(
    workdir: Path, config: DivergenceConfig, steps: int, skips: Skips, error: DivergedError, say: Callable[[str], None]
) -> Skips:
    """What the run leaves out from now on: also the batches since the last checkpoint. Writes it to the workdir.

    Raises `error` again when the run is to stop, or when no step of `steps` would be left.
    """
    if config.then == "stop":
        raise error
    why = "it is the last step" if error.step + 1 >= steps else ""
    if len(skips.skipped) >= config.most_skips:
        why = f"the run has gone back {len(skips.skipped)} of {config.most_skips} times"
    if why:
        raise DivergedError(error.step, f"{error.reason}, and {why}", error.path) from error
    first = max((step for step in checkpoint.steps(workdir / "checkpoints") if step <= error.step), default=0)
    skips = Skips(skipped=(*skips.skipped, Skip(first=first, last=error.step, reason=error.reason)))
    if jax.process_index() == 0:
        skips.write(workdir)
    say(
        f"step {error.step}: {error.reason}: back to step {first}, leaving out the batches of steps {first} to "
        f"{error.step} ({len(skips.skipped)} of at most {config.most_skips} times; skipped.json)"
    )
    return skips
