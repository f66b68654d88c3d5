"""A run on aligned batches with several positives: resumed, on other devices and in two processes it is the same run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hybrid_jax.config import Config, ConfigError, check, parse_config
from hybrid_jax.runs.checkpoint import restore
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh
from hybrid_jax.train.loop import train
from hybrid_jax.train.optim import make_optimizer
from hybrid_jax.train.state import abstract_state

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "local_multiprocess.sh"
STEPS = 12
ALIGNED = """
mixture: {monolingual_fraction: 0.5, others: aligned, group_size: 4}
loss: {positives: all, directions: both}
"""
"""The corpus has three languages, so groups of four are filled up with further records, and devices cut them."""


def _config(tiny_run, **changes: object) -> Config:
    lines = tiny_run.yaml.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if not line.startswith((" ", "-"))] + [len(lines)]
    parts = ["".join(lines[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
    kept = [part for part in parts if not part.startswith(("mixture:", "loss:"))]
    config = parse_config("".join(kept) + ALIGNED)
    checkpoint = config.checkpoint.model_copy(update={"every": 6, "best_metric": "none"})
    return config.model_copy(update={"steps": STEPS, "heldout_every": 0, "checkpoint": checkpoint, **changes})
