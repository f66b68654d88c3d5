"""A training step with random weights and tokens, for the programs that time it alone. Imports jax: for children."""

import sys
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.packing import fill, pack
from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import OptimizerConfig, make_optimizer, make_schedule
from hybrid_jax.train.state import TrainState, create_state
from hybrid_jax.train.step import make_train_step


def make_step(sizes: dict[str, Any], mesh: Mesh, steps: int) -> tuple[Any, TrainState]:
    """The jitted step of a BERT with these fields, and the state before the first of `steps`."""
    config, optim = ModelConfig(encoder=BertConfig.model_validate(sizes)), OptimizerConfig(warmup_steps=0)
    optimizer, schedule = make_optimizer(optim, steps), make_schedule(optim, steps)
    encode, objective = make_encode(config, mesh), make_objective(LossConfig(), mesh)
    step = make_train_step(encode, objective, optimizer, schedule, 0, mesh)
    return step, create_state(config, optimizer, 0, mesh)


def random_batch(
    random: np.random.Generator, lengths: np.ndarray, vocabulary: int, row: int, chunk: int | None, devices: int
) -> PackedBatch:
    """Texts of these lengths, the queries first, in rows of `row` tokens, `chunk` rows at a time."""
    layout = Layout(row, 8, (), 1.0, devices, chunk)
    places, texts = pack(lengths, row, layout.slots), len(lengths)
    read = lambda numbers: random.integers(1, vocabulary, lengths[numbers].sum())  # noqa: E731
    rows = fill(places, np.arange(texts), lengths, read, texts, layout.shape(places.rows), 0)
    group = np.arange(texts // 2, dtype=np.int32)
    return PackedBatch((rows,), group, group)


def time_steps(step: Any, state: TrainState, batch: PackedBatch, steps: int) -> tuple[TrainState, list[float]]:
    """The state after them, and the seconds of each step. Ends the program if the step was compiled more than once."""
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    if step._cache_size() != 1:
        sys.exit(f"the step was compiled {step._cache_size()} times, not once")
    return state, seconds
