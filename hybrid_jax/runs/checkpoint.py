"""Checkpoints: complete or absent, written by Orbax while training continues, restored onto any mesh.

There is one folder per step; Orbax writes it under a temporary name and renames it when it is complete. A run deletes
its older checkpoints; `holding.py` keeps one of them longer.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args
from uuid import uuid4

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from hybrid_jax.disk.files import write_text
from hybrid_jax.disk.manifest import write_manifest
from hybrid_jax.disk.reading import ReadError, open_to_read
from hybrid_jax.runs.keeping import BestMetric, CheckpointConfig
from hybrid_jax.runs.manifest import WRITTEN_AT_COMMIT, find_damage
from hybrid_jax.runs.workdir import MARK

Tree = TypeVar("Tree")

UNFINISHED = ".orbax-checkpoint-tmp"
"""What Orbax adds to the name of a checkpoint's folder until it is complete."""


class CheckpointError(ValueError):
    """A checkpoint is missing, unusable or cannot be written; the message says which one and what to do."""


class DamagedError(CheckpointError):
    """The checkpoint of the requested step is damaged; those of other steps may be usable."""


class Checkpoints:
    """Writes the checkpoints of a run that starts or resumes at step `start`.

    A context manager; leaving it waits until the last checkpoint is written. Checkpoints that `restore` passed over
    because they are damaged (those of later steps than `start`, or without readable metrics) are renamed to
    "N.damaged".

    Raises CheckpointError when a checkpoint cannot be written, from `save` or on leaving.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, start: int):
        self._folder = folder
        if jax.process_index() == 0:
            later_or_unreadable = (step for step in steps(folder) if step > start or not _metrics(folder / str(step)))
            _rename_damaged(folder / str(step) for step in later_or_unreadable)
        sign = 1 if config.lower_is_better else -1

        def order(metrics: dict[str, float]) -> Any:
            """The lowest is the best one, and of equal ones the earliest."""
            # Absent if another best_metric was set, or it may not be.
            return sign * metrics.get(config.best_metric, sign * math.inf), metrics["step"]

        policies = ocp.training.preservation_policies
        best = policies.BestN(get_metric_fn=order, reverse=True, n=1)
        keep: Any = policies.AnyPreservationPolicy([policies.LatestN(config.keep), best])
        folder.mkdir(parents=True, exist_ok=True)
        self._mark = uuid4().hex
        if jax.process_index() == 0:
            write_text(folder / MARK, self._mark)
        self._step: int = start
        self._saving: Any = None
        # A function, as Orbax copies its options: of a method, it would copy the whole object.
        before_commit = ocp.options.AsyncOptions(post_finalization_callback=lambda: self._write_manifest())
        self._orbax = ocp.training.Checkpointer(
            str(folder.absolute()),
            context=ocp.Context(async_options=before_commit),
            preservation_policy=keep,
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            self._orbax.close()
        except Exception as error:
            if kind is None:  # otherwise an earlier error is already being raised
                raise self._unwritten(error) from error

    def save(self, step: int, state: Any, metrics: Mapping[str, float], may_be_best: bool = True) -> None:
        """Starts to write a checkpoint, once the one before is written. The state may be donated right after."""
        kept: Any = {name: value for name, value in metrics.items() if may_be_best or name not in get_args(BestMetric)}
        kept["step"] = step
        try:
            if jax.process_index() == 0 and not self._marked():  # Orbax would create a missing folder, and save in that
                raise CheckpointError(
                    f"{self._folder} is gone or was replaced: nothing was saved at step {step}; restore or mount it, "
                    f"and the same command resumes the run from the checkpoints in it"
                )
            if self._saving is not None:
                self._saving.result()
            self._step = step
            self._saving = self._orbax.save_async(step, state, force=True, metrics=kept)
        except CheckpointError:
            raise
        except Exception as error:  # from this save or the one before; Orbax raises many types
            raise self._unwritten(error) from error

    def _marked(self) -> bool:
        """Whether the folder is the one that this process began with. Inodes do not tell: a bucket's may change."""
        try:
            with open_to_read(self._folder / MARK) as file:
                return file.read() == self._mark.encode()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False

    def _write_manifest(self) -> None:
        """Orbax calls this in process 0, when all files are written and before it renames their folder."""
        (unfinished,) = self._folder.glob(f"{self._step}{UNFINISHED}*")
        write_manifest(unfinished, WRITTEN_AT_COMMIT)

    def _unwritten(self, error: Exception) -> CheckpointError:
        cause = str(error).split("\n")[0][:300]
        return CheckpointError(
            f"cannot write a checkpoint in {self._folder}: {cause}: the earlier ones are complete; "
            f"make room, and the same command resumes the run"
        )


