"""The best checkpoint of a watched run, kept in a folder of its own with best.json, which says why it is the best."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_jax.disk.files import atomic_files
from hybrid_jax.runs.checkpoint import CheckpointError, steps
from hybrid_jax.runs.holding import drop


class Best(BaseModel):
    """Which checkpoint is the best and why: the content of best.json, beside the checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    """The checkpoint's step: how many batches it was trained on."""
    metric: str
    """The name of the metric that decided, as in evaluations."""
    value: float
    """The metric's value."""


def keep_best(folder: Path, candidates: Path, best: Best) -> None:
    """Moves the best checkpoint from `candidates` to `folder`, writes best.json and removes the previous best.

    If this is killed, the previous or the new best is complete and named by best.json; call it again to finish.
    """
    folder.mkdir(exist_ok=True)
    if not (folder / str(best.step)).is_dir():
        (candidates / str(best.step)).rename(folder / str(best.step))
    atomic_files(folder, {"best.json": f"{best.model_dump_json()}\n".encode()})
    for step in steps(folder):
        if step != best.step:
            drop(folder, step)


def read_best(folder: Path) -> Best:
    """The content of best.json. Raises CheckpointError when it is missing or damaged."""
    path = folder / "best.json"
    fix = f"python -m hybrid_jax.eval watch {folder.parent} finds the best step"
    try:
        return Best.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder.parent} has no best step: {fix}") from None
    except ValidationError:
        raise CheckpointError(f"{path} is damaged: remove it, and {fix}") from None
