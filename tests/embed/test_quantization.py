"""Vectors in fewer bits: what becomes of a row that has no direction."""

import numpy as np
import pytest

from hybrid_jax.embed.quantization import Dtype, dequantize, quantize


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_row_of_zeros_stays_one(dtype: Dtype):
    vectors = np.eye(3, 12, dtype=np.float32) * np.array([[1], [0], [1]], np.float32)
    np.testing.assert_array_equal(dequantize(quantize(vectors, dtype)), vectors)
