"""The tiny model and batch, for the tests of the training step."""

import numpy as np
import pytest
from support.tiny_batch import tiny_model, tiny_rows

from hybrid_jax.model.dual_encoder import ModelConfig


@pytest.fixture(scope="session")
def model_config() -> ModelConfig:
    return tiny_model()


@pytest.fixture(scope="session")
def rows() -> dict[str, np.ndarray]:
    return tiny_rows()
