"""Which checkpoints a run keeps, which of them is the best, and when a run stops because it no longer improves."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from hybrid_jax.runs.workdir import read_log, values_of_starts

RetrievalMetric = Literal["heldout_map_monolingual", "heldout_map_cross_lingual", "heldout_map_multilingual"]
"""mAP on the held-out pool in the three settings of the hybrid paper (arXiv 2408.10536)."""
RETRIEVAL: tuple[RetrievalMetric, ...] = get_args(RetrievalMetric)
BestMetric = Literal["loss", "accuracy", "heldout_loss", "heldout_accuracy", RetrievalMetric]
Evaluation = tuple[int, float | None]
"""A held-out evaluation: the number of steps before it, and the value of the best_metric; None if it is not finite."""
_PART = "checkpoint."


class CheckpointConfig(BaseModel):
    """When checkpoints are written, which are kept, and when the run stops early."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: int = Field(default=200, ge=1)
    """Steps between checkpoints; there is always one after the last step."""
    keep: int = Field(default=2, ge=1)
    """How many of the latest checkpoints to keep, beside the best one."""
    best_metric: BestMetric = "loss"
    """The metric that decides which checkpoint is the best: the lowest loss, the highest accuracy or mAP. Its value at
    the checkpoint's step counts. heldout_map_* is mAP on data.heldout_pool."""
    patience: int = Field(default=0, ge=0)
    """Stop the run after so many held-out evaluations in a row without a better best_metric; 0 = never. The run then
    counts as complete."""

    @property
    def lower_is_better(self) -> bool:
        """Whether the best value of the metric is the lowest one."""
        return self.best_metric.endswith("loss")


def check_measured(checkpoint: CheckpointConfig, heldout_every: int, heldout_fraction: float, pool: int) -> None:
    """Raises ValueError where the best metric, or what patience counts, is not measured when it is needed.

    `pool` is data.heldout_pool, the records of the retrieval metrics.
    """
    metric, every, patience = checkpoint.best_metric, checkpoint.every, checkpoint.patience
    if heldout_every and heldout_fraction == 0:
        raise ValueError(f"heldout_every {heldout_every} has nothing to measure: set data.heldout_fraction above 0")
    if pool and heldout_fraction == 0:
        raise ValueError(f"data.heldout_pool {pool} has no records: set data.heldout_fraction above 0")
    if pool and heldout_every == 0:
        raise ValueError(f"data.heldout_pool {pool} is never measured: set heldout_every, or heldout_pool 0")
    if not metric.startswith("heldout_"):
        if patience:
            raise ValueError(
                f"checkpoint.patience {patience} counts held-out evaluations, and checkpoint.best_metric {metric!r} is "
                f"of training batches: set best_metric heldout_loss, or patience 0"
            )
        return
    if heldout_every == 0:
        raise ValueError(f"checkpoint.best_metric {metric!r} is never measured: set heldout_every")
    if every % heldout_every:
        raise ValueError(
            f"checkpoint.every {every} is not a multiple of heldout_every {heldout_every}: "
            f"{metric} must be measured whenever a checkpoint is written"
        )
    if metric in RETRIEVAL and pool == 0:
        raise ValueError(f"checkpoint.best_metric {metric!r} is never measured: set data.heldout_pool, such as 200")
    if patience and every != heldout_every:
        raise ValueError(
            f"checkpoint.patience {patience} with checkpoint.every {every} and heldout_every {heldout_every}: the best "
            f"step might have no checkpoint: set both to the same number"
        )


def of_starts(workdir: Path, begun: CheckpointConfig) -> list[CheckpointConfig]:
    """The config of each start of a run, the latest last; `begun` is that of config.yaml. Raises WorkdirError as
    `read_starts` does."""
    starts = values_of_starts(workdir, {f"{_PART}{name}": value for name, value in begun.model_dump().items()})
    return [
        CheckpointConfig(**{n.removeprefix(_PART): value for n, value in start.items() if n.startswith(_PART)})
        for start in starts
    ]


def evaluations(workdir: Path, metric: str, steps: int | None = None) -> list[Evaluation]:
    """The held-out evaluations that a run has logged in its first `steps` steps, by default in all of them. Raises
    WorkdirError as `read_log` does."""
    records = (record for _, record in read_log(workdir / "metrics.jsonl") if metric in record)
    return [(r["step"] + 1, r[metric]) for r in records if steps is None or r["step"] < steps]


class Patience:
    """Counts held-out evaluations since the best one. Nothing is remembered between starts: the log has them all.

    `earlier` are the evaluations of the steps that this start does not repeat; `step` is that of the last one.
    """

    def __init__(self, config: CheckpointConfig, earlier: Iterable[Evaluation] = ()):
        self._config = config
        self._best_value, self._best_step, self._since = -math.inf, 0, 0
        self.step = 0
        for step, value in earlier:
            self._count(step, value)

    def see(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Counts the evaluation after `step` steps, if `metrics` has the best metric."""
        if self._config.best_metric in metrics:
            self._count(step, metrics[self._config.best_metric])

    @property
    def exhausted(self) -> bool:
        """Whether the run is to stop."""
        return 0 < self._config.patience <= self._since

    def __str__(self) -> str:
        return (
            f"stopped at step {self.step}: {self._config.best_metric} has not improved in {self._since} "
            f"{'evaluation' if self._since == 1 else 'evaluations'}; the best is step {self._best_step}"
        )

    def _count(self, step: int, value: float | None) -> None:
        if self.exhausted:  # what was logged after the stop, with a greater patience, does not move it
            return
        better = -math.inf if value is None else -value if self._config.lower_is_better else value
        self.step, self._since = step, self._since + 1
        if better > self._best_value:  # never so for NaN
            self._best_value, self._best_step, self._since = better, step, 0


def stopped_early(workdir: Path, config: CheckpointConfig) -> Patience | None:
    """What the log of a run says of its early stop; None if it has not stopped early."""
    if not config.patience:
        return None
    patience = Patience(config, evaluations(workdir, config.best_metric))
    return patience if patience.exhausted else None
