"""Settles the precision of a run's matrix products before its first step, so that its config.yaml says which."""

from pathlib import Path
from typing import get_args

from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.kernels import faster_dtype
from hybrid_jax.model.precision import ComputeDtype
from hybrid_jax.runs.workdir import begun_with


def with_dtype(model: ModelConfig, workdir: Path | None = None) -> ModelConfig:
    """`model` with an encoder's `dtype` that is "auto" replaced by the one that the run in `workdir` began with.

    Where no run has begun, by the one in which these devices are faster.
    """
    if model.encoder.dtype != "auto":
        return model
    begun = None if workdir is None else begun_with(workdir, "model", "encoder", "dtype", otherwise=None)
    dtype = begun if begun in get_args(ComputeDtype) else faster_dtype()
    return model.model_copy(update={"encoder": model.encoder.model_copy(update={"dtype": dtype})})
