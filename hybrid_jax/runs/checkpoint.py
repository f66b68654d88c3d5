"""Checkpoints: complete or absent, written by Orbax while training goes on, restored onto any mesh.

One folder per step, which Orbax writes under another name and renames when it is complete. A run deletes its old ones;
what must outlive that is held elsewhere by hard links. Knows: trees of arrays, steps, folders. Does not know: what is
in the trees, what makes a step the best.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
from orbax.checkpoint import v1 as ocp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.runs.workdir import write_text

Tree = TypeVar("Tree")


class CheckpointConfig(BaseModel):
    """When checkpoints are written and which are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: int = Field(default=200, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep: int = Field(default=2, ge=1)
    """How many of the latest to keep, beside the best one."""
    best_metric: Literal["loss", "accuracy", "heldout_loss", "heldout_accuracy"] = "loss"
    """The metric of a checkpoint's step that names the best one."""
    best: Literal["lowest", "highest"] = "lowest"
    """Whether the lowest or the highest value is the best."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, cannot be used or cannot be written; the message says where and what to do."""


class DamagedError(CheckpointError):
    """A checkpoint that was asked for by its step and is not whole; others may be."""


class Best(BaseModel):
    """Which checkpoint is the best, and by what: best.json of the folder that keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    """Batches that it was trained on."""
    metric: str
    """What was measured, as an evaluation names it."""
    value: float
    """The metric's value."""


class Checkpoints:
    """Writes the checkpoints of a run that goes on from step `start`. A context manager: leaving waits for the last.

    A folder that is in the way (of a step after `start`, or without readable metrics: `restore` found it damaged) is
    renamed to "N.damaged". Raises CheckpointError, here or when it waits, for what cannot be written.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, start: int):
        self._folder, self._best_metric = folder, config.best_metric
        if jax.process_index() == 0:
            _set_aside(folder / str(step) for step in steps(folder) if step > start or not _metrics(folder / str(step)))
        worst = math.inf if config.best == "lowest" else -math.inf

        def metric(metrics: dict[str, float]) -> float:
            return metrics.get(config.best_metric, worst)  # one saved when another metric named the best

        policies = ocp.training.preservation_policies
        best = policies.BestN(get_metric_fn=metric, reverse=config.best == "lowest", n=1)
        keep: Any = policies.AnyPreservationPolicy([policies.LatestN(config.keep), best])
        self._orbax = ocp.training.Checkpointer(
            str(folder.absolute()),
            preservation_policy=keep,
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            self._orbax.close()
        except Exception as error:
            if kind is None:  # else what went wrong first is already on its way
                raise self._unwritten(error) from error

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Starts to save; the state may be donated at once. An earlier save that still runs is waited for."""
        try:
            self._orbax.save_async(step, state, force=True, metrics=dict(metrics))
        except Exception as error:  # of this save, or of the one before, whatever its type
            raise self._unwritten(error) from error

    def _unwritten(self, error: Exception) -> CheckpointError:
        cause = str(error).split("\n")[0][:300]
        return CheckpointError(
            f"cannot write a checkpoint below {self._folder}: {cause}: the ones before it are whole; "
            f"make room, and the same command resumes the run"
        )


def steps(folder: Path) -> list[int]:
    """The steps of all finished checkpoints in `folder`, ascending; none when there is no such folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdecimal())


def restore(folder: Path, like: Tree, warn: Callable[[str], None], step: int | None = None) -> tuple[int, Tree]:
    """The step and the state of the latest checkpoint, or of `step`; shapes and shardings as in `like`.

    A damaged checkpoint is reported to `warn` and the one before it is taken, unless it was asked for by its step.
    Parts of a checkpoint that `like` lacks are not read. Raises CheckpointError when there is no usable one, or it
    holds another architecture; DamagedError when `step`'s is not whole.
    """
    known = steps(folder)
    if step is not None and step not in known:
        raise CheckpointError(f"{folder} has no checkpoint of step {step}; it has {known or 'none'}")
    for path in sorted(folder.glob("*.orbax-checkpoint-tmp*")):
        warn(f"{path} was never finished: taking the last complete checkpoint")
    for candidate in [step] if step is not None else reversed(known):
        path = folder / str(candidate)
        try:
            return candidate, _load(path, like)
        except CheckpointError:
            raise
        except Exception as error:
            # For damaged files Orbax raises one of these, or, of an array cut short, a bare Exception.
            if type(error) is not Exception and not isinstance(error, KeyError | ValueError | TypeError | OSError):
                raise
            cause = str(error.__cause__ or error).split("\n")[0].split(". ")[0][:150]
            damaged = f"{path} is damaged ({cause})"
            if step is not None:
                raise DamagedError(f"{damaged}: choose another step of {known}") from None
            warn(f"{damaged}: taking the checkpoint before it")
    found = f"none of {known} is usable" if known else "there is none"
    raise CheckpointError(f"{folder}: no complete checkpoint ({found})")


def hold(folder: Path, step: int, into: Path) -> bool:
    """Puts the finished checkpoint of `step` in `into` as well, where it stays when `folder` loses it.

    Hard links: no room is taken until then. Files are copied where the file system, or another owner, forbids links.
    False when it is gone, or goes while this works; whole or absent in `into`, whenever this is killed.
    """
    source, target, part = folder / str(step), into / str(step), into / f"{step}.part"
    if target.is_dir():
        return True
    shutil.rmtree(part, ignore_errors=True)
    try:
        names = _files(source)
        for name in names:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            _link(source / name, part / name)
        whole = bool(names) and _files(source) == names  # else the run has begun to delete it
    except FileNotFoundError:
        whole = False
    if whole:
        part.rename(target)
    else:
        shutil.rmtree(part, ignore_errors=True)
    return whole


def keep_best(folder: Path, held: Path, best: Best) -> None:
    """Moves the best checkpoint from `held` to `folder` and notes it there; the one before it is dropped.

    Killed on its way, it leaves one of the two, noted and whole, and may be called again.
    """
    folder.mkdir(exist_ok=True)
    if not (folder / str(best.step)).is_dir():
        (held / str(best.step)).rename(folder / str(best.step))
    write_text(folder / "best.json", best.model_dump_json() + "\n")
    for step in steps(folder):
        if step != best.step:
            drop(folder, step)


def drop(folder: Path, step: int) -> None:
    """Removes a checkpoint; a kill on the way leaves nothing that looks like one."""
    for old in folder.glob("*.old"):  # what such a kill left
        shutil.rmtree(old)
    shutil.rmtree((folder / str(step)).rename(folder / f"{step}.old"))


def read_best(folder: Path) -> Best:
    """What `keep_best` noted. Raises CheckpointError where it did not, or the note is damaged."""
    path = folder / "best.json"
    fix = f"python -m hybrid_jax.eval watch {folder.parent} names the best step"
    try:
        return Best.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder.parent} has no best step: {fix}") from None
    except ValidationError:
        raise CheckpointError(f"{path} is damaged: remove it, and {fix}") from None


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _load(path: Path, like: Tree) -> Tree:
    """Raises CheckpointError for another architecture, and whatever Orbax does for damaged files."""
    if not _metrics(path):
        raise ValueError("its metrics cannot be read")
    held = ocp.metadata(str(path.absolute())).metadata
    if held is None:
        raise ValueError("its metadata cannot be read")
    _check_shapes(path, _shapes(held), _shapes(like))
    context = ocp.Context()
    context.pytree_options.loading.partial_load = True
    with context:
        return ocp.load(str(path.absolute()), like)


def _metrics(path: Path) -> dict[str, float]:
    """What was saved as the checkpoint's metrics; empty when it cannot be read."""
    try:
        return json.loads((path / "metrics" / "metrics").read_bytes())
    except (OSError, ValueError):
        return {}


def _set_aside(paths: Iterable[Path]) -> None:
    for path in paths:
        number = sum(1 for _ in path.parent.glob(f"{path.name}.damaged*"))
        path.rename(path.with_name(f"{path.name}.damaged{number or ''}"))


def _check_shapes(path: Path, held: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    wrong = [f"{n} is {held.get(n, 'missing')}, not {shape}" for n, shape in wanted.items() if held.get(n) != shape]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"{path} holds another architecture: {'; '.join(wrong[:3])}{more}. "
            f"Use the config it was trained with, or another workdir"
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by name; names do not tell a NamedTuple's field or a list's index from a dict's key."""
    named = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in named}
