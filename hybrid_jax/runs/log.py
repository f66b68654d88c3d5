"""A run's log: metrics.jsonl, TensorBoard, and a progress bar on a terminal or plain lines elsewhere."""

import math
import os
import sys
import time
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hybrid_jax.disk.files import atomic_files
from hybrid_jax.disk.without_torch import torch_left_out
from hybrid_jax.runs.lines import write_line
from hybrid_jax.runs.window import Window, heldout, peak_memory
from hybrid_jax.runs.workdir import read_log

BAR = "{percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt}  {desc}"
EARLY = 10
"""After so many steps of a start a line says how long the rest will take, however rare lines are."""


class RunLog:
    """Writes one record per step. Does nothing on a process that is not `primary`.

    metrics.jsonl has all fields of a record, with null for a number that is not finite, and a checksum (lines.py).
    TensorBoard has the finite numbers, loss and accuracy under their kind of batch too (loss/monolingual), and
    throughput/pairs_per_second; so has the Weights & Biases `project`, if one is named. Printed lines, one in `every`
    steps and the tenth of a start, show means since the last line by kind, the last held-out metrics, and epochs:
    pairs seen per row of the `pool`. Lines that an interrupted run logged from `first_step` on are removed at the
    start, so that metrics.jsonl has every step once; `seconds_lost` is how long those steps took.

    Raises ValueError when a `project` is named and wandb is not installed, and WorkdirError when the log is damaged.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        steps: int,
        every: int,
        primary: bool,
        project: str | None = None,
        pool: int | None = None,
    ):
        self._primary, self._steps, self._every = primary, steps, every
        self._early = first_step + EARLY - 1 if every > EARLY else None
        self._terminal = sys.stderr.isatty()
        self._rate, self._window, self._pool, self._heldout = _Rate(), Window(), pool, ""
        self.seconds_lost = 0.0
        if not primary:
            return
        self._wandb = _wandb_run(project, folder) if project is not None else None
        self._path = path = folder / "metrics.jsonl"
        lines = list(read_log(path))
        kept = [line for line, record in lines if record["step"] < first_step]
        dropped = (record.get("seconds", {}) for _, record in lines if record["step"] >= first_step)
        self.seconds_lost = float(sum(sum(seconds.values()) for seconds in dropped))
        atomic_files(folder, {path.name: "".join(kept).encode()})
        # Line-buffered: a step's line is in the file before its checkpoint is written, even if the run is then killed.
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._board = _Board(folder / "tensorboard")
        self._bar = tqdm(
            total=steps, initial=first_step, bar_format=BAR, dynamic_ncols=True, disable=not self._terminal
        )
        self._bar.set_description_str("compiling …")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._primary:
            with ExitStack() as stack:  # closes all of them, even when closing one fails because the disk is full
                stack.callback(self._file.close)
                stack.callback(self._board.close)
                if self._wandb is not None:
                    stack.callback(self._wandb.finish)
                stack.callback(self._bar.close)

    def keep(self) -> None:
        """Syncs and closes metrics.jsonl and opens it again: a bucket mounted as a folder has only what was closed."""
        if self._primary:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = self._path.open("a", encoding="utf-8", buffering=1)

    def say(self, line: str) -> None:
        """Prints a line, above the progress bar if there is one."""
        if self._primary:
            tqdm.write(line, file=sys.stderr)

    def record(self, step: int, rows: int, record: dict[str, Any]) -> None:
        """Logs one step of `rows` pairs, and adds `pairs_per_second` (null for the first step, which is compiled)."""
        if not self._primary:
            return
        per_second = self._rate()
        rate = None if per_second is None else round(per_second * rows, 1)
        line = {"step": step, **record, "pairs_per_second": rate}
        self._file.write(write_line({name: _finite(value) for name, value in line.items()}))
        numbers = {name: v for name, v in record.items() if isinstance(v, float) and math.isfinite(v)}
        numbers |= {f"{name}/{record['kind']}": numbers[name] for name in ("loss", "accuracy") if name in numbers}
        numbers |= {} if rate is None else {"throughput/pairs_per_second": rate}
        self._board.write(step, numbers)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)
        self._window.add(record["kind"], record["loss"], record["accuracy"])
        self._heldout = heldout(numbers) or self._heldout
        shown = self._window.text() + (f"  {self._heldout}" if self._heldout else "")
        if self._pool:
            shown += f"  epochs {(step + 1) * rows / self._pool:.2f}"
        shown += f"  {peak_memory()}"
        if per_second is not None:
            shown += f"  {per_second * rows:.0f} pairs/s  {_clock((self._steps - step - 1) / per_second)} left"
        self._bar.set_description_str(shown, refresh=False)
        self._bar.update(1)
        if step % self._every == 0 or step == self._early or step + 1 == self._steps:
            self._board.flush()
            self._window.clear()
            if not self._terminal:
                self.say(f"step {step + 1}/{self._steps}  {shown}")


def _wandb_run(project: str, folder: Path) -> Any:
    """The Weights & Biases run of this folder; a resumed run continues it."""
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            f"wandb_project is {project!r}, but wandb is not installed: pip install 'hybrid_jax[wandb]'"
        ) from None
    identity = sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return wandb.init(project=project, name=folder.name, dir=str(folder), id=identity, resume="allow")


class _Board:
    """TensorBoard's event file, written without a thread: SummaryWriter's thread hangs the run when the disk is full.

    A resumed run logs some steps a second time, with the same numbers; TensorBoard draws them once.
    """

    def __init__(self, folder: Path):
        with torch_left_out():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
            from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
        folder.mkdir(exist_ok=True)
        self._events, self._event, self._summary = EventsWriter(str(folder / "events")), Event, Summary
        self.flush, self.close = self._events.flush, self._events.close

    def write(self, step: int, numbers: dict[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        self._events.write_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=values)))


class _Rate:
    """Steps per second, averaged over about the last 50; None at the first step, which is mostly compilation."""

    def __init__(self) -> None:
        self._steps, self._at, self._seconds = 0, 0.0, None

    def __call__(self) -> float | None:
        now = time.monotonic()
        took, self._at = now - self._at, now
        self._steps += 1
        if self._steps == 1:
            return None
        weight = max(0.02, 1 / (self._steps - 1))  # the mean of the first 50 steps, then a moving one
        self._seconds = took if self._seconds is None else self._seconds + weight * (took - self._seconds)
        return 1 / max(self._seconds, 1e-9)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
