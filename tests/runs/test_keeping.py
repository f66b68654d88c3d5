"""Settings of checkpoints that contradict each other are refused, and each start of a run has its own."""

from pathlib import Path
from typing import get_args

import pytest

from hybrid_jax.runs.keeping import BestMetric, CheckpointConfig, check_measured, of_starts
from hybrid_jax.runs.workdir import note_start


@pytest.mark.parametrize("metric", get_args(BestMetric))
def test_the_lowest_loss_is_the_best_and_the_highest_of_all_else(metric: BestMetric):
    assert CheckpointConfig(best_metric=metric).lower_is_better == (metric in ("loss", "heldout_loss"))


def test_a_pool_that_is_never_measured_is_refused():
    with pytest.raises(ValueError) as error:
        check_measured(CheckpointConfig(), heldout_every=0, heldout_fraction=0.1, pool=5)
    assert str(error.value) == "data.heldout_pool 5 is never measured: set heldout_every, or heldout_pool 0"
    check_measured(CheckpointConfig(), heldout_every=20, heldout_fraction=0.1, pool=5)
    check_measured(CheckpointConfig(), heldout_every=0, heldout_fraction=0.1, pool=0)


def test_each_start_has_what_it_changed(tmp_path: Path):
    begun = CheckpointConfig(every=200)
    assert of_starts(tmp_path, begun) == [begun]  # before its first start, or without a run.json
    (tmp_path / "config.yaml").write_text("1")
    for changed in ({}, {"checkpoint.every": 50, "heldout_every": 50}, {"checkpoint.patience": 3}):
        note_start(tmp_path, {}, {"commit": 1}, changed)
    assert of_starts(tmp_path, begun) == [
        begun,
        CheckpointConfig(every=50),
        CheckpointConfig(every=200, patience=3),
    ]
