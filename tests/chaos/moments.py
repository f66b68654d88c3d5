"""Moments in the life of a process: each waits for one, and says whether it came before the process ended."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from chaos.arena import Child, logged

Moment = Callable[[Child, Path, random.Random], bool]
"""(process, its run's folder, chance) -> whether the moment came."""
_UNFINISHED = "*.orbax-checkpoint-tmp*"


def until(child: Child, condition: Callable[[], bool], every: float = 0.004) -> bool:
    """Waits for the condition, as long as the process runs."""
    while child.running():
        if condition():
            return True
        time.sleep(every)
    return False


def later(child: Child, seconds: float) -> bool:
    time.sleep(seconds)
    return child.running()


def start(child: Child, run: Path, chance: random.Random) -> bool:
    """Anywhere from the first instruction of the process to its first step."""
    before = logged(run)
    if chance.random() < 0.7:
        return later(child, chance.uniform(0, 4))
    noted = _noted(run)
    return until(child, lambda: _noted(run) != noted or logged(run) != before) and later(child, chance.uniform(0, 1))


def data(child: Child, run: Path, chance: random.Random) -> bool:
    """While the cache beside the run is filled: rows, tokenizer, tokens."""
    cache = run.parent / "cache"
    made = chance.choice(["stores", "tokenizers", "stores/*", "tokenizers/*", "stores/*part-*/*"])
    return until(child, lambda: next(cache.glob(made), None) is not None) and later(child, chance.uniform(0, 0.3))


def restore(child: Child, run: Path, chance: random.Random) -> bool:
    """While the last checkpoint is read, which begins some time after this start is noted in run.json."""
    noted = _noted(run)
    return until(child, lambda: _noted(run) != noted) and later(child, chance.uniform(0, 1))


def _noted(run: Path) -> int:
    path = run / "run.json"
    return path.stat().st_mtime_ns if path.exists() else 0


def step(child: Child, run: Path, chance: random.Random) -> bool:
    """After some steps of this process."""
    until(child, lambda: "\nstep " in child.said())
    goal = logged(run) + chance.randrange(1, 12)
    return until(child, lambda: logged(run) >= goal) and later(child, chance.uniform(0, 0.02))


def save(child: Child, run: Path, chance: random.Random) -> bool:
    """While a checkpoint's files are written."""
    folder = run / "checkpoints"
    return until(child, lambda: next(folder.glob(_UNFINISHED), None) is not None, 0.001) and later(
        child, chance.uniform(0, 0.1)
    )


def commit(child: Child, run: Path, chance: random.Random) -> bool:
    """When they are written: around the manifest, and the renaming of their folder."""
    folder = run / "checkpoints"
    return until(child, lambda: next(folder.glob(f"{_UNFINISHED}/manifest.json"), None) is not None, 0.001) and later(
        child, chance.choice([0, 0, chance.uniform(0, 0.01)])
    )


MOMENTS: Mapping[str, Moment] = {
    "start": start,
    "data preparation": data,
    "restore": restore,
    "step": step,
    "save": save,
    "commit": commit,
}
