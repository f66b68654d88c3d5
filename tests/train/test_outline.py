"""The plan that a run says before its first step: about ten lines, and the negatives that the loss will count."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_jax.data.pairing import Pairs
from hybrid_jax.train.loss import LossConfig, contrastive_loss
from hybrid_jax.train.outline import compared

ROWS, DEVICES = 12, 3


def pairs(groups: np.ndarray, hard: np.ndarray) -> Pairs:
    """Only groups: the other columns are not looked at."""
    none = np.zeros(len(groups), int)
    return Pairs(none, none, none, none, none[:, None], groups, np.column_stack([groups, hard]))


@pytest.mark.parametrize(
    ("negatives", "positives", "hard"), list(itertools.product(["global", "local"], ["one", "all"], [0, 2]))
)
def test_counts_are_those_of_the_loss(negatives, positives, hard: int):
    random = np.random.default_rng(hard)
    groups, hard_groups = random.integers(0, 6, ROWS), random.integers(0, 6, (ROWS, hard))
    batch = pairs(groups, hard_groups)
    vectors = jnp.eye(ROWS * (1 + hard))
    _, metrics = contrastive_loss(
        vectors[:ROWS],
        vectors,
        jnp.array(groups),
        jnp.array(batch.passage_groups.ravel()),
        jnp.float32(1),
        shards=DEVICES if negatives == "local" else 1,
        positives=positives,
    )
    expected = [float(metrics.get(name, 1.0)) for name in ("negatives", "masked", "positives")]
    config = LossConfig(negatives=negatives, positives=positives)
    np.testing.assert_allclose(compared(batch, config, DEVICES), expected, rtol=1e-6)
    assert expected[1] > 0 or (positives, hard) == ("all", 0)


def test_no_negative_is_masked_where_false_ones_are_kept():
    batch = pairs(np.array([0, 1, 0, 0]), np.array([[0], [5], [6], [1]]))
    assert compared(batch, LossConfig(false_negatives="kept"), 1) == (7 - 1 / 4, 1 / 4, 1)  # row 0 has a filling
    assert compared(batch, LossConfig(), 1) == (4.5, 2.5, 1)


def test_the_plan_of_a_run_is_ten_lines(tiny_run):
    lines = tiny_run.printed.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("plan: "))
    assert lines[start] == "plan: 80 steps of 8 pairs on 2 x cpu, 8.21 epochs in all"
    labels = list(itertools.takewhile(lambda line: line.startswith("  "), lines[start + 1 :]))
    names = ["data", "monolingual", "cross_lingual", "held", "batch", "model", "programs", "memory"]
    assert [line.split()[0] for line in labels] == names
    assert labels[0].endswith(" 78 rows in 3 languages: tiny 78")
    held_out = labels[3].split(None, 2)[2]
    assert held_out.startswith("every 10 steps: 1 monolingual in de, 1 cross_lingual; not measured: tiny mono")
    assert labels[1].split(", ")[0] == "  monolingual    up to 80% of batches"
