"""A run's log: metrics.jsonl, TensorBoard, and what a person sees: a progress bar on a terminal, plain lines elsewhere.

Knows: flat records of a step. Does not know: what they mean, except which few are shown.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from tqdm import tqdm


class RunLog:
    """Writes one record per step. On a process that is not `primary` it does nothing.

    What an interrupted run logged from `first_step` on is dropped, so that metrics.jsonl has every step once.
    `metrics.jsonl` holds all fields; TensorBoard the numbers among them.
    """

    def __init__(self, folder: Path, first_step: int, steps: int, every: int, primary: bool):
        self._primary, self._steps, self._every = primary, steps, every
        self._terminal = sys.stderr.isatty()
        self._since, self._since_step = time.monotonic(), first_step
        if not primary:
            return
        path = folder / "metrics.jsonl"
        kept = [line for line in _complete_lines(path) if json.loads(line)["step"] < first_step]
        part = path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(path)
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._bar = tqdm(total=steps, initial=first_step, unit="step", dynamic_ncols=True, disable=not self._terminal)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._primary:
            self._bar.close()
            self._board.close()
            self._file.close()

    def say(self, line: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        if self._primary:
            tqdm.write(line, file=sys.stderr)

    def record(self, step: int, rows: int, record: dict[str, Any]) -> None:
        """Logs one step of `rows` pairs; adds `pairs_per_second`, since the last printed step."""
        if not self._primary:
            return
        now = time.monotonic()
        rate = (step + 1 - self._since_step) * rows / max(now - self._since, 1e-9)
        self._file.write(json.dumps({"step": step, **record, "pairs_per_second": round(rate, 1)}) + "\n")
        for name, value in record.items():
            if isinstance(value, float):
                self._board.add_scalar(name, value, step)
        shown = f"loss {record['loss']:.4f}  accuracy {record['accuracy']:.3f}  {rate:.0f} pairs/s  {record['kind']}"
        self._bar.update(1)
        self._bar.set_postfix_str(shown, refresh=False)
        if step % self._every == 0 or step + 1 == self._steps:
            self._file.flush()
            left = (self._steps - step - 1) * rows / max(rate, 1e-9)
            if not self._terminal:
                self.say(f"step {step + 1}/{self._steps}  {shown}  {_clock(left)} left")
            self._since, self._since_step = now, step + 1


def _complete_lines(path: Path) -> list[str]:
    """The lines of a log whose last one a kill may have cut."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
