"""Settles the precision of a run's matrix products before its first step, so that its config.yaml says which."""

from pathlib import Path

from hybrid_jax.config import Config, parse_config
from hybrid_jax.model.kernels import faster_dtype
from hybrid_jax.model.precision import Dtype


def with_dtype(config: Config, workdir: Path | None = None) -> Config:
    """`config` with a `model.encoder.dtype` that is "auto" replaced by the one that the run in `workdir` began with.

    Where no run has begun, by the one in which these devices are faster.
    """
    if config.model.encoder.dtype != "auto":
        return config
    dtype = _begun_with(workdir) if workdir is not None else "auto"
    encoder = config.model.encoder.model_copy(update={"dtype": faster_dtype() if dtype == "auto" else dtype})
    return config.model_copy(update={"model": config.model.model_copy(update={"encoder": encoder})})


def _begun_with(workdir: Path) -> Dtype:
    try:
        return parse_config((workdir / "config.yaml").read_text(encoding="utf-8")).model.encoder.dtype
    except (OSError, ValueError):  # no run, or one that cannot be resumed: `claim` says why
        return "auto"
