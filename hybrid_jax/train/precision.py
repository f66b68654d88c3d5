"""Settles the precision of a run's matrix products before its first step, so that its config.yaml says which."""

from pathlib import Path
from typing import get_args

import yaml

from hybrid_jax.disk.yaml_text import parse_yaml
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.kernels import faster_dtype
from hybrid_jax.model.precision import ComputeDtype
from hybrid_jax.runs.workdir import CONFIG, has_begun


def with_dtype(model: ModelConfig, workdir: Path | None = None) -> ModelConfig:
    """`model` with an encoder's `dtype` that is "auto" replaced by the one that the run in `workdir` began with.

    Where no run has begun, by the one in which these devices are faster.
    """
    if model.encoder.dtype != "auto":
        return model
    begun_with = None
    if workdir is not None and has_begun(workdir):  # a config.yaml alone is of a start that failed
        begun_with = _begun_with(workdir / CONFIG)
    dtype = faster_dtype() if begun_with is None else begun_with
    return model.model_copy(update={"encoder": model.encoder.model_copy(update={"dtype": dtype})})


def _begun_with(config: Path) -> ComputeDtype | None:
    try:
        dtype = parse_yaml(config.read_text(encoding="utf-8"))["model"]["encoder"]["dtype"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):  # `claim` says what is wrong
        return None
    return dtype if dtype in get_args(ComputeDtype) else None
