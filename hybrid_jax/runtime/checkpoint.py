"""Checkpoints: complete or absent, written by Orbax while training goes on, restored onto any mesh.

Knows: trees of arrays, steps, folders. Does not know: what is in the trees.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
from orbax.checkpoint import v1 as ocp
from pydantic import BaseModel, ConfigDict, Field

Tree = TypeVar("Tree")


class CheckpointConfig(BaseModel):
    """When checkpoints are written and which are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: int = Field(default=200, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep: int = Field(default=2, ge=1)
    """How many of the latest to keep, beside the best one."""
    best_metric: str = "loss"
    """The metric that names the best checkpoint: one of metrics.jsonl, such as loss or heldout_loss."""
    best: str = Field(default="lowest", pattern="^(lowest|highest)$")
    """Whether the lowest or the highest value is the best."""


class CheckpointError(ValueError):
    """A checkpoint that is missing or cannot be used; the message says where and what to do."""


class Checkpoints:
    """The checkpoints below `folder`, one folder per step. A context manager: leaving waits for the last save."""

    def __init__(self, folder: Path, config: CheckpointConfig | None = None):
        self.folder = folder
        self._best_metric = config.best_metric if config is not None else None
        policies = ocp.training.preservation_policies
        keep: Any = None
        if config is not None:

            def metric(metrics: dict[str, float]) -> float:
                return metrics[config.best_metric]

            best = policies.BestN(get_metric_fn=metric, reverse=config.best == "lowest", n=1)
            keep = policies.AnyPreservationPolicy([policies.LatestN(config.keep), best])
        self._orbax = ocp.training.Checkpointer(
            str(folder.absolute()), preservation_policy=keep, cleanup_tmp_directories=config is not None
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._orbax.close()

    @property
    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, ascending."""
        return sorted(checkpoint.step for checkpoint in self._orbax.checkpoints)

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Starts to save; the state may be donated at once. An earlier save that still runs is waited for.

        Raises CheckpointError when `metrics` lacks the one that names the best checkpoint.
        """
        if self._best_metric is not None and self._best_metric not in metrics:
            raise CheckpointError(
                f"checkpoint.best_metric {self._best_metric!r} is not measured: use one of {', '.join(sorted(metrics))}"
            )
        self._orbax.save_async(step, state, force=True, metrics=dict(metrics))

    def restore(self, like: Tree, warn: Callable[[str], None], step: int | None = None) -> tuple[int, Tree]:
        """The step and the state of the latest checkpoint, or of `step`; shapes and shardings as in `like`.

        A damaged checkpoint is reported to `warn` and the one before it is taken, unless it was asked for by its step.
        Parts of a checkpoint that `like` lacks are not read. Raises CheckpointError when there is no usable one, or it
        holds another architecture.
        """
        steps = self.steps
        if step is not None and step not in steps:
            raise CheckpointError(f"{self.folder} has no checkpoint of step {step}; it has {steps or 'none'}")
        context = ocp.Context()
        context.pytree_options.loading.partial_load = True
        for candidate in [step] if step is not None else reversed(steps):
            try:
                self._check_shapes(candidate, like)
                with context:
                    return candidate, self._orbax.load(candidate, like)
            except CheckpointError:
                raise
            except (KeyError, ValueError, TypeError, OSError) as error:
                cause = str(error.__cause__ or error).split("\n")[0][:200]
                damaged = f"{self.folder / str(candidate)} is damaged ({cause})"
                if step is not None:
                    raise CheckpointError(f"{damaged}: choose another step of {steps}") from None
                warn(f"{damaged}: taking the checkpoint before it")
        found = f"none of {steps} is usable" if steps else "there is none"
        raise CheckpointError(f"{self.folder}: no complete checkpoint ({found})")

    def _check_shapes(self, step: int, like: Any) -> None:
        held = _shapes(self._orbax.metadata(step).metadata)
        wanted = _shapes(like)
        wrong = [
            f"{name} is {held.get(name, 'missing')}, not {shape}"
            for name, shape in wanted.items()
            if held.get(name) != shape
        ]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise CheckpointError(
                f"{self.folder / str(step)} holds another architecture: {'; '.join(wrong[:3])}{more}. "
                f"Use the config it was trained with, or another workdir"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by name; names do not tell a NamedTuple's field or a list's index from a dict's key."""
    named = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in named}
