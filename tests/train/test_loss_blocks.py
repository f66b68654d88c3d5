"""Blocks of rows give the loss, gradients and metrics of the dense scores, which no device ever holds."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from support.contrastive import TEMPERATURE, Directions, assert_loss_equals, unit_vectors

from hybrid_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hybrid_jax.train.loss import BLOCK_BYTES, LossConfig, contrastive_loss
from hybrid_jax.train.objective import Groups, Vectors, make_objective

ROWS = 48
ONE_BLOCK, TWO_ROWS = BLOCK_BYTES, 2 * 4 * ROWS


def dense(queries, passages, query_group, passage_group, directions: Directions, shards: int):
    """Loss, gradients (queries, passages, temperature) and metrics in float64, all scores at once."""
    queries, passages = queries.astype(np.float64), passages.astype(np.float64)
    rows, per_row = len(queries), len(passages) // len(queries)
    row, column = np.arange(rows), np.arange(rows) * per_row
    together = (row * shards // rows)[:, None] == np.arange(len(passages)) // per_row * shards // rows
    same = query_group[:, None] == passage_group
    own = np.zeros_like(same)
    own[row, column] = True
    negative, masked = together & ~same & ~own, together & same & ~own
    cosines = queries @ passages.T
    scores = cosines / TEMPERATURE

    def cross_entropy(scores, own, compared):
        terms = np.where(compared, np.exp(scores), 0)
        total = terms.sum(axis=1)
        return np.mean(np.log(total) - scores[own]), (terms / total[:, None] - own) / rows

    loss, gradient = cross_entropy(scores, own, own | negative)
    if directions == "both":
        back, back_gradient = cross_entropy(*(array[:, column].T for array in (scores, own, own | negative)))
        loss, gradient = (loss + back) / 2, gradient / 2
        gradient[:, column] += back_gradient.T / 2
    gradients = (
        gradient @ passages / TEMPERATURE,
        gradient.T @ queries / TEMPERATURE,
        -np.sum(gradient * scores) / TEMPERATURE,
    )
    metrics = {
        "accuracy": np.mean(scores[own] > np.where(negative, scores, -np.inf).max(axis=1)),
        "negatives": negative.sum() / rows,
        "masked": masked.sum() / rows,
        "masked_fraction": masked.sum() / (masked | negative).sum(),
        "positive_score": cosines[own].mean(),
        "negative_score": cosines[negative].mean(),
    }
    return loss, gradients, metrics


def random_batch(hard_negatives: int):
    random = np.random.default_rng(0)

    per_row = 1 + hard_negatives
    query_group = random.integers(30, size=ROWS).astype(np.int32)
    passage_group = random.integers(30, size=ROWS * per_row).astype(np.int32)
    passage_group[::per_row] = query_group
    return unit_vectors(random, ROWS), unit_vectors(random, ROWS * per_row), query_group, passage_group


@pytest.mark.parametrize("directions", ["query_to_passage", "both"])
@pytest.mark.parametrize("hard_negatives", [0, 2])
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize(("devices", "block_bytes"), [(1, ONE_BLOCK), (1, TWO_ROWS), (8, ONE_BLOCK), (8, TWO_ROWS)])
def test_equals_the_dense_scores(
    directions: Directions, hard_negatives: int, shards: int, devices: int, block_bytes: int
):
    batch = random_batch(hard_negatives)
    assert_loss_equals(
        dense(*batch, directions, shards),
        batch,
        directions,
        shards,
        devices,
        block_bytes * (1 + hard_negatives),
        "one",
        in_blocks=block_bytes == TWO_ROWS,
        gradient_atol=1e-6,
    )


def test_rows_that_do_not_fit_the_devices_are_refused():
    queries, passages, query_group, passage_group = random_batch(0)
    mesh = make_mesh(MeshConfig(data=5))
    with pytest.raises(ValueError, match="48 rows cannot be split over 5 devices: change the batch size"):
        jax.jit(contrastive_loss, static_argnames="mesh")(
            queries, passages, query_group, passage_group, jnp.float32(1), mesh=mesh
        )


def programs_at_scale() -> Iterator[str]:
    """The compiled loss and gradients of 65,536 pairs on 64 devices, as XLA's text for one device."""
    mesh, pairs = make_mesh(MeshConfig(data=32, fsdp=2)), 65_536
    split, whole = batch_sharding(mesh), replicated(mesh)

    def array(shape: tuple[int, ...], dtype: Any, sharding: NamedSharding) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    vectors = Vectors(
        array((pairs, 8), jnp.float32, split), array((pairs, 8), jnp.float32, whole), array((), jnp.float32, whole)
    )
    group = array((pairs,), jnp.int32, split)
    for loss in (LossConfig(), LossConfig(directions="both"), LossConfig(directions="both", positives="all")):
        objective = make_objective(loss, mesh)
        step = jax.jit(jax.value_and_grad(objective, has_aux=True))
        yield str(step.lower(vectors, Groups(group, group)).compile().as_text())


def test_no_device_holds_all_scores_of_65536_pairs():
    flags = "--xla_force_host_platform_device_count=64 --xla_backend_optimization_level=0"
    found = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(Path(__file__).parents[1])},  # for `support`
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    for program in found.stdout.split("HloModule")[1:]:
        sizes = [math.prod(map(int, shape.split(","))) for shape in re.findall(r"[a-z]\d*\[([\d,]+)\]", program)]
        assert max(sizes) == BLOCK_BYTES // 4  # a block, where all scores of a device are 16 times as many
        collective = re.compile(r" (?:all-\w+|reduce-scatter|collective-permute)(?:-start)?\(")
        main = program[program.index("\nENTRY ") :]
        assert len(collective.findall(program)) == len(collective.findall(main)) > 0  # none in the loop over blocks
    assert found.stdout.count("HloModule ") == 3


if __name__ == "__main__":
    for text in programs_at_scale():
        sys.stdout.write(text)
