"""The precision of matrix products: the `dtype` of an encoder's config."""

from typing import Literal

import jax.numpy as jnp

ComputeDtype = Literal["float32", "bfloat16"]
Dtype = Literal["auto", "float32", "bfloat16"]


def compute_dtype(dtype: Dtype) -> jnp.dtype:
    """The dtype that matrices are multiplied in: float32 for "auto", which a run replaces when it starts."""
    return jnp.dtype("float32" if dtype == "auto" else dtype)