def steps(folder: Path) -> list[int]:
    """The steps of all complete checkpoints in `folder`, ascending; empty if the folder does not exist."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in paths if path.name.isdecimal())


def restore(folder: Path, like: Tree, warn: Callable[[str], None], step: int | None = None) -> tuple[int, Tree]:
    """The step and the state of the latest checkpoint, or of `step`, with the shapes and shardings of `like`.

    If the latest checkpoint is damaged, this says so to `warn` and takes the one before it: all files are compared with
    the checkpoint's manifest before any is loaded, and what is loaded must be finite numbers. Parts of a checkpoint
    that `like` lacks are not loaded.

    Raises CheckpointError when no checkpoint is usable or when it has another architecture, and DamagedError when
    `step` is given and its checkpoint is damaged.
    """
    available = steps(folder)
    if step is not None and step not in available:
        raise CheckpointError(
            f"{folder} has no checkpoint of step {step}; it has {', '.join(map(str, available)) or 'none'}"
        )
    for path in sorted(folder.glob(f"*{UNFINISHED}*")):
        warn(f"{path} was never finished: taking the last complete checkpoint")
    for candidate in [step] if step is not None else reversed(available):
        path = folder / str(candidate)
        try:
            return candidate, _load(path, like)
        except CheckpointError:
            raise
        except (ReadError, PermissionError) as error:  # it may be good
            raise CheckpointError(f"{error}; or move {path} away, to take the checkpoint before it") from None
        except Exception as error:
            # Orbax raises one of these for a damaged file, but a plain Exception for a truncated array.
            if type(error) is not Exception and not isinstance(error, KeyError | ValueError | TypeError | OSError):
                raise
            damaged = f"{path} is damaged ({_first_line(error)})"
            if step is not None:
                raise DamagedError(f"{damaged}: choose another step of {available}") from None
            warn(f"{damaged}: taking the checkpoint before it")
    if not available:
        raise CheckpointError(f"{folder}: no complete checkpoint (there is none)")
    raise CheckpointError(
        f"{folder}: no complete checkpoint (none of {available} is usable): restore one of them, "
        f"or begin again in another folder"
    )


def _load(path: Path, like: Tree) -> Tree:
    """The checkpoint at `path`. Raises CheckpointError for another architecture, and Orbax's errors for damage."""
    if damage := find_damage(path):
        raise ValueError(damage)
    if not _metrics(path):
        raise ValueError("its metrics cannot be read")
    metadata = ocp.metadata(str(path.absolute())).metadata
    if metadata is None:
        raise ValueError("its metadata cannot be read")
    _check_shapes(path, _shapes(metadata), _shapes(like))
    context = ocp.Context()
    context.pytree_options.loading.partial_load = True
    try:
        with context:
            loaded = ocp.load(str(path.absolute()), like)
    except Exception as error:  # Orbax raises many types; the files are good, so it is a disk or the network
        raise CheckpointError(
            f"{path} holds what was saved, but could not be loaded ({_first_line(error)}): give the command again; "
            f"or move it away, to take the checkpoint before it"
        ) from error
    if names := _not_finite(loaded):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ValueError(f"{names[0]}{more} holds values that are not finite numbers")
    return loaded


def _first_line(error: Exception) -> str:
    return str(error.__cause__ or error).split("\n")[0].split(". ")[0][:150]


def _not_finite(tree: Any) -> list[str]:
    """The names of the arrays with a NaN or an infinity."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    real = [(path, leaf) for path, leaf in named if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    finite = jax.device_get(_all_finite([leaf for _, leaf in real]))
    return [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for (path, _), good in zip(real, finite, strict=True)
        if not good
    ]


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.isfinite(leaf).all() for leaf in leaves]


def _metrics(path: Path) -> dict[str, float]:
    """The metrics that were saved with the checkpoint; empty when they are missing or damaged."""
    try:
        with open_to_read(path / "metrics" / "metrics") as file:
            return json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _rename_damaged(paths: Iterable[Path]) -> None:
    for path in paths:
        number = sum(1 for _ in path.parent.glob(f"{path.name}.damaged*"))
        path.rename(path.with_name(f"{path.name}.damaged{number or ''}"))


def _check_shapes(path: Path, actual: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    wrong = [
        f"{name} is {actual.get(name, 'missing')}, not {shape}"
        for name, shape in expected.items()
        if actual.get(name) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"{path} holds another architecture: {'; '.join(wrong[:3])}{more}. "
            f"Use the config it was trained with, or another workdir"
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by dotted name, in which NamedTuple fields, list indices and dict keys look alike."""
    named = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in named}
