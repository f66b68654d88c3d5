"""The loss of held-out batches, measured during training."""

from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.sharding import Mesh

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.model.dual_encoder import Parameters
from hybrid_jax.runtime.mesh import put_batch
from hybrid_jax.train.step import EvalStep

Measure = Callable[[Parameters], dict[str, float]]
"""Parameters -> the metrics to log, which are the same in all processes."""


def heldout_loss(eval_step: EvalStep, batches: Callable[[], Iterable[PackedBatch]], mesh: Mesh) -> Measure:
    """Measures heldout_loss and heldout_accuracy: means over these batches."""

    def measure(parameters: Parameters) -> dict[str, float]:
        measured = [jax.device_get(eval_step(parameters, put_batch(mesh, rows))) for rows in batches()]
        return {f"heldout_{name}": float(np.mean([m[name] for m in measured])) for name in ("loss", "accuracy")}

    return measure
