"""The held-out loss, of batches and a step that can be worked out by hand."""

from typing import Any

import numpy as np
import pytest

from hybrid_jax.runtime.mesh import MeshConfig, make_mesh
from hybrid_jax.train.heldout import heldout_loss


def test_the_heldout_loss_is_the_mean_over_all_batches():
    """Anything can be a batch and a step: here rows of numbers, their mean as loss and their maximum as accuracy."""

    def step(parameters, rows):
        return {"loss": parameters["scale"] * rows.mean(), "accuracy": rows.max(), "negatives": 7.0}

    batches: Any = [np.array(row, np.float32) for row in ([1, 3], [2, 6], [0, 12])]
    measure = heldout_loss(step, lambda: batches, make_mesh(MeshConfig(data=2)))
    assert measure({"scale": 10.0}) == {"heldout_loss": pytest.approx(40.0), "heldout_accuracy": pytest.approx(7.0)}
    assert measure({"scale": 20.0})["heldout_loss"] == pytest.approx(80.0)
